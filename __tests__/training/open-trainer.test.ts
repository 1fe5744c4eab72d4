import type { HeadSpec } from "../../lib/heads/head.js";
import type { TrainingParts } from "../../lib/training/job.js";
import { type Candidate, divideEvenly, openTrainer } from "../../lib/training/open-trainer.js";
import { describeOnBackends } from "../backends.js";
import { cloudSource } from "../clouds.js";
import { bnFc, commonJob, expectWeights, fc, mlp, partsOf, trained, trial } from "./jobs.js";

const candidate = (spec: HeadSpec, lr: number, batchSize: number): Candidate => ({ spec, trial: trial(lr), batchSize });

describeOnBackends("candidates of several batch sizes and widths", () => {
  let parts: TrainingParts;
  beforeAll(async () => {
    parts = partsOf({
      train: await cloudSource({ images: 120, seed: 1 }),
      test: await cloudSource({ images: 40, seed: 2 }),
    });
  });
  afterAll(async () => {
    await parts.train.source.close();
    await parts.report.source.close();
  });

  test("are trained as each would be alone, and numbered as they were given", async () => {
    // Batch sizes and widths alternate, so that no bank holds neighbours.
    const heads = [
      [0.1, 0.01].flatMap((lr) => [8, 4].flatMap((width) => [16, 25].map((size) => candidate(mlp(width), lr, size)))),
      [0.1, 0.01].flatMap((lr) => [25, 16].map((size) => candidate(bnFc, lr, size))),
      [candidate(fc, 0.1, 16)],
    ];
    const plan = { ...commonJob, epochs: 2, heads };
    const whole = await openTrainer({ plan, parts, processes: [] });
    const reports = await trained(whole);
    // One epoch after the other for each batch size.
    expect(reports.map(({ epoch }) => epoch)).toEqual([1, 2, 1, 2]);
    expect(whole.job.heads.map(({ trials }) => trials.length)).toEqual([8, 4, 1]);
    // 80 images in steps of 16 and 25.
    expect(whole.steps).toBe(2 * (5 + 4));
    const scores = await whole.scores();
    for (const [h, candidates] of heads.entries()) {
      for (const [t, one] of candidates.entries()) {
        const alone = await openTrainer({ plan: { ...plan, heads: [[one]] }, parts, processes: [] });
        await trained(alone);
        const own = await alone.scores();
        for (const [s, ofSeed] of scores.entries()) {
          expect(ofSeed[h]![t]!.metric).toBe(own[s]![0]![0]!.metric);
          expect(ofSeed[h]![t]!.loss).toBeCloseTo(own[s]![0]![0]!.loss, 5);
          const weights = await whole.weights({ seed: s, head: h, trial: t });
          expectWeights(weights, await alone.weights({ seed: s, head: 0, trial: 0 }), 1e-5);
        }
        await alone.close();
      }
    }
    await whole.close();
  });
});

test("trials are divided evenly where there are enough of them, whole heads where there are not", () => {
  const planOf = (...heads: Candidate[][]) => ({ ...commonJob, heads });
  const trials = (spec: HeadSpec, count: number) => Array.from({ length: count }, () => candidate(spec, 0.1, 16));
  expect(divideEvenly(planOf(trials(fc, 6)), 2)).toBe(1);
  expect(divideEvenly(planOf(trials(fc, 6), trials(bnFc, 2)), 2)).toBe(1);
  // One trial cannot be divided: a process has all the work, and the other none.
  expect(divideEvenly(planOf(trials(fc, 1)), 2)).toBe(2);
  expect(divideEvenly(planOf(trials(fc, 3)), 2)).toBeCloseTo(4 / 3, 10);
  // Two heads of one trial each are a head a process; here of 9·4 = 36 and (9·16 + 17·4) = 212 numbers.
  expect(divideEvenly(planOf(trials(fc, 1), trials(mlp(16), 1)), 2)).toBeCloseTo((2 * 212) / 248, 10);
});
