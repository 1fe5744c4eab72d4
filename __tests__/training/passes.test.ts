import type { FeaturePass, FeatureSource } from "../../lib/features/source.js";
import { epochPass, stepsPerEpoch, targetsOf } from "../../lib/training/passes.js";
import { commonJob, fc, trial } from "./jobs.js";

const rows = Uint32Array.from({ length: 23 }, (_, i) => 100 + 2 * i);

/** What a pass asks of its source. */
function asked(options: { epoch: number; step?: number; seeds?: number[]; batchSize?: number; rows?: Uint32Array }) {
  const { epoch, step = 0, seeds = [0, 1], batchSize = 5 } = options;
  let pass: FeaturePass | undefined;
  const source = { pass: (given: FeaturePass) => ((pass = given), []) } as unknown as FeatureSource;
  const job = { ...commonJob, seeds, batchSize, heads: [{ spec: fc, trials: [trial(0.1)] }] };
  epochPass({ job, train: { source, rows: options.rows ?? rows }, from: { epoch, step } });
  return pass!;
}

/** The rows (or draws) of one of two seeds, whose batches stand side by side. */
function ofSeed(all: Uint32Array, seed: number, seeds: number, batchSize: number): number[] {
  const own: number[] = [];
  const perSeed = all.length / seeds;
  let at = 0;
  for (let start = 0; start < perSeed; start += batchSize) {
    const length = Math.min(batchSize, perSeed - start);
    own.push(...all.subarray(at + seed * length, at + (seed + 1) * length));
    at += seeds * length;
  }
  return own;
}

test("every seed sees each image once an epoch, in an order of its own", () => {
  const { rows: all, batchSize, layers } = asked({ epoch: 0 });
  expect(batchSize).toBe(10);
  expect(layers).toEqual(["deep"]);
  const [first, second] = [ofSeed(all, 0, 2, 5), ofSeed(all, 1, 2, 5)];
  for (const order of [first, second]) expect([...order].sort((a, b) => a - b)).toEqual([...rows]);
  expect(first).not.toEqual(second);
  expect(ofSeed(asked({ epoch: 1 }).rows, 0, 2, 5)).not.toEqual(first);
  // Alone it has the order that it has beside others.
  expect([...asked({ epoch: 0, seeds: [1] }).rows]).toEqual(second);
});

test("a pass that is taken up meets the batches that it would have met", () => {
  const whole = asked({ epoch: 2 });
  const rest = asked({ epoch: 2, step: 3 });
  expect([...rest.rows]).toEqual([...whole.rows.subarray(3 * 10)]);
  expect([...rest.draws!]).toEqual([...whole.draws!.subarray(3 * 10)]);
});

test("views are drawn from seed and epoch", () => {
  const draws = (epoch: number, seeds = [0, 1]) => {
    const all = asked({ epoch, seeds }).draws!;
    return seeds.map((_, s) => [...new Set(ofSeed(all, s, seeds.length, 5))]);
  };
  const [zero, one] = draws(0);
  // One an epoch and seed: rows make the difference between images.
  expect([zero!.length, one!.length]).toEqual([1, 1]);
  expect(zero).not.toEqual(one);
  expect(draws(1)[0]).not.toEqual(zero);
  expect(draws(0)).toEqual([zero, one]);
  expect(draws(0, [1])).toEqual([one]);
});

test.each([
  [23, 5, 5, 23],
  [21, 5, 4, 20],
  [20, 5, 4, 20],
  [1, 5, 1, 1],
  [3, 5, 1, 3],
])("%d images in batches of %d: %d steps on %d images, for one alone has no variance", (n, batchSize, steps, used) => {
  const some = rows.subarray(0, n);
  expect(stepsPerEpoch({ source: {} as FeatureSource, rows: some }, { batchSize })).toBe(steps);
  expect(asked({ epoch: 0, seeds: [0], batchSize, rows: some }).rows).toHaveLength(used);
});

test("targets of one label and of several", () => {
  const single = { targets: { kind: "single", labels: Int32Array.of(4, 5, -1) } } as FeatureSource;
  expect([...targetsOf(single, Uint32Array.of(2, 0))]).toEqual([-1, 4]);
  const multi = { targets: { kind: "multi", classes: 2, labels: Int8Array.of(1, 0, -1, 1) } } as FeatureSource;
  expect([...targetsOf(multi, Uint32Array.of(1, 0))]).toEqual([-1, 1, 1, 0]);
});
