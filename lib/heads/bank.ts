import * as tf from "@tensorflow/tfjs";

import { expected } from "../errors.js";
import { leastFactor, type Sgd } from "../optim/sgd.js";
import { normalise, updateRunning } from "./batch-norm.js";
import type { Block, Trial } from "./block.js";
import { blockLogits, disposeRates, setRates, stepBlock, zeroTrials } from "./block.js";
import { crossEntropy } from "./cross-entropy.js";
import type { HeadSpec, HeadWeights } from "./head.js";
import { headWidth } from "./head.js";
import { createHeadBlocks, slots } from "./head-blocks.js";
import type { LayerFeatures } from "./training-input.js";
import { oneHotOf, trainingInputs, withOnes } from "./training-input.js";

export interface HeadBankOptions {
  heads: HeadSpec[];
  /** Every head is trained under each. */
  trials: Trial[];
  /** Every trial is trained for each; a seed has its own initial weights and its own batches. */
  seeds: number[];
  classes: number;
  sgd: Sgd;
  /** Whether weight decay holds for biases; VISSL's benchmark says true. Batch norm's γ and β are never decayed. */
  regularizeBias: boolean;
  /** Where a head starts under a seed; all its trials start there. */
  initial: (head: HeadSpec, seed: number) => HeadWeights;
  /**
   * Largest weight tensor that is trained as one piece, in bytes. The trials of a head are one product [B,D]·[D,T·C] a
   * seed, cut into pieces of this size, for the element-wise passes of a step are fastest while a piece stays in the
   * caches.
   */
  blockBytes?: number;
}

/** Where a trained head stands in a bank: positions in `seeds`, `heads` and `trials`. */
export interface BankPlace {
  seed: number;
  head: number;
  trial: number;
}

/**
 * Heads that are trained at once, in one pass over the features: every head × every trial × every seed. Each comes out
 * as a run of its own would give it, to the rounding of the matrix product. Features are never disposed here.
 */
export interface HeadBank {
  readonly heads: HeadSpec[];
  readonly trials: Trial[];
  readonly seeds: number[];
  /** Which are frozen because they diverged, `[seed][head][trial]`. */
  readonly diverged: boolean[][][];
  /**
   * One step of all.
   *
   * @param features the seeds' batches one behind the other, each of the same size: [seeds·batch, width].
   * @param labels class indices, shape [seeds·batch].
   * @param factor the schedule's factor on the learning rates, at least 0.
   */
  step(features: LayerFeatures, labels: Int32Array, factor: number): void;
  /** The mean loss over a batch that all seeds see, in training form: `[seed][head][trial]`. */
  losses(features: LayerFeatures, labels: Int32Array): Promise<number[][][]>;
  /**
   * Scores of rows that all seeds see, in evaluation form (batch norm by its running statistics).
   *
   * @param wanted trials of each head; all where undefined.
   * @returns `[seed][head][position in wanted]`, each a matrix [rows, classes].
   */
  logits(features: LayerFeatures, wanted?: number[][]): Promise<Float32Array[][][]>;
  /** Freezes at zero what has weights that are no longer finite, and returns those newly found. */
  freezeDiverged(): Promise<BankPlace[]>;
  weights(place: BankPlace): Promise<HeadWeights>;
  /** All that training goes on from. */
  state(): Promise<BankState>;
  restore(state: BankState): void;
  dispose(): void;
}

export interface BankState {
  arrays: Record<string, { shape: number[]; data: Float32Array }>;
  factor: number;
  diverged: boolean[][][];
}

/** @throws UserError where there is no head, trial or seed, fewer than two classes, or a rate is out of range. */
export function createHeadBank(options: HeadBankOptions): HeadBank {
  checkOptions(options);
  const { heads, trials, seeds, classes, sgd, regularizeBias } = options;
  const all = heads.map((head) => createHeadBlocks(head, options));
  const blocks = all.flatMap((headBlocks) => headBlocks.blocks.map(({ block }) => block));
  const diverged = seeds.map(() => heads.map(() => trials.map(() => false)));
  let lastFactor = 1;

  return {
    heads,
    trials,
    seeds,
    diverged,
    step: (features, labels, wantedFactor) => {
      const factor = Math.max(wantedFactor, leastFactor);
      const rateChange = factor / lastFactor;
      const batch = labels.length / seeds.length;
      for (const block of blocks) {
        if (block.rates?.batch !== batch || rateChange !== 1) setRates(block, { factor, batch, regularizeBias });
      }
      lastFactor = factor;
      tf.tidy(() => {
        const oneHot = oneHotOf(labels, classes);
        const inputOf = trainingInputs(features, seeds.length);
        for (const { head, blocks: own, running } of all) {
          const { input, transposedProduct, statistics } = inputOf(head);
          if (running && statistics) updateRunning(running, statistics, (batch * headWidth(head)) / head.shape[0]!);
          for (const { block } of own) stepBlock(block, { sgd, input, transposedProduct, oneHot, rateChange });
        }
      });
    },
    losses: async (features, labels) => {
      const losses = tf.tidy(() => {
        const oneHot = oneHotOf(repeated(labels, seeds.length), classes);
        const everywhere = Object.entries(features).map(([name, x]) => [name, tf.tile(x, [seeds.length, 1])] as const);
        const inputOf = trainingInputs(Object.fromEntries(everywhere), seeds.length);
        return all.map(
          ({ head, blocks: own }) =>
          tf.concat(own.map(({ block }) => crossEntropy(blockLogits(block, inputOf(head).input), oneHot)), 1), // prettier-ignore
        );
      });
      const read = await Promise.all(losses.map(async (loss) => await loss.array()));
      tf.dispose(losses);
      return seeds.map((_, s) => read.map((ofHead) => ofHead[s]!));
    },
    logits: async (features, wanted) => {
      const result: Float32Array[][][] = seeds.map(() => []);
      for (const [h, { head, blocks: own, running }] of all.entries()) {
        const asked = wanted?.[h] ?? trials.map((_, t) => t);
        const scores = seeds.map(() => new Map<number, Float32Array>());
        for (const { first, block } of own) {
          const here = asked.filter((t) => t >= first && t < first + block.trials.length);
          if (here.length === 0) continue;
          const tensor = tf.tidy(() => {
            const x = features[head.layer]!.expandDims<tf.Tensor3D>(0);
            return blockLogits(block, withOnes(running ? normalise(x, running) : x));
          });
          const [, rows, width] = tensor.shape;
          const data = (await tensor.data()) as Float32Array;
          tensor.dispose();
          scores.forEach((ofSeed, s) => {
            const matrix = data.subarray(s * rows * width, (s + 1) * rows * width);
            for (const t of here) ofSeed.set(t, columns(matrix, width, (t - first) * classes, classes));
          });
        }
        scores.forEach((ofSeed, s) => result[s]!.push(asked.map((t) => ofSeed.get(t)!)));
      }
      return result;
    },
    freezeDiverged: async () => {
      const found: BankPlace[] = [];
      for (const [h, { blocks: own }] of all.entries()) {
        for (const { first, block } of own) {
          const biases = (await lastRow(block)) as Float32Array;
          seeds.forEach((_, s) => {
            const bias = (t: number) => biases.subarray((s * block.trials.length + t) * classes).subarray(0, classes);
            const bad = block.trials.map((_, t) => bias(t).some((value) => !isFinite(value)));
            if (!bad.includes(true)) return;
            zeroTrials(block, s, bad);
            bad.forEach((isBad, t) => {
              if (!isBad || diverged[s]![h]![first + t]) return;
              diverged[s]![h]![first + t] = true;
              found.push({ seed: s, head: h, trial: first + t });
            });
          });
        }
      }
      return found.sort((a, b) => a.seed - b.seed || a.head - b.head || a.trial - b.trial);
    },
    weights: async ({ seed, head: h, trial }) => {
      const { blocks: own, running, head } = all[h]!;
      const { first, block } = own.find((piece) => trial < piece.first + piece.block.trials.length)!;
      const width = headWidth(head);
      const matrix = await ofSeed(block.weight.value, seed, seeds.length);
      const whole = columns(matrix, block.weight.value.shape[2]!, (trial - first) * classes, classes);
      const weight = whole.slice(0, width * classes);
      const bias = whole.slice(width * classes);
      if (!running || !block.batchNorm) return { weight, bias };
      const own1 = async ({ value }: { value: tf.Tensor }) =>
        columns(await ofSeed(value, seed, seeds.length), block.trials.length, trial - first, 1);
      return {
        weight,
        bias,
        batchNorm: {
          gamma: await own1(block.batchNorm.gamma),
          beta: await own1(block.batchNorm.beta),
          mean: await ofSeed(running.mean, seed, seeds.length),
          variance: await ofSeed(running.variance, seed, seeds.length),
        },
      };
    },
    state: async () => {
      const arrays: BankState["arrays"] = {};
      for (const { name, get } of slots(all)) {
        arrays[name] = { shape: get().shape, data: Float32Array.from(await get().data()) };
      }
      return { arrays, factor: lastFactor, diverged: structuredClone(diverged) };
    },
    restore: (state) => {
      for (const { name, get, set } of slots(all)) {
        const saved = state.arrays[name];
        if (!saved || String(saved.shape) !== String(get().shape)) {
          throw expected(`an array of shape [${String(get().shape)}]`, `${name} of the saved heads`, saved?.shape);
        }
        get().dispose();
        set(tf.keep(tf.tensor(saved.data, saved.shape, "float32")));
      }
      state.diverged.forEach((ofSeed, s) => (diverged[s] = ofSeed));
      lastFactor = state.factor;
      blocks.forEach(disposeRates);
    },
    dispose: () => {
      for (const { get } of slots(all)) get().dispose();
      blocks.forEach(disposeRates);
    },
  };
}

/** The biases of a block: [seeds, trials·classes]. */
async function lastRow({ weight }: Block): Promise<ArrayLike<number>> {
  const [, rows] = weight.value.shape as [number, number];
  const bias = tf.tidy(() => (weight.value as tf.Tensor3D).slice([0, rows - 1, 0], [-1, 1, -1]));
  const data = await bias.data();
  bias.dispose();
  return data;
}

/** One seed's share of a tensor whose first axis the seeds divide. */
async function ofSeed(tensor: tf.Tensor, seed: number, seeds: number): Promise<Float32Array> {
  const data = (await tensor.data()) as Float32Array;
  return data.slice((seed * data.length) / seeds, ((seed + 1) * data.length) / seeds);
}

function repeated(labels: Int32Array, times: number): Int32Array {
  return Int32Array.from({ length: labels.length * times }, (_, i) => labels[i % labels.length]!);
}

/** Some columns of a matrix of `width` columns, as a matrix of their own. */
function columns(matrix: Float32Array, width: number, first: number, count: number): Float32Array {
  const rows = matrix.length / width;
  const taken = new Float32Array(rows * count);
  for (let row = 0; row < rows; row++) {
    taken.set(matrix.subarray(row * width + first, row * width + first + count), row * count);
  }
  return taken;
}

function checkOptions({ heads, trials, seeds, classes }: HeadBankOptions): void {
  if (heads.length === 0) throw expected("at least one head", "the bank", heads.length);
  if (trials.length === 0) throw expected("at least one trial", "the sweep", trials.length);
  if (seeds.length === 0) throw expected("at least one seed", "the bank", seeds.length);
  if (!(classes >= 2)) throw expected("at least two classes", "a classification", classes);
  for (const { lr, weightDecay } of trials) {
    if (!(lr > 0 && isFinite(lr))) throw expected("a number above 0", "the learning rate", lr);
    if (!(weightDecay >= 0 && isFinite(weightDecay))) {
      throw expected("a number of at least 0", "the weight decay", weightDecay);
    }
  }
}
