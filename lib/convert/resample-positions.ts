import { derived } from "./weight-parts.js";
import type { FloatWeight } from "./weight.js";

export interface GridSize {
  height: number;
  width: number;
}

export interface PositionResampling {
  /** Position embeddings [..., tokens, channels]: first those of the prefix, then row by row of the grid. */
  weights: FloatWeight;
  from: GridSize;
  to: GridSize;
  /** Embeddings before those of the grid (of the class token and its like); they stay as they are. */
  prefixTokens: number;
  /** Whether a smaller grid averages more of the old one; timm does, DINO and the first DINOv2 do not. */
  antialias?: boolean;
  /** What DINO and the first DINOv2 add to the new lengths before they divide by the old: 0.1. */
  offset?: number;
}

/**
 * Position embeddings for images of another size, by PyTorch's bicubic interpolation: with `antialias` Keys' kernel of
 * a = −0.5, widened where the grid shrinks; without it a = −0.75.
 *
 * Sources: timm's `resample_abs_pos_embed`; DINOv2's `interpolate_pos_encoding`.
 *
 * @returns [prefixTokens + to.height · to.width, channels].
 */
export function resamplePositions(options: PositionResampling): FloatWeight {
  const { weights, from, to, prefixTokens, antialias = true, offset = 0 } = options;
  const [tokens, channels] = weights.shape.slice(-2) as [number, number];
  if (tokens !== prefixTokens + from.height * from.width) {
    throw new Error(`${tokens} embeddings are not ${prefixTokens} and a grid of ${from.height} x ${from.width}`);
  }
  if (from.height === to.height && from.width === to.width) return { ...weights, shape: [tokens, channels] };
  const shape = [prefixTokens + to.height * to.width, channels];
  return derived(shape, async (values) => {
    const old = await weights.read();
    values.set(old.subarray(0, prefixTokens * channels));
    const tapsOf = antialias ? wideTaps : narrowTaps;
    const rows = tapsOf(from.height, to.height, from.height / (to.height + offset));
    const columns = tapsOf(from.width, to.width, from.width / (to.width + offset));
    let at = prefixTokens * channels;
    for (const row of rows)
      for (const column of columns) {
        const sums = new Float64Array(channels);
        for (const [y, vertical] of row)
          for (const [x, horizontal] of column) {
            const start = (prefixTokens + y * from.width + x) * channels;
            for (let c = 0; c < channels; c++) sums[c]! += vertical * horizontal * old[start + c]!;
          }
        values.set(sums, at);
        at += channels;
      }
  });
}

/** For one new position the old ones and their shares. */
type Taps = (readonly [position: number, share: number])[];

/** @param scale old positions for one new one. */
function narrowTaps(from: number, to: number, scale: number): Taps[] {
  return Array.from({ length: to }, (_, i) => {
    const centre = scale * (i + 0.5) - 0.5;
    const first = Math.floor(centre) - 1;
    return [0, 1, 2, 3].map((k) => [
      Math.min(from - 1, Math.max(0, first + k)),
      keys(first + k - centre, -0.75),
    ] as const); // prettier-ignore
  });
}

function wideTaps(from: number, to: number, scale: number): Taps[] {
  const stretch = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const centre = scale * (i + 0.5);
    const begin = Math.max(0, Math.floor(centre - 2 * stretch + 0.5));
    const end = Math.min(from, Math.floor(centre + 2 * stretch + 0.5));
    const taps = Array.from({ length: end - begin }, (_, k) => {
      const position = begin + k;
      return [position, keys((position + 0.5 - centre) / stretch, -0.5)] as const;
    });
    const total = taps.reduce((sum, [, share]) => sum + share, 0);
    return taps.map(([position, share]) => [position, share / total] as const);
  });
}

/** Keys 1981, "Cubic convolution interpolation for digital image processing". */
function keys(distance: number, a: number): number {
  const x = Math.abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** The grid of a square image, where positions are those of the grid and of some tokens before it. */
export function squareGrid(positions: number): number | undefined {
  const side = Math.round(Math.sqrt(positions));
  return side > 0 && side * side === positions ? side : undefined;
}
