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

export interface TrainingOptions {
  banks: SeededBank[];
  train: Part;
  layers: string[];
  epochs: number;
  batchSize: number;
  schedule: Schedule;
  /** First epoch to run, where an earlier run stopped. */
  from?: number;
  /** Called after each epoch, from 1; training goes on when it resolves. */
  afterEpoch: (epoch: number) => Promise<void>;
  progress: Progress;
  signal?: AbortSignal;
}

/** Single labels of the given rows. */
export function labelsOf(source: FeatureSource, rows: Uint32Array): Int32Array {
  const { targets } = source;
  if (targets.kind !== "single") throw new TypeError("single labels are checked for when a protocol starts");
  return Int32Array.from(rows, (row) => targets.labels[row]!);
}

/**
 * Trains all banks, seeds in lockstep. Each seed has an order of its own in each epoch, drawn anew from seed and epoch,
 * so that a run which is taken up at an epoch meets the batches that it would have met.
 */
export async function trainBanks(options: TrainingOptions): Promise<void> {
  const { banks, train, layers, epochs, batchSize, schedule, from = 0, afterEpoch, progress, signal } = options;
  const stepsPerEpoch = Math.ceil(usedRows(train.rows.length, batchSize) / batchSize);
  const task = progress.task({ label: "train", total: (epochs - from) * stepsPerEpoch, unit: "steps" });
  try {
    for (let epoch = from; epoch < epochs; epoch++) {
      const passes = banks.map(({ seed }) => {
        const order = random(seed, "order", epoch).permutation(train.rows.length);
        const rows = order.map((position) => train.rows[position]!).subarray(0, usedRows(order.length, batchSize));
        return train.source.pass({ rows, batchSize, layers })[Symbol.asyncIterator]();
      });
      try {
        for (let step = 0; step < stepsPerEpoch; step++) {
          const factor = learningRateFactor(schedule, { epoch, epochs, step, stepsPerEpoch });
          for (const [s, pass] of passes.entries()) {
            const batch = (await pass.next()) as IteratorResult<FeatureBatch, void>;
            if (batch.done) throw new Error("a pass over the features ended before its last row");
            banks[s]!.bank.step(batch.value.features, labelsOf(train.source, batch.value.rows), factor);
            tf.dispose(batch.value.features);
          }
          task.advance(1, `epoch ${epoch + 1}/${epochs}`);
          if (step % 8 === 7) await tf.nextFrame();
          signal?.throwIfAborted();
        }
      } finally {
        for (const pass of passes) await pass.return?.();
      }
      await afterEpoch(epoch + 1);
      signal?.throwIfAborted();
    }
  } finally {
    task.end();
  }
}

/** A last batch of a single image is left out: batch norm has no variance there. */
function usedRows(rows: number, batchSize: number): number {
  return rows > 1 && rows % batchSize === 1 ? rows - 1 : rows;
}
