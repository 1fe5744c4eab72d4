import * as tf from "@tensorflow/tfjs";

import { arraySource } from "../../../lib/features/array-source.js";
import { openCogFeatures } from "../../../lib/features/cog-features.js";
import { readNpy } from "../../../lib/features/npy-file.js";
import type { FeatureSource } from "../../../lib/features/source.js";
import { type HeadWeights, initialWeights } from "../../../lib/heads/head.js";
import { learningRateFactor } from "../../../lib/optim/schedule.js";
import { drawShots, holdOut } from "../../../lib/protocols/cog/split.js";
import { answersOf, type Tally, tallyOf } from "../../../lib/protocols/cog/tally.js";
import {
  type EpochLog,
  logregHead,
  logregSchedule,
  type LogregTraining,
  trainLogreg,
} from "../../../lib/protocols/cog/training.js";
import type { Part } from "../../../lib/protocols/splits.js";
import { random } from "../../../lib/random.js";
import { describeOnBackends, describeOnNative } from "../../backends.js";
import { golden, goldenPath } from "../../golden.js";

const file = (name: string) => goldenPath(`cog/${name}`);
const whole = (source: FeatureSource): Part => ({
  source,
  rows: Uint32Array.from({ length: source.size }, (_, i) => i),
});
const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

type Logs = Record<
  "train/loss" | "train/top1" | "train/top5" | "test/loss" | "test/top1" | "test/top5" | "lr",
  number[]
>;
interface Replay {
  id: number;
  lr: number;
  wd: number;
  batch_size: number;
  epochs: number;
  diverged: boolean;
  logs: Logs;
}
interface FixedRuns {
  lr: number;
  wd: number;
  batch_size: number;
  lr_schedule: number[];
  runs: { final_top1: number; final_top5: number; final_test_loss: number }[];
}

const classes = 20;

let train: Part;
let reported: Part;
async function openFeatures() {
  train = whole(await openCogFeatures({ file: file("features_train/X_Y.pth") }));
  reported = whole(await openCogFeatures({ file: file("features_test/X_Y.pth") }));
}
async function closeFeatures() {
  await train.source.close();
  await reported.source.close();
}

/** CoG's matrix, [classes, width], as ours: [width, classes]. */
function transposed(matrix: ArrayLike<number>): Float32Array {
  const width = matrix.length / classes;
  return Float32Array.from(
    { length: matrix.length },
    (_, i) => matrix[(i % classes) * width + Math.floor(i / classes)]!,
  );
}

const floats = async (name: string) => (await readNpy({ file: file(name) })).data as Float32Array;

async function replayed({ id, lr, wd, batch_size, epochs }: Replay) {
  const name = (what: string) => `replay/${id}_${what}.npy`;
  const orders = (await readNpy({ file: file(name("orders")) })).data as Int32Array;
  const size = train.rows.length;
  const logs: EpochLog[] = [];
  const bank = await trainLogreg({
    train,
    layer: train.source.layers[0]!,
    classes,
    normalize: true,
    settings: [{ lr, weightDecay: wd }],
    epochs,
    batchSize: batch_size,
    start: { weight: transposed(await floats(name("init_weight"))), bias: await floats(name("init_bias")) },
    order: (epoch) => orders.subarray(epoch * size, (epoch + 1) * size),
    watch: { part: reported, onEpoch: (log) => void logs.push(log) },
  });
  return { bank, logs };
}

const largest = (values: ArrayLike<number>) =>
  Array.from(values).reduce((most, one) => Math.max(most, Math.abs(one)), 0);

function expectNear(received: ArrayLike<number>, wanted: ArrayLike<number>, relative: number): void {
  expect(received).toHaveLength(wanted.length);
  const differences = Array.from(received, (value, i) => value - wanted[i]!);
  expect(largest(differences)).toBeLessThan(relative * largest(wanted));
}

describeOnBackends("training from CoG's initial weights in its orders", () => {
  beforeAll(openFeatures);
  afterAll(closeFeatures);
  const runs = golden<Replay[]>("cog/replay/logs.json");

  test.each(runs.filter(({ id }) => [0, 1, 3].includes(id)))("replays its run $id: lr $lr, wd $wd", async (run) => {
    const { bank, logs } = await replayed(run);
    for (const part of ["train", "test"] as const) {
      expectNear(logs.map((log) => log[part]!.loss), run.logs[`${part}/loss`], 1e-4); // prettier-ignore
      for (const metric of ["top1", "top5"] as const) {
        run.logs[`${part}/${metric}`].forEach((wanted, epoch) => {
          expect(Math.abs(100 * logs[epoch]![part]![metric] - wanted)).toBeLessThanOrEqual(0.5);
        });
      }
    }
    if (run.id <= 1) {
      const { weight, bias } = await bank.weights({ seed: 0, head: 0, trial: 0 });
      expectNear(weight, transposed(await floats(`replay/${run.id}_final_weight.npy`)), 2e-3);
      expectNear(bias, await floats(`replay/${run.id}_final_bias.npy`), 2e-3);
    }
    const theirs = (await readNpy({ file: file(`replay/${run.id}_last_predictions.npy`) })).data as Int32Array;
    const ours = (await answersOf(bank, reported)).predicted;
    expect(mean(Array.from(ours, (label, i) => Number(label === theirs[i])))).toBeGreaterThan(0.99);
    bank.dispose();
  });

  test("a rate that is too high ends as CoG's run ended", async () => {
    const [mild, wild] = [runs[2]!, runs[4]!];
    const ends = await replayed(mild);
    expect(Math.abs(100 * ends.logs.at(-1)!.test.top1 - mild.logs["test/top1"].at(-1)!)).toBeLessThan(3);
    ends.bank.dispose();
    const { bank, logs } = await replayed({ ...wild, epochs: 4 });
    expect(Math.abs(logs.length - wild.logs["test/loss"].length)).toBeLessThanOrEqual(1);
    expect(logs.at(-1)!.train).toBeUndefined();
    expect(logs.at(-1)!.test.top1).toBeLessThan(0.15);
    bank.dispose();
  });
});

test.each(golden<FixedRuns[]>("cog/fixed_lr_wd.json"))(
  "rates of lr $lr are CoG's, one epoch later",
  ({ lr, lr_schedule }) => {
    const schedule = logregSchedule(100);
    const rates = Array.from(
      { length: 100 },
      (_, epoch) =>
    lr * learningRateFactor(schedule, { epoch, epochs: 100, step: 2, stepsPerEpoch: 4 }), // prettier-ignore
    );
    expectNear(rates, [lr, ...lr_schedule.slice(0, -1)], 1e-12);
    expect(rates[1]).toBe(lr);
    expect(rates[99]! / lr).toBeCloseTo(9.8664e-4, 7);
  },
);

describeOnNative("three seeds at CoG's settings", () => {
  beforeAll(openFeatures);
  afterAll(closeFeatures);
  const fixed = golden<FixedRuns[]>("cog/fixed_lr_wd.json");

  const training = (seed: number): LogregTraining => {
    const layer = train.source.layers[0]!;
    return {
      train,
      layer,
      classes,
      normalize: true,
      settings: fixed.map(({ lr, wd }) => ({ lr, weightDecay: wd })),
      epochs: 100,
      batchSize: 256,
      start: initialWeights(logregHead(layer, true), classes, seed),
      order: (epoch) => random(seed, "order", epoch).permutation(train.rows.length),
    };
  };

  test("are as good as CoG's, all settings trained side by side", async () => {
    const before = tf.memory().numTensors;
    const found: Tally[][] = [];
    for (const seed of [22, 37, 45]) {
      const bank = await trainLogreg(training(seed));
      found.push(await tallyOf(bank, reported, classes));
      bank.dispose();
    }
    expect(tf.memory().numTensors).toBeLessThanOrEqual(before + 2);
    fixed.forEach(({ runs }, i) => {
      const [top1, top5] = (["top1", "top5"] as const).map(
        (metric) => 100 * mean(found.map((seed) => seed[i]![metric])),
      );
      expect(Math.abs(top1! - mean(runs.map(({ final_top1 }) => final_top1)))).toBeLessThan(1);
      expect(Math.abs(top5! - mean(runs.map(({ final_top5 }) => final_top5)))).toBeLessThan(0.7);
      const loss = mean(runs.map(({ final_test_loss }) => final_test_loss));
      expect(Math.abs(mean(found.map((seed) => seed[i]!.loss)) / loss - 1)).toBeLessThan(0.05);
    });
  });

  test("each as it would be by itself", async () => {
    const options = { ...training(1), epochs: 3, scheduleEpochs: 100 };
    const together = await trainLogreg(options);
    const alone = await trainLogreg({ ...options, settings: [options.settings[1]!] });
    const weights = async (bank: typeof alone, trial: number): Promise<HeadWeights> =>
      bank.weights({ seed: 0, head: 0, trial });
    expectNear((await weights(together, 1)).weight, (await weights(alone, 0)).weight, 1e-5);
    together.dispose();
    alone.dispose();
  });
});

describeOnNative("a head too large to be trained as one piece", () => {
  test("is judged setting by setting all the same", async () => {
    const [width, many, size] = [2048, 1100, 24];
    const stream = random(0, "large");
    const data = Float32Array.from({ length: size * width }, () => stream.normal());
    const labels = Int32Array.from({ length: size }, (_, i) => 40 * i);
    const source = await arraySource({ layers: { f: { shape: [width], data } }, targets: { kind: "single", labels } });
    const part = whole(source);
    const layer = source.layers[0]!;
    const settings = [0.1, 50, 5].map((lr) => ({ lr, weightDecay: 1e-6 }));
    const start = initialWeights(logregHead(layer, true), many, 0);
    const order = () => part.rows;
    const shared = { train: part, layer, classes: many, normalize: true, epochs: 3, batchSize: 16, start, order };
    const bank = await trainLogreg({ ...shared, settings });
    expect(bank.parts[0]!.blocks.length).toBeGreaterThan(1);
    const together = await tallyOf(bank, part, many);
    bank.dispose();
    for (const [i, setting] of settings.entries()) {
      const alone = await trainLogreg({ ...shared, settings: [setting] });
      const [own] = await tallyOf(alone, part, many);
      alone.dispose();
      expect(together[i]!.loss).toBeCloseTo(own!.loss, 4);
      expect([together[i]!.top1, together[i]!.top5]).toEqual([own!.top1, own!.top5]);
    }
    expect(new Set(together.map(({ loss }) => loss.toFixed(3))).size).toBe(3);
    await source.close();
  });
});

describe("CoG's split", () => {
  beforeAll(openFeatures);
  afterAll(closeFeatures);
  interface Split {
    n_shot: number;
    permutations_split: number[][];
    permutations_fewshot: number[][];
    train_index: number[];
    val_index: number[];
    fewshot_index: number[];
  }
  const names = Array.from({ length: classes }, (_, label) => `class${label}`);

  test.each(golden<Split[]>("cog/splits.json"))("holds out and draws the same images", (wanted) => {
    const held = holdOut({ part: train, fraction: 0.2, permutation: (_, label) => wanted.permutations_split[label]! });
    expect(Array.from(held.train.rows)).toEqual(wanted.train_index);
    expect(Array.from(held.val.rows)).toEqual(wanted.val_index);
    const drawn = drawShots({
      part: held.train,
      shots: wanted.n_shot,
      permutation: (_, label) => wanted.permutations_fewshot[label]!,
      classes: names,
    });
    expect(Array.from(drawn.rows)).toEqual(wanted.fewshot_index);
  });
});
