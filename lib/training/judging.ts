import * as tf from "@tensorflow/tfjs";

import type { HeadBank } from "../heads/bank.js";
import { meanAveragePrecision } from "../metrics/average-precision.js";
import { ranks, topKAccuracy } from "../metrics/top-k.js";
import type { Part } from "./job.js";
import { layersOf } from "./job.js";
import { targetsOf } from "./passes.js";

/** How many images of a batch are judged at once. */
const batchSize = 1024;

/**
 * What one trained head says of each image of a part, in the order of its rows.
 *
 * - `single`: of data with one label an image
 * - `multi`: of data with several
 */
export type Judgement =
  | {
      kind: "single";
      /** Rank of the true class, from 0. */
      ranks: Int32Array;
      /** Class of the highest score, and its softmax probability. */
      predicted: Int32Array;
      probability: Float32Array;
      /** Cross-entropy. */
      loss: Float32Array;
    }
  | { kind: "multi"; /** Logits, [images, classes]. */ scores: Float32Array };

/** What settings are chosen by. */
export interface Score {
  /** Top-1 accuracy, or mean AP where images have several labels; in [0, 1]. */
  metric: number;
  /** Mean loss of an image: cross-entropy, or binary cross-entropy summed over the classes. */
  loss: number;
}

/**
 * Passes a part through trained heads in evaluation form.
 *
 * @param options.wanted trials of each head; all where undefined.
 * @returns `[seed][head][position in wanted]`
 */
export async function judge(options: {
  bank: HeadBank;
  part: Part;
  classes: number;
  wanted?: number[][];
}): Promise<Judgement[][][]> {
  const { bank, part, classes, wanted } = options;
  const { source, rows: all } = part;
  const single = source.targets.kind === "single";
  const judgements = bank.seeds.map(() =>
    bank.heads.map(({ trials }, h) =>
      (wanted?.[h] ?? trials).map(() => (single ? singleJudgement(all.length) : multiJudgement(all.length, classes))),
    ),
  );
  let at = 0;
  for await (const { rows, features } of source.pass({ rows: all, batchSize, layers: layersOf(bank.heads) })) {
    const targets = targetsOf(source, rows);
    const scores = await bank.logits({ features, wanted });
    tf.dispose(features);
    for (const [s, ofSeed] of scores.entries()) {
      for (const [h, ofHead] of ofSeed.entries()) {
        for (const [t, matrix] of ofHead.entries()) {
          const judgement = judgements[s]![h]![t]!;
          if (judgement.kind === "multi") judgement.scores.set(matrix, at * classes);
          else judgeRows(judgement, { scores: matrix, labels: targets, classes }, at);
        }
      }
    }
    at += rows.length;
  }
  return judgements;
}

export function scoreOf(judgement: Judgement, { source, rows }: Part, classes: number): Score {
  if (judgement.kind === "single") {
    return { metric: topKAccuracy(judgement.ranks, 1), loss: mean(judgement.loss) };
  }
  const { scores } = judgement;
  const targets = targetsOf(source, rows);
  const known = Array.from(targets, (target, i) => (target < 0 ? 0 : softplus(scores[i]!) - target * scores[i]!));
  return {
    metric: meanAveragePrecision({ scores, targets, classes }).mean,
    loss: mean(known) * classes,
  };
}

function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
}

/** log(1 + eᶻ), without overflow. */
function softplus(z: number): number {
  return Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
}

function singleJudgement(n: number): Extract<Judgement, { kind: "single" }> {
  return {
    kind: "single",
    ranks: new Int32Array(n),
    predicted: new Int32Array(n),
    probability: new Float32Array(n),
    loss: new Float32Array(n),
  };
}

function multiJudgement(n: number, classes: number): Judgement {
  return { kind: "multi", scores: new Float32Array(n * classes) };
}

/** Argmax (the first of equal scores) and its softmax probability, row by row. */
function judgeRows(
  judgement: Extract<Judgement, { kind: "single" }>,
  { scores, labels, classes }: { scores: Float32Array; labels: Int32Array | Int8Array; classes: number },
  at: number,
): void {
  judgement.ranks.set(ranks({ scores, labels, classes }), at);
  for (let row = 0; row * classes < scores.length; row++) {
    const own = scores.subarray(row * classes, (row + 1) * classes);
    let best = 0;
    for (let c = 1; c < classes; c++) if (own[c]! > own[best]!) best = c;
    let sum = 0;
    for (let c = 0; c < classes; c++) sum += Math.exp(own[c]! - own[best]!);
    judgement.predicted[at + row] = best;
    judgement.probability[at + row] = 1 / sum;
    judgement.loss[at + row] = Math.log(sum) + own[best]! - own[labels[row]!]!;
  }
}
