/** A published size of vision transformers. */
export interface VitSize {
  name: string;
  width: number;
  depth: number;
  heads: number;
}

/**
 * The sizes that are published (ViT, DeiT, DINOv2, MAE, OpenCLIP, SigLIP, EVA), the commonest first. Nothing in a checkpoint tells how many
 * heads the attention has; it is as published for the width.
 */
export const vitSizes: readonly VitSize[] = [
  { name: "base", width: 768, depth: 12, heads: 12 },
  { name: "small", width: 384, depth: 12, heads: 6 },
  { name: "tiny", width: 192, depth: 12, heads: 3 },
  { name: "large", width: 1024, depth: 24, heads: 16 },
  { name: "so400m", width: 1152, depth: 27, heads: 16 },
  { name: "huge", width: 1280, depth: 32, heads: 16 },
  { name: "giant", width: 1408, depth: 40, heads: 16 },
  { name: "giant2", width: 1536, depth: 40, heads: 24 },
  { name: "gigantic", width: 1664, depth: 48, heads: 16 },
];

/** Sides of patches that are published, the commonest first. */
const patchSides = [16, 14, 32, 8];

export interface VitDimensions {
  width: number;
  depth: number;
  patch: number;
  heads: number;
}

/** `<kind>_<size>_patch<side>` for each published size, with what may stand behind it. */
export function vitArchs(kind: string, suffixes: readonly string[] = [""]): string[] {
  return vitSizes.flatMap(({ name }) =>
    patchSides.flatMap((side) => suffixes.map((suffix) => `${kind}_${name}_patch${side}${suffix}`)),
  );
}

/** E.g. `vit_base_patch16`; `vit_48x2_patch16` for a width of 48 and two blocks where the size has no name. */
export function vitArch(kind: string, { width, depth, patch }: Omit<VitDimensions, "heads">): string {
  const size = vitSizes.find((one) => one.width === width && one.depth === depth);
  return `${kind}_${size?.name ?? `${width}x${depth}`}_patch${patch}`;
}

/**
 * The dimensions that a name tells.
 *
 * @param found what the tensors say, for names without a size.
 * @param endings what may stand behind the dimensions.
 * @returns undefined where the name is of another kind.
 */
export function namedDimensions(
  arch: string,
  kind: string,
  found: VitDimensions,
  endings: readonly string[] = [],
): VitDimensions | undefined {
  const bare = arch.slice(0, arch.length - (endings.find((ending) => arch.endsWith(ending)) ?? "").length);
  const match = new RegExp(`^${kind}_(?:(\\d+)x(\\d+)|([a-z0-9]+))_patch(\\d+)(?:_heads(\\d+))?$`).exec(bare);
  if (!match) return undefined;
  const [, width, depth, name, patch, heads] = match;
  const size = vitSizes.find((one) => one.name === name);
  if (name !== undefined && !size) return undefined;
  const [ownWidth, ownDepth] = size ? [size.width, size.depth] : [Number(width), Number(depth)];
  return {
    ...found,
    width: ownWidth,
    depth: ownDepth,
    patch: Number(patch),
    heads: heads === undefined ? (size?.heads ?? headsOf(ownWidth)) : Number(heads),
  };
}

/** As published for that width; else one for 64 channels, but never fewer than the smallest published network has. */
export function headsOf(width: number): number {
  const size = vitSizes.find((one) => one.width === width);
  if (size) return size.heads;
  const most = Math.max(3, Math.round(width / 64));
  // Heads are of equal size.
  return Array.from({ length: most }, (_, i) => most - i).find((heads) => width % heads === 0)!;
}
