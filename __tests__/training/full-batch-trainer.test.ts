import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { UserError } from "../../lib/errors.js";
import { arraySource } from "../../lib/features/array-source.js";
import { random } from "../../lib/random.js";
import { fullBatchTrainer } from "../../lib/training/full-batch-trainer.js";
import type { Part, TrainingJob } from "../../lib/training/job.js";
import { scoreOf } from "../../lib/training/judging.js";
import type { EpochReport, TrainOptions } from "../../lib/training/trainer.js";
import { describeOnBackends } from "../backends.js";
import { digits, headOn, jobOf, reference, smallPart, trialOf } from "./full-batch-data.js";

/** Trains, and gives all that came of it. */
async function trained(job: TrainingJob, part: Part, options: TrainOptions = {}) {
  const trainer = fullBatchTrainer({ job, parts: { train: part, report: part } });
  const reports: EpochReport[] = [];
  let steps = 0;
  try {
    await trainer.train({
      ...options,
      onEpoch: (report) => {
        reports.push(report);
        options.onEpoch?.(report);
      },
      onSteps: (count) => (steps += count),
    });
    expect(steps).toBe(trainer.steps);
    const weights = [];
    for (const [seed] of job.seeds.entries()) {
      for (const [head, { trials }] of job.heads.entries()) {
        for (const [trial] of trials.entries()) weights.push(await trainer.weights({ seed, head, trial }));
      }
    }
    return { reports, weights, diverged: await trainer.diverged() };
  } finally {
    await trainer.close();
  }
}

/** Numbers of 2000 images, so that they pass by in two chunks, with maps of 3 channels × 2 positions. */
async function maps(targets?: Int8Array): Promise<Part> {
  const stream = random(5, "maps");
  const size = 2000;
  const labels = Int32Array.from({ length: size }, () => stream.integer(3));
  const data = Float32Array.from(
    { length: size * 6 },
    (_, i) => 3 + stream.normal() * (1 + (i % 3)) + labels[Math.floor(i / 6)]!,
  );
  const source = await arraySource({
    layers: { out: { shape: [3, 2, 1], data } },
    targets: targets ? { kind: "multi", classes: 3, labels: targets } : { kind: "single", labels },
  });
  return { source, rows: Uint32Array.from({ length: size }, (_, row) => row) };
}

describeOnBackends("full-batch training", () => {
  test("finds the weights that scikit-learn finds, for every weight decay, seed and step at once", async () => {
    const trials = reference.logistic.map(({ weightDecay }, t) => trialOf(weightDecay, { lr: [1, 0.5, 0.1][t]! }));
    const job = jobOf([{ spec: headOn([5]), trials }], { seeds: [0, 1], epochs: 60 });
    const { reports, weights } = await trained(job, await smallPart());
    for (const seed of [0, 1]) {
      reference.logistic.forEach(({ weight, loss }, t) => {
        const found = weights[seed * 3 + t]!.weight;
        weight.forEach((value, i) =>
          expect(Math.abs(found[i]! - value)).toBeLessThan(2e-3 * Math.max(1, Math.abs(value))),
        );
        expect(reports.at(-1)!.losses[seed]![0]![t]).toBeCloseTo(loss, 3);
      });
    }
    // Every epoch is told, and a problem that rests once: most do; in single precision a loss may waver in its last digit.
    expect(reports.map(({ epoch }) => epoch)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
    const rested = reports.flatMap(({ epoch, rested: own }) => own!.map((place) => ({ ...place, epoch })));
    expect(new Set(rested.map(({ seed, trial }) => `${seed} ${trial}`)).size).toBe(rested.length);
    expect(rested.length).toBeGreaterThanOrEqual(3);
    for (const { seed, trial, epoch } of rested) {
      const later = reports.slice(epoch - 1).map(({ losses }) => losses[seed]![0]![trial]);
      expect(new Set(later).size).toBe(1);
    }
  });

  test("scores on the digits as scikit-learn's softmax regression", async () => {
    const { train, report } = await digits();
    const trials = reference.digits.map(({ C }) => trialOf(1 / (C * train.rows.length)));
    const job = jobOf([{ spec: headOn([64]), trials }], { classes: 10, epochs: 150 });
    const trainer = fullBatchTrainer({ job, parts: { train, report } });
    await trainer.train({});
    const [[judged]] = (await trainer.judge({ part: "report" })) as [[Parameters<typeof scoreOf>[0][]]];
    reference.digits.forEach(({ accuracy, nll }, t) => {
      const { metric, loss } = scoreOf(judged[t]!, report, 10);
      expect(Math.abs(metric - accuracy)).toBeLessThan(1.5 / 899);
      expect(loss).toBeCloseTo(nll, 3);
    });
    await trainer.close();
  });

  test("heads on maps, normalised, with hidden layers and of several labels come to where nothing is gained any more", async () => {
    const spec = (change: Parameters<typeof headOn>[1]) => headOn([3, 2, 1], change);
    const heads = [
      spec({ name: "bn_fc", input: "batch_norm" }),
      spec({ name: "plain", input: "batch_norm_plain" }),
      spec({ name: "mlp", hidden: [{ width: 4, batchNorm: false, relu: true, dropout: 0 }] }),
    ].map((one) => ({ spec: one, trials: [trialOf(0.01), trialOf(0.001)] }));
    const regularised = { bias: true, norm: true };
    const part = await maps();
    const job = jobOf(heads, { regularised, seeds: [0, 1], epochs: 20 });
    const { reports, weights } = await trained(job, part);
    expect(reports).toHaveLength(3 * 20);
    for (const [h] of heads.entries()) {
      const own = reports.filter(({ losses }) => losses[0]![h]![0] !== undefined);
      expect(own).toHaveLength(20);
      expect(own.at(-1)!.losses[0]![h]![0]!).toBeLessThan(own[0]!.losses[0]![h]![0]!);
      expect(own.at(-1)!.losses[0]![h]![1]!).toBeLessThan(own.at(-1)!.losses[0]![h]![0]! + 1e-4);
    }
    // The statistics are those of all images.
    let sums = [0, 0, 0];
    let squares = [0, 0, 0];
    for await (const { features } of part.source.pass({ rows: part.rows, batchSize: 2000 })) {
      const data = await features.out!.data();
      data.forEach((value, i) => {
        const c = Math.floor((i % 6) / 2);
        sums = sums.map((sum, j) => (j === c ? sum + value : sum));
        squares = squares.map((sum, j) => (j === c ? sum + value * value : sum));
      });
      tf.dispose(features);
    }
    const { mean, variance } = weights[0]!.batchNorm!;
    sums.forEach((sum, c) => {
      expect(mean[c]).toBeCloseTo(sum / 4000, 4);
      expect(variance[c]! / ((squares[c]! - sum ** 2 / 4000) / 3999)).toBeCloseTo(1, 4);
    });
  });

  test("trials at once come out as each alone", async () => {
    const part = await smallPart();
    const trials = [trialOf(0.01), trialOf(0.1, { lr: 0.3 }), trialOf(0.03)];
    const run = (own: typeof trials, seeds: number[]) =>
      trained(jobOf([{ spec: headOn([5]), trials: own }], { seeds, epochs: 8 }), part);
    const together = await run(trials, [0, 1]);
    for (const [t, trial] of trials.entries()) {
      const alone = await run([trial], [1]);
      const [weights] = alone.weights;
      weights!.weight.forEach((value, i) => expect(together.weights[3 + t]!.weight[i]).toBeCloseTo(value, 4));
      alone.reports.forEach(({ losses }, e) => {
        expect(together.reports[e]!.losses[1]![0]![t]).toBeCloseTo(losses[0]![0]![0]!, 5);
      });
    }
  });

  test("several labels: each class a mean over the images that are known of it, in chunks as at once", async () => {
    const stream = random(3, "labels");
    const labels = Int8Array.from({ length: 6000 }, (_, i) => (i < 2400 && i % 3 === 1 ? -1 : stream.integer(2)));
    const part = await maps(labels);
    const loss = { kind: "binary_cross_entropy" } as const;
    const job = jobOf([{ spec: headOn([3, 2, 1]), trials: [trialOf(0)] }], { loss, epochs: 40 });
    const { reports, weights } = await trained(job, part);
    const { weight, bias } = weights[0]!;
    let expected = 0;
    for await (const { features } of part.source.pass({ rows: part.rows, batchSize: 2000 })) {
      const x = await features.out!.data();
      tf.dispose(features);
      for (const c of [0, 1, 2]) {
        const known = [...part.rows].filter((row) => labels[row * 3 + c]! >= 0);
        const own = known.map((row) => {
          let z = bias[c]!;
          for (let d = 0; d < 6; d++) z += x[row * 6 + d]! * weight[d * 3 + c]!;
          return Math.log1p(Math.exp(z)) - labels[row * 3 + c]! * z;
        });
        expected += own.reduce((sum, value) => sum + value, 0) / known.length;
      }
    }
    expect(reports.at(-1)!.losses[0]![0]![0]).toBeCloseTo(expected, 4);
  });

  test("what overflows is frozen at zero and told, and harms no other", async () => {
    const part = await smallPart();
    const none = { kind: "lbfgs", history: 5, lineSearch: "none" } as const;
    const calm = trialOf(0.1, { optimizer: none, lr: 0.5 });
    const wild = trialOf(0.1, { optimizer: none, lr: 1e38 });
    const run = (trials: (typeof calm)[]) => trained(jobOf([{ spec: headOn([5]), trials }], { epochs: 6 }), part);
    const { reports, weights, diverged } = await run([calm, wild]);
    expect(diverged).toEqual([[[false, true]]]);
    expect(reports.flatMap((report) => report.diverged)).toEqual([{ seed: 0, head: 0, trial: 1 }]);
    expect(reports.at(-1)!.losses[0]![0]![1]).toBeNaN();
    expect([...weights[1]!.weight, ...weights[1]!.bias].every((value) => value === 0)).toBe(true);
    const alone = await run([calm]);
    alone.weights[0]!.weight.forEach((value, i) => expect(weights[0]!.weight[i]).toBeCloseTo(value, 4));
  });

  test("stopped and taken up, it ends in the same bits and tells the same", async () => {
    const part = await smallPart();
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), "full-batch-"));
    const none = { kind: "lbfgs", history: 3, lineSearch: "none" } as const;
    const job = jobOf(
      [
        { spec: headOn([5]), trials: [trialOf(0.01), trialOf(0.5), trialOf(0.1, { optimizer: none, lr: 1e38 })] },
        { spec: headOn([5], { name: "bn_fc", input: "batch_norm" }), trials: [trialOf(0.01)] },
      ],
      { seeds: [0, 1], epochs: 9 },
    );
    try {
      const whole = await trained(job, part);
      for (const at of [1, 9, 14, 20, 27]) {
        const checkpoint = { file: path.join(folder, `${at}.safetensors`), key: "k", every: 1 };
        const stop = new AbortController();
        let seen = 0;
        const first = trained(job, part, {
          checkpoint,
          signal: stop.signal,
          onEpoch: () => void (++seen === at && stop.abort(new Error("stopped"))),
        });
        await expect(first).rejects.toThrow("stopped");
        expect(seen).toBeGreaterThanOrEqual(at);
        let resumed = 0;
        expect(await trained(job, part, { checkpoint, onResume: () => resumed++ })).toEqual(whole);
        expect(resumed).toBe(1);
        // Of another training, the file is not taken up.
        if (at > 1) continue;
        const other = { ...checkpoint, key: "other" };
        expect(await trained(job, part, { checkpoint: other, onResume: () => resumed++ })).toEqual(whole);
        expect(resumed).toBe(1);
      }
    } finally {
      await fs.rm(folder, { recursive: true });
    }
  });

  test("leaves no tensor, nor where it is stopped", async () => {
    const before = tf.memory().numTensors;
    const part = await maps();
    const heads = [{ spec: headOn([3, 2, 1], { input: "batch_norm" }), trials: [trialOf(0.01), trialOf(0.1)] }];
    await trained(jobOf(heads, { epochs: 4 }), part);
    const stopped = AbortSignal.abort(new Error("stopped"));
    await expect(trained(jobOf(heads, { epochs: 4 }), part, { signal: stopped })).rejects.toThrow("stopped");
    await part.source.close();
    expect(tf.memory().numTensors).toBe(before);
  });

  test.each([
    ["hidden batch norm", { width: 4, batchNorm: true, relu: true, dropout: 0 }],
    ["dropout", { width: 4, batchNorm: false, relu: true, dropout: 0.5 }],
  ])("refuses %s", async (_, layer) => {
    const part = await smallPart();
    const job = jobOf([{ spec: headOn([5], { name: "mlp-4", hidden: [layer] }), trials: [trialOf(0)] }]);
    const make = () => fullBatchTrainer({ job, parts: { train: part, report: part } });
    expect(make).toThrow(UserError);
    expect(make).toThrow("Expected a head without hidden batch norm and dropout for lbfgs but received mlp-4");
  });
});
