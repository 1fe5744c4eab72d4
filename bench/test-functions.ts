import { random } from "../lib/random.js";
import type { Range } from "../lib/search/range.js";

/** A function that is searched for its smallest value. */
export interface TestFunction {
  space: Record<string, Range>;
  valueOf: (x: number[]) => number;
  /** What a trial is told of the value, where that is not the value itself. */
  told?: (value: number, seed: number, trial: number) => number;
}

const box = (dimensions: number, from: number, to: number): Record<string, Range> =>
  Object.fromEntries(Array.from({ length: dimensions }, (_, d) => [`x${d}`, { from, to, scale: "linear" } as const]));
/** Learning rate and weight decay as CoG searches them. */
const rates: Record<string, Range> = {
  lr: { from: 0.1, to: 100, scale: "log" },
  weightDecay: { from: 1e-12, to: 1e-4, scale: "log" },
};

const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
const mean = (values: number[]) => sum(values) / values.length;

/** Error of a linear head, roughly: a valley in which rate and decay make up for each other, steep at large rates. */
function error([lr, weightDecay]: number[]): number {
  const [rate, decay] = [Math.log10(lr!) - 1, Math.log10(weightDecay!) + 6];
  return 0.1 + 0.05 * (rate > 0 ? 4 * rate ** 2 : rate ** 2) + 0.01 * (decay + rate) ** 2;
}

/** Known from the literature (Jamil and Yang, A literature survey of benchmark functions, 2013), and some like ours. */
export const testFunctions: Record<string, TestFunction> = {
  sphere: { space: box(3, -5, 10), valueOf: (x) => sum(x.map((value) => value ** 2)) },
  Rosenbrock: { space: box(2, -2, 2), valueOf: ([x, y]) => (1 - x!) ** 2 + 100 * (y! - x! ** 2) ** 2 },
  Ackley: {
    space: box(3, -30, 20),
    valueOf: (x) =>
      20 * (1 - Math.exp(-0.2 * Math.sqrt(mean(x.map((value) => value ** 2))))) +
      Math.E -
      Math.exp(mean(x.map((value) => Math.cos(2 * Math.PI * value)))),
  },
  "rate and decay": { space: rates, valueOf: error },
  Rastrigin: {
    space: box(2, -5.12, 5.12),
    valueOf: (x) => sum(x.map((value) => 10 + value ** 2 - 10 * Math.cos(2 * Math.PI * value))),
  },
  Branin: {
    space: { x0: { from: -5, to: 10, scale: "linear" }, x1: { from: 0, to: 15, scale: "linear" } },
    valueOf: ([x, y]) =>
      (y! - (5.1 / (4 * Math.PI ** 2)) * x! ** 2 + (5 / Math.PI) * x! - 6) ** 2 +
      10 * (1 - 1 / (8 * Math.PI)) * Math.cos(x!) +
      10,
  },
  Himmelblau: { space: box(2, -5, 5), valueOf: ([x, y]) => (x! ** 2 + y! - 11) ** 2 + (x! + y! ** 2 - 7) ** 2 },
  "Styblinski-Tang": {
    space: box(4, -5, 5),
    valueOf: (x) => sum(x.map((value) => value ** 4 - 16 * value ** 2 + 5 * value)) / 2,
  },
  // As the error on 500 images, where heads that learn nothing are equal, and others often.
  plateaus: { space: rates, valueOf: (x) => Math.ceil(500 * Math.min(0.2, error(x))) / 500 },
  noisy: {
    space: rates,
    valueOf: error,
    told: (value, seed, trial) => value + 0.02 * random(seed, "noise", trial).normal(),
  },
};
