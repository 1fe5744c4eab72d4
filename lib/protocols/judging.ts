import * as tf from "@tensorflow/tfjs";

import type { HeadBank } from "../heads/bank.js";
import { ranks } from "../metrics/top-k.js";
import type { Part } from "./splits.js";
import { labelsOf } from "./training.js";

/** How many images of a batch are judged at once. */
const batchSize = 1024;

/** What one trained head says of each image of a part, in the order of its rows. */
export interface Judgement {
  /** Rank of the true class, from 0. */
  ranks: Int32Array;
  /** Class of the highest score, and its softmax probability. */
  predicted: Int32Array;
  probability: Float32Array;
}

/**
 * Passes a part through trained heads in evaluation form.
 *
 * @param wanted trials of each head; all where undefined.
 * @returns `[seed][head][position in wanted]`.
 */
export async function judge(options: {
  bank: HeadBank;
  part: Part;
  layers: string[];
  classes: number;
  wanted?: number[][];
}): Promise<Judgement[][][]> {
  const { bank, part, layers, classes, wanted } = options;
  const n = part.rows.length;
  const empty = () => ({ ranks: new Int32Array(n), predicted: new Int32Array(n), probability: new Float32Array(n) });
  const judgements = bank.seeds.map(() => bank.heads.map((_, h) => (wanted?.[h] ?? bank.trials).map(empty)));
  let at = 0;
  for await (const { rows, features } of part.source.pass({ rows: part.rows, batchSize, layers })) {
    const labels = labelsOf(part.source, rows);
    const scores = await bank.logits(features, wanted);
    tf.dispose(features);
    for (const [s, ofSeed] of scores.entries()) {
      for (const [h, ofHead] of ofSeed.entries()) {
        for (const [t, matrix] of ofHead.entries()) {
          const judgement = judgements[s]![h]![t]!;
          judgement.ranks.set(ranks({ scores: matrix, labels, classes }), at);
          predict(matrix, classes, judgement, at);
        }
      }
    }
    at += rows.length;
  }
  return judgements;
}

/** Argmax (the first of equal scores) and its softmax probability, row by row. */
function predict(scores: Float32Array, classes: number, { predicted, probability }: Judgement, at: number): void {
  for (let row = 0; row * classes < scores.length; row++) {
    const own = scores.subarray(row * classes, (row + 1) * classes);
    let best = 0;
    for (let c = 1; c < classes; c++) if (own[c]! > own[best]!) best = c;
    let sum = 0;
    for (let c = 0; c < classes; c++) sum += Math.exp(own[c]! - own[best]!);
    predicted[at + row] = best;
    probability[at + row] = 1 / sum;
  }
}
