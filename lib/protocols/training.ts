import * as tf from "@tensorflow/tfjs";

import type { FeatureSource } from "../features/source.js";
import type { HeadBank } from "../heads/bank.js";
import type { Schedule } from "../optim/schedule.js";
import { learningRateFactor } from "../optim/schedule.js";
import type { Progress } from "../progress.js";
import { random } from "../random.js";
import type { Part } from "./splits.js";

/** How far a training is: steps of `epoch` that are done. Both from 0. */
export interface TrainingPosition {
  epoch: number;
  step: number;
}

export interface TrainingOptions {
  bank: HeadBank;
  train: Part;
  layers: string[];
  epochs: number;
  batchSize: number;
  schedule: Schedule;
  /** Where an earlier run stopped; the beginning where undefined. */
  from?: TrainingPosition;
  /** Called after each epoch with the number of those done; training goes on when it resolves. */
  afterEpoch: (epochs: number) => Promise<void>;
  /** Called after each step (and after `afterEpoch`), at the only places where training may be saved. */
  afterStep: (position: TrainingPosition) => Promise<void>;
  progress: Progress;
}

/** Milliseconds after which signals and progress bars get their turn. */
const breath = 50;

/** Single labels of the given rows. */
export function labelsOf(source: FeatureSource, rows: Uint32Array): Int32Array {
  const { targets } = source;
  if (targets.kind !== "single") throw new TypeError("single labels are checked for when a protocol starts");
  return Int32Array.from(rows, (row) => targets.labels[row]!);
}

/**
 * Trains a bank. Each seed has an order of its own in each epoch, drawn from seed and epoch, so that a run which is taken
 * up meets the batches that it would have met.
 */
export async function trainBank(options: TrainingOptions): Promise<void> {
  const { bank, train, layers, epochs, batchSize, schedule, afterEpoch, afterStep, progress } = options;
  const { from = { epoch: 0, step: 0 } } = options;
  const used = usedRows(train.rows.length, batchSize);
  const stepsPerEpoch = Math.ceil(used / batchSize);
  const total = (epochs - from.epoch) * stepsPerEpoch - from.step;
  const task = progress.task({ label: "train", total, unit: "steps" });
  let breathed = Date.now();
  try {
    for (let { epoch, step } = from; epoch < epochs; epoch++, step = 0) {
      const orders = bank.seeds.map((seed) => {
        const order = random(seed, "order", epoch).permutation(train.rows.length);
        return order.map((position) => train.rows[position]!).subarray(step * batchSize, used);
      });
      // Each seed sees other views, and sees them again where a run is taken up.
      const draws = bank.seeds.map((seed) => random(seed, "draw", epoch).integer(2 ** 32));
      const pass = train.source.pass({
        rows: sideBySide(orders, batchSize),
        batchSize: batchSize * orders.length,
        layers,
        draws: sideBySide(orders.map((order, s) => order.map(() => draws[s]!)), batchSize), // prettier-ignore
      });
      for await (const { rows, features } of pass) {
        const factor = learningRateFactor(schedule, { epoch, epochs, step, stepsPerEpoch });
        bank.step(features, labelsOf(train.source, rows), factor);
        tf.dispose(features);
        step++;
        task.advance(1, `epoch ${epoch + 1}/${epochs}`);
        if (Date.now() - breathed > breath) {
          await tf.nextFrame();
          breathed = Date.now();
        }
        if (step < stepsPerEpoch) await afterStep({ epoch, step });
      }
      await afterEpoch(epoch + 1);
      await afterStep({ epoch: epoch + 1, step: 0 });
    }
  } finally {
    task.end();
  }
}

/** The first batch of every order, then the second of every order, and so on. */
function sideBySide(orders: Uint32Array[], batchSize: number): Uint32Array {
  const length = orders[0]!.length;
  const rows = new Uint32Array(length * orders.length);
  let at = 0;
  for (let start = 0; start < length; start += batchSize) {
    for (const order of orders) {
      const batch = order.subarray(start, start + batchSize);
      rows.set(batch, at);
      at += batch.length;
    }
  }
  return rows;
}

/** A last batch of a single image is left out: batch norm has no variance there. */
function usedRows(rows: number, batchSize: number): number {
  return rows > 1 && rows % batchSize === 1 ? rows - 1 : rows;
}
