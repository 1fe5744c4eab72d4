import type { FeatureBatch, FeatureSource } from "../features/source.js";
import { random } from "../random.js";
import type { BatchJob, Part } from "./job.js";
import { layersOf } from "./job.js";

/** How far a training is: steps of `epoch` that are done. Both from 0. */
export interface TrainingPosition {
  epoch: number;
  step: number;
}

/** Class indices of the given rows, or one number a class and row. */
export function targetsOf({ targets }: FeatureSource, rows: Uint32Array): Int32Array | Int8Array {
  if (targets.kind === "single") return Int32Array.from(rows, (row) => targets.labels[row]!);
  const { classes, labels } = targets;
  const taken = new Int8Array(rows.length * classes);
  rows.forEach((row, i) => taken.set(labels.subarray(row * classes, (row + 1) * classes), i * classes));
  return taken;
}

export function stepsPerEpoch({ rows }: Part, { batchSize }: Pick<BatchJob, "batchSize">): number {
  return Math.ceil(usedRows(rows.length, batchSize) / batchSize);
}

/** The sizes that batches of an epoch have: all but perhaps the last are alike. */
export function batchSizes({ rows }: Part, { batchSize }: Pick<BatchJob, "batchSize">): number[] {
  const used = usedRows(rows.length, batchSize);
  const last = used % batchSize;
  return [...(used >= batchSize ? [batchSize] : []), ...(last > 0 ? [last] : [])];
}

/**
 * The batches of an epoch, all seeds' side by side: each seed has an order of its own in each epoch, drawn from seed
 * and epoch, so that a training which is taken up meets the batches that it would have met.
 */
export function epochPass(options: {
  job: BatchJob;
  train: Part;
  from: TrainingPosition;
}): AsyncIterable<FeatureBatch> {
  const { job, train, from } = options;
  const { seeds, batchSize } = job;
  const used = usedRows(train.rows.length, batchSize);
  const orders = seeds.map((seed) => {
    const order = random(seed, "order", from.epoch).permutation(train.rows.length);
    return order.map((position) => train.rows[position]!).subarray(from.step * batchSize, used);
  });
  const draws = seeds.map((seed, s) => new Uint32Array(orders[s]!.length).fill(drawOf(seed, from.epoch)));
  return train.source.pass({
    rows: sideBySide(orders, batchSize),
    batchSize: batchSize * seeds.length,
    layers: layersOf(job.heads),
    draws: sideBySide(draws, batchSize),
  });
}

/** What the views of an epoch are drawn from. */
function drawOf(seed: number, epoch: number): number {
  return random(seed, "views", epoch).integer(2 ** 32);
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
