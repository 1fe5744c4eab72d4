import type { BackboneManifest } from "../../backbones/manifest.js";
import { parseTransform } from "../../images/transform.js";
import { stepText } from "../../images/transform-text.js";

/**
 * CoG's transform in the backbone's size: the short side to that size, bicubic, and its middle; with the decoding and
 * the normalization of the backbone's own transform. So larger inputs (EfficientNet, DeiT at 384), CLIP's mean and
 * SimCLR's plain pixels need no settings of their own.
 *
 * Source: ImageNet-CoG, `extract_features.py` and its `configs/` (protocols.md 2.1, 2.2).
 */
export function cogTransform({ input: { height, width }, transform }: BackboneManifest): string {
  const { steps } = parseTransform(transform);
  const those = (...kinds: string[]) => steps.filter(({ kind }) => kinds.includes(kind)).map(stepText);
  const crop = height === width ? String(height) : `${height}x${width}`;
  return [
    ...those("exif", "flatten"),
    `resize(${Math.min(height, width)},bicubic)`,
    `center_crop(${crop})`,
    ...those("channels", "normalize"),
  ].join("|");
}
