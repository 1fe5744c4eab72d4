import * as tf from "@tensorflow/tfjs";

import type { HeadBank } from "../../heads/bank.js";
import { type LossTargets, lossTargets, lossValue } from "../../heads/loss.js";
import { evaluationInput, type LayerFeatures } from "../../heads/training-input.js";
import { targetsOf } from "../../training/passes.js";
import type { Part } from "../splits.js";

/** Images that are judged at once. */
const batchSize = 1024;

/** What a logistic regression says of some images. */
export interface Tally {
  /** Mean cross-entropy; not finite where training diverged. */
  loss: number;
  /** Fractions in [0, 1]. What is not a number ranks nothing. */
  top1: number;
  top5: number;
}

/** Sums over batches, on the device until they are read. */
export interface TallySums {
  /** Adds a batch, under the weights as they are now. */
  add(options: { features: LayerFeatures; labels: ArrayLike<number> }): void;
  /** The means over all that was added, one a trial of the bank. */
  read(): Promise<Tally[]>;
  dispose(): void;
}

/** @param bank of one head and one seed. */
export function tallySums(bank: HeadBank, classes: number): TallySums {
  const { spec, blocks } = bank.parts[0]!;
  const trials = bank.heads[0]!.trials.length;
  let sums = tf.keep(tf.zeros<tf.Rank.R2>([3, trials]));
  let count = 0;
  const places = blocks.flatMap((block) => block.places);
  return {
    add: ({ features, labels }) => {
      const next = tf.tidy(() => {
        const targets = lossTargets({ loss: crossEntropy, targets: labels, seeds: 1, classes });
        const input = evaluationInput(features, spec);
        const own = blocks.map(({ block }) =>
          sumsOf(block.body.forward({ input, training: false, step: 0 }).logits, targets),
        );
        return tf.keep(tf.add<tf.Tensor2D>(sums, tf.concat2d(own, 1)));
      });
      sums.dispose();
      sums = next;
      count += labels.length;
    },
    read: async () => {
      const [loss, top1, top5] = (await sums.array()) as [number[], number[], number[]];
      const found = new Array<Tally>(trials);
      places.forEach((place, i) => {
        found[place] = { loss: loss[i]! / count, top1: top1[i]! / count, top5: top5[i]! / count };
      });
      return found;
    },
    dispose: () => sums.dispose(),
  };
}

export const crossEntropy = { kind: "cross_entropy", labelSmoothing: 0 } as const;

/** What the bank's trials say of a part. */
export async function tallyOf(bank: HeadBank, part: Part, classes: number): Promise<Tally[]> {
  const sums = tallySums(bank, classes);
  try {
    for await (const { rows, features } of passOf(bank, part)) {
      sums.add({ features, labels: targetsOf(part.source, rows) });
      tf.dispose(features);
    }
    return await sums.read();
  } finally {
    sums.dispose();
  }
}

/** What one trained setting says of each image. */
export interface Answers {
  /** The class of the highest score, the first of equals. */
  predicted: Int32Array;
  /** Its softmax probability. */
  probability: Float32Array;
}

/** What the one setting of a bank says of the images of a part. */
export async function answersOf(bank: HeadBank, part: Part): Promise<Answers> {
  const { length } = part.rows;
  const answers = { predicted: new Int32Array(length), probability: new Float32Array(length) };
  const { spec, blocks } = bank.parts[0]!;
  const { body } = blocks[0]!.block;
  let at = 0;
  for await (const { rows, features } of passOf(bank, part)) {
    const batch = tf.tidy(() => {
      const input = evaluationInput(features, spec);
      const { logits } = body.forward({ input, training: false, step: 0 });
      return { predicted: tf.argMax(logits, 2), probability: tf.max(tf.softmax(logits), 2) };
    });
    answers.predicted.set(await batch.predicted.data(), at);
    answers.probability.set(await batch.probability.data(), at);
    tf.dispose([batch, features]);
    at += rows.length;
  }
  return answers;
}

function passOf(bank: HeadBank, { source, rows }: Part) {
  return source.pass({ rows, batchSize, layers: bank.heads[0]!.spec.reads });
}

/** Sums over a batch of loss, right in the first and right in the first five: [3, trials]. */
function sumsOf(logits: tf.Tensor3D, targets: LossTargets): tf.Tensor2D {
  const { target } = targets;
  const [rows, , classes] = target.shape;
  const scores = logits.reshape<tf.Tensor3D>([rows, logits.shape[2] / classes, classes]);
  const truth = tf.sum(tf.mul(scores, target), 2, true);
  const before = tf.cumsum(target, 2, true, true);
  // Among equal scores the class of the smaller index stands first.
  const rank = tf.sum(tf.add(tf.greater(scores, truth).toFloat(), tf.mul(tf.equal(scores, truth), before)), 2);
  const known = tf.logicalNot(tf.isNaN(truth.squeeze([2])));
  const right = (k: number) => tf.sum(tf.logicalAnd(tf.less(rank, k), known), 0).toFloat();
  const loss = tf.mul(lossValue(logits, targets), rows).squeeze([0]);
  return tf.stack([loss, right(1), right(5)]) as tf.Tensor2D;
}
