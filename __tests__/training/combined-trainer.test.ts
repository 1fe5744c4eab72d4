import * as tf from "@tensorflow/tfjs";

import type { BatchJob, TrainingParts } from "../../lib/training/job.js";
import { combinedTrainer, type TrainerShare } from "../../lib/training/combined-trainer.js";
import { trainerHere } from "../../lib/training/trainer-here.js";
import type { Trainer } from "../../lib/training/trainer.js";
import { describeOnBackends } from "../backends.js";
import { cloudSource } from "../clouds.js";
import { bnFc, commonJob, expectWeights, fc, partsOf, trained, trial } from "./jobs.js";

// The third trial diverges.
const trials = [trial(0.01), trial(0.1, 0.01), trial(3e38), trial(0.03)];
const job: BatchJob = {
  ...commonJob,
  batchSize: 20,
  heads: [
    { spec: fc, trials },
    { spec: bnFc, trials },
  ],
};
/** Heads in another order, trials neither in order nor all of them. */
const division: TrainerShare["places"][] = [
  [
    { head: 1, trials: [3] },
    { head: 0, trials: [2, 0] },
  ],
  [
    { head: 0, trials: [1, 3] },
    { head: 1, trials: [2, 0, 1] },
  ],
];

describeOnBackends("several trainers as one", () => {
  let parts: TrainingParts;
  let whole: Trainer;
  beforeAll(async () => {
    parts = partsOf({
      train: await cloudSource({ images: 150, seed: 1 }),
      test: await cloudSource({ images: 60, seed: 2 }),
    });
  });
  beforeEach(() => (whole = trainerHere({ job, parts })));
  afterEach(() => whole.close());
  afterAll(async () => {
    await parts.train.source.close();
    await parts.report.source.close();
  });

  function combined(order: "together" | "in turn"): Trainer {
    const shares = division.map((places): TrainerShare => {
      const heads = places.map(({ head, trials: own }) => {
        return { spec: job.heads[head]!.spec, trials: own.map((t) => job.heads[head]!.trials[t]!) };
      });
      return { trainer: trainerHere({ job: { ...job, heads }, parts }), places };
    });
    return combinedTrainer({ job, shares, order });
  }

  test.each(["together", "in turn"] as const)("trained %s, put everything where it belongs", async (order) => {
    const wanted = await trained(whole);
    const before = tf.memory().numTensors;
    const both = combined(order);
    const reports = await trained(both);
    expect(both.steps).toBe(2 * whole.steps);

    const flat = (values: (number | undefined)[][][]) => values.flat(2);
    if (order === "together") {
      expect(reports.map(({ epoch }) => epoch)).toEqual([1, 2, 3]);
      reports.forEach(({ losses, diverged }, e) => {
        expectClose(flat(losses), flat(wanted[e]!.losses));
        expect(sorted(diverged)).toEqual(sorted(wanted[e]!.diverged));
      });
    } else {
      // First the epochs of one share, with nothing of the other's trials, then those of the other.
      expect(reports.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 1, 2, 3]);
      reports.forEach(({ losses, diverged }, i) => {
        const other = division[i < 3 ? 1 : 0]!;
        losses.forEach((ofSeed, s) =>
          ofSeed.forEach((ofHead, h) =>
            trials.forEach((_, t) => {
              const isOther = other.some(({ head, trials: own }) => head === h && own.includes(t));
              if (isOther) expect(ofHead[t]).toBeUndefined();
              else expectClose([ofHead[t]], [wanted[i % 3]!.losses[s]![h]![t]]);
            }),
          ),
        );
        expect(diverged).toHaveLength(i % 3 === 0 ? 2 : 0);
      });
    }

    expect(await both.diverged()).toEqual(await whole.diverged());
    expect((await both.diverged())[0]).toEqual([
      [false, false, true, false],
      [false, false, true, false],
    ]);
    const [scores, single] = [await both.scores(), await whole.scores()];
    expectClose(scores.flat(2).map(({ loss }) => loss), single.flat(2).map(({ loss }) => loss)); // prettier-ignore
    expect(scores.flat(2).map(({ metric }) => metric)).toEqual(single.flat(2).map(({ metric }) => metric));
    for (const seed of [0, 1]) {
      for (const head of [0, 1]) {
        for (const t of [0, 1, 3]) {
          const place = { seed, head, trial: t };
          expectWeights(await both.weights(place), await whole.weights(place), 1e-5);
        }
      }
    }
    await both.close();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("are asked only for the trials that are wanted, in the order in which they are", async () => {
    const both = combined("together");
    await trained(both);
    await trained(whole);
    // All of one head's are in both shares; of the second request the first share has none.
    for (const wanted of [[[3, 0, 1], [0]], [[1], [2, 1]], undefined]) {
      const judged = await both.judge({ part: "report", wanted });
      const expected = await whole.judge({ part: "report", wanted });
      expect(judged.map((ofSeed) => ofSeed.map(({ length }) => length))).toEqual(
        expected.map((ofSeed) => ofSeed.map(({ length }) => length)),
      );
      judged.flat(2).forEach((judgement, i) => {
        const other = expected.flat(2)[i]!;
        if (judgement.kind !== "single" || other.kind !== "single") throw new Error("one label an image");
        expect(judgement.predicted).toEqual(other.predicted);
        expect(judgement.ranks).toEqual(other.ranks);
        expectClose([...judgement.probability], [...other.probability]);
      });
    }
    await both.close();
  });

  test("stop together where one of them fails, and its error is what is told", async () => {
    let epochs = 0;
    const failing: Trainer = {
      ...trainerHere({ job, parts }),
      train: async ({ onEpoch }) => {
        onEpoch?.({ epoch: 1, losses: [], diverged: [] });
        await tf.nextFrame();
        throw new Error("no more memory");
      },
    };
    const long = trainerHere({ job: { ...job, epochs: 100_000 }, parts });
    const places = job.heads.map((_, head) => ({ head, trials: [0, 1, 2, 3] }));
    const shares: TrainerShare[] = [
      { trainer: failing, places: [] },
      { trainer: { ...long, train: (options) => long.train({ ...options, onEpoch: () => epochs++ }) }, places },
    ];
    const mixed = combinedTrainer({ job, shares, order: "together" });
    await expect(mixed.train({})).rejects.toThrow("no more memory");
    expect(epochs).toBeLessThan(100_000);
    await mixed.close();
  });
});

function expectClose(found: (number | undefined)[], wanted: (number | undefined)[]): void {
  expect(found).toHaveLength(wanted.length);
  found.forEach((value, i) => {
    const other = wanted[i]!;
    if (Number.isFinite(other)) expect(Math.abs(value! - other)).toBeLessThan(1e-5 * Math.max(1, Math.abs(other)));
    else expect(Number.isFinite(value)).toBe(false);
  });
}

function sorted(places: { seed: number; head: number; trial: number }[]): string[] {
  return places.map(({ seed, head, trial: t }) => `${seed} ${head} ${t}`).sort();
}
