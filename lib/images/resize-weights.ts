import { precisionBits } from "./resize-kernel.js";

export const resizeFilters = ["bilinear", "bicubic", "lanczos", "box", "hamming"] as const;
export type ResizeFilter = (typeof resizeFilters)[number];

/** For each output position the first input position that it sees, and the weights from there on. */
export interface Weights {
  first: Int32Array;
  /** Fixed point, `precisionBits` of fraction. */
  factors: Int32Array[];
}

const supports: Record<ResizeFilter, number> = { box: 0.5, bilinear: 1, hamming: 1, bicubic: 2, lanczos: 3 };

const sinc = (x: number) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

// Pillow writes the constants of hamming in single precision.
const curves: Record<ResizeFilter, (x: number) => number> = {
  box: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0),
  bilinear: (x) => Math.max(0, 1 - Math.abs(x)),
  hamming: (x) => (Math.abs(x) < 1 ? sinc(x) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(x * Math.PI)) : 0),
  bicubic: (signed) => {
    const x = Math.abs(signed);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
  },
  lanczos: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0),
};

const remembered = new Map<string, Weights>();

/**
 * The weights of one pass, from positions `from` … `to` of `size` input positions to `out` output positions.
 *
 * @returns undefined where the pass would change nothing.
 */
export function resizeWeights(options: {
  size: number;
  from: number;
  to: number;
  out: number;
  filter: ResizeFilter;
}): Weights | undefined {
  const { size, from, to, out } = options;
  if (out === size && from === 0 && to === size) return undefined;
  // Photographs come in few sizes, and windows and weights cost as much as a tenth of the passes.
  const key = Object.values(options).join();
  let found = remembered.get(key);
  if (!found) {
    found = computeWeights(options);
    if (remembered.size >= 64) remembered.clear();
    remembered.set(key, found);
  }
  return found;
}

function computeWeights({ size, from, to, out, filter }: Parameters<typeof resizeWeights>[0]): Weights {
  // Pillow holds the box in single precision.
  const start = Math.fround(from);
  const scale = Math.fround(Math.fround(to) - start) / out;
  const stretch = Math.max(scale, 1);
  const support = supports[filter] * stretch;
  const curve = curves[filter];
  const first = new Int32Array(out);
  const factors: Int32Array[] = [];
  for (let i = 0; i < out; i++) {
    const centre = start + (i + 0.5) * scale;
    const low = Math.max(0, Math.trunc(centre - support + 0.5));
    const high = Math.min(size, Math.trunc(centre + support + 0.5));
    const exact = new Float64Array(high - low);
    let sum = 0;
    for (let x = 0; x < exact.length; x++) {
      exact[x] = curve((x + low - centre + 0.5) * (1 / stretch));
      sum += exact[x]!;
    }
    first[i] = low;
    factors.push(Int32Array.from(exact, (value) => fixedPoint(sum === 0 ? value : value / sum)));
  }
  return { first, factors };
}

function fixedPoint(value: number): number {
  return Math.trunc(value * (1 << precisionBits) + (value < 0 ? -0.5 : 0.5));
}

/** The weights of some of the output positions. */
export function part({ first, factors }: Weights, start: number, length: number): Weights {
  return { first: first.subarray(start, start + length), factors: factors.slice(start, start + length) };
}

/** The input positions that the weights see. */
export function extent({ first, factors }: Weights): { start: number; length: number } {
  const start = first.reduce((least, position) => Math.min(least, position));
  const end = first.reduce((most, position, i) => Math.max(most, position + factors[i]!.length), 0);
  return { start, length: end - start };
}

/** The largest number of factors of an output position. */
export function longest({ factors }: Weights): number {
  return factors.reduce((most, { length }) => Math.max(most, length), 0);
}
