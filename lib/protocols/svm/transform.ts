import type { BackboneManifest } from "../../backbones/manifest.js";
import { parseTransform } from "../../images/transform.js";
import { stepText } from "../../images/transform-text.js";

/**
 * VISSL's transform of VOC07, in the backbone's size: the short side to 256 of 224 parts, then both sides to the size,
 * whatever the aspect ratio; with the decoding and the normalization of the backbone's own transform.
 *
 * Source: VISSL, eval_resnet_8gpu_transfer_voc07_svm.yaml.
 */
export function svmTransform({ input: { height, width }, transform }: BackboneManifest): string {
  const { steps } = parseTransform(transform);
  const those = (...kinds: string[]) => steps.filter(({ kind }) => kinds.includes(kind)).map(stepText);
  const short = Math.round((Math.min(height, width) * 256) / 224);
  return [
    ...those("exif", "flatten"),
    `resize(${short},bilinear)`,
    `resize(${height}x${width},bilinear)`,
    ...those("channels", "normalize"),
  ].join("|");
}
