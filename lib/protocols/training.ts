import * as tf from "@tensorflow/tfjs";

import type { FeatureBatch, FeatureSource } from "../features/source.js";
import type { HeadBank } from "../heads/bank.js";
import type { Schedule } from "../optim/schedule.js";
import { learningRateFactor } from "../optim/schedule.js";
import type { Progress } from "../progress.js";
import { random } from "../random.js";
import type { Part } from "./splits.js";

/** A bank and the seed that its weights and its order of images come from. */
export interface SeededBank {
  seed: number;
  bank: HeadBank;
}

/** How far a training is: steps of `epoch` that are done. Both from 0. */
export interface TrainingPosition {
  epoch: number;
  step: number;
}

export interface TrainingOptions {
  banks: SeededBank[];
  train: Part;
  layers: string[];
  epochs: number;
  batchSize: number;
  schedule: Schedule;
  /** Where an earlier run stopped; the beginning where undefined. */
  from?: TrainingPosition;
  /** Called after each epoch with the number of those done; training goes on when it resolves. */
  afterEpoch: (epochs: number) => Promise<void>;
  /** Called after each step of all banks (and after `afterEpoch`), at the only places where training may be saved. */
  afterStep: (position: TrainingPosition) => Promise<void>;
  progress: Progress;
}

/** Single labels of the given rows. */
export function labelsOf(source: FeatureSource, rows: Uint32Array): Int32Array {
  const { targets } = source;
  if (targets.kind !== "single") throw new TypeError("single labels are checked for when a protocol starts");
  return Int32Array.from(rows, (row) => targets.labels[row]!);
}

/**
 * Trains all banks, seeds in lockstep. Each seed has an order of its own in each epoch, drawn from seed and epoch, so
 * that a run which is taken up meets the batches that it would have met.
 */
export async function trainBanks(options: TrainingOptions): Promise<void> {
  const { banks, train, layers, epochs, batchSize, schedule, afterEpoch, afterStep, progress } = options;
  const { from = { epoch: 0, step: 0 } } = options;
  const used = usedRows(train.rows.length, batchSize);
  const stepsPerEpoch = Math.ceil(used / batchSize);
  const total = (epochs - from.epoch) * stepsPerEpoch - from.step;
  const task = progress.task({ label: "train", total, unit: "steps" });
  try {
    for (let { epoch, step } = from; epoch < epochs; epoch++, step = 0) {
      const passes = banks.map(({ seed }) => {
        const order = random(seed, "order", epoch).permutation(train.rows.length);
        const rows = order.map((position) => train.rows[position]!).subarray(step * batchSize, used);
        return train.source.pass({ rows, batchSize, layers })[Symbol.asyncIterator]();
      });
      try {
        while (step < stepsPerEpoch) {
          const factor = learningRateFactor(schedule, { epoch, epochs, step, stepsPerEpoch });
          for (const [s, { bank }] of banks.entries()) {
            const { value: batch } = (await passes[s]!.next()) as IteratorYieldResult<FeatureBatch>;
            bank.step(batch.features, labelsOf(train.source, batch.rows), factor);
            tf.dispose(batch.features);
          }
          step++;
          task.advance(1, `epoch ${epoch + 1}/${epochs}`);
          if (step % 8 === 0) await tf.nextFrame();
          if (step < stepsPerEpoch) await afterStep({ epoch, step });
        }
      } finally {
        for (const pass of passes) await pass.return?.();
      }
      await afterEpoch(epoch + 1);
      await afterStep({ epoch: epoch + 1, step: 0 });
    }
  } finally {
    task.end();
  }
}

/** A last batch of a single image is left out: batch norm has no variance there. */
function usedRows(rows: number, batchSize: number): number {
  return rows > 1 && rows % batchSize === 1 ? rows - 1 : rows;
}
