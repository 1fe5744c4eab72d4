import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import type { GraphBuilder } from "../lib/convert/graph-builder.js";
import type { LayerNorm } from "../lib/convert/layer-norm.js";
import type { Linear } from "../lib/convert/linear.js";
import { joinRows, reshaped, zeros } from "../lib/convert/weight-parts.js";
import type { FloatWeight } from "../lib/convert/weight.js";
import { resamplePositions, squareGrid } from "../lib/convert/resample-positions.js";
import { UserError } from "../lib/errors.js";

/** PyTorch's LayerNorm of that name. */
export function takeNorm(weights: CheckpointWeights, name: string, width: number, epsilon: number): LayerNorm {
  const shift = weights.has(`${name}.bias`) ? weights.take(`${name}.bias`, [width]) : undefined;
  return { scale: weights.take(`${name}.weight`, [width]), shift, epsilon };
}

/** PyTorch's Linear of that name, with its bias where it has one. */
export function takeLinear(
  weights: CheckpointWeights,
  name: string,
  out: number | null,
  channels: number | null,
): Linear {
  const matrix = weights.take(`${name}.weight`, [out, channels]);
  const bias = weights.has(`${name}.bias`) ? weights.take(`${name}.bias`, [matrix.shape[0]!]) : undefined;
  return { matrix, bias };
}

/** Linears of one input as one; a bias that is missing beside others is zero. */
export function joinLinears(parts: readonly Linear[]): Linear {
  const biases = parts.map(({ matrix, bias }) => bias ?? zeros([matrix.shape[0]!]));
  return {
    matrix: joinRows(parts.map(({ matrix }) => matrix)),
    bias: parts.some(({ bias }) => bias) ? joinRows(biases) : undefined,
  };
}

/** Tokens [..., n, width] as [n, width]. */
export function takeTokens(weights: CheckpointWeights, name: string, width: number, rank = 3): FloatWeight {
  const tokens = weights.take(name, rank === 3 ? [1, null, width] : [width]);
  return reshaped(tokens, [rank === 3 ? tokens.shape[1]! : 1, width]);
}

/** How many of the prefix's tokens have position embeddings, and the side of the grid of the others. */
export interface PositionLayout {
  positioned: number;
  side: number;
}

/**
 * How so many position embeddings are laid out: for all tokens of the prefix, for the class token alone (DINOv2 with
 * registers) or for the patches alone; the grid is square.
 *
 * @returns undefined where they fit no square.
 */
export function positionLayout(count: number, prefixTokens: number): PositionLayout | undefined {
  for (const positioned of new Set([prefixTokens, Math.min(1, prefixTokens), 0])) {
    const side = squareGrid(count - positioned);
    if (side !== undefined) return { positioned, side };
  }
  return undefined;
}

/** Position embeddings for the grid of an input, resampled where the checkpoint's are for another. */
export function positionsFor(options: {
  /** [..., count, width] */
  positions: FloatWeight;
  layout: PositionLayout;
  input: { height: number; width: number };
  patch: number;
  antialias?: boolean;
  offset?: number;
}): FloatWeight {
  const { positions, layout, input, patch, ...how } = options;
  return resamplePositions({
    weights: positions,
    from: { height: layout.side, width: layout.side },
    to: { height: Math.floor(input.height / patch), width: Math.floor(input.width / patch) },
    prefixTokens: layout.positioned,
    ...how,
  });
}

/** @throws UserError where the images cannot be cut into whole patches. */
export function expectPatches(arch: string, { height, width }: { height: number; width: number }, patch: number): void {
  if (height % patch === 0 && width % patch === 0) return;
  throw new UserError(`Expected multiples of the patch of ${patch} for the image size of ${arch} but received ${height} x ${width}`, {
    hint: `The nearest are ${Math.max(1, Math.floor(height / patch)) * patch} and ${Math.ceil(height / patch) * patch}.`,
  }); // prettier-ignore
}

/** The size of the images that a graph is built for. */
export function imagesOf({ input }: GraphBuilder): { height: number; width: number } {
  const [height, width] = input.shape as [number, number];
  return { height, width };
}
