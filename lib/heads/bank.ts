import * as tf from "@tensorflow/tfjs";

import { expected } from "../errors.js";
import type { Sgd } from "../optim/sgd.js";
import type { ChannelStatistics } from "./batch-norm.js";
import { channelStatistics, normalise, updateRunning } from "./batch-norm.js";
import type { Block, Trial } from "./block.js";
import { blockLogits, createBlock, disposeRates, parametersOf, setRates, stepBlock, zeroTrials } from "./block.js";
import { crossEntropy } from "./cross-entropy.js";
import type { HeadSpec, HeadWeights } from "./head.js";
import { headWidth } from "./head.js";

export interface HeadBankOptions {
  heads: HeadSpec[];
  /** Every head is trained under each. */
  trials: Trial[];
  classes: number;
  sgd: Sgd;
  /** Whether weight decay holds for biases; VISSL's benchmark says true. Batch norm's γ and β are never decayed. */
  regularizeBias: boolean;
  /** Where each head starts; all its trials start there. */
  initial: (head: HeadSpec) => HeadWeights;
  /**
   * Largest weight matrix that is trained as one piece, in bytes. The trials of a head are one product [B,D]·[D,T·C],
   * cut into pieces of this size, for the element-wise passes of a step are fastest while a piece stays in the caches.
   */
  blockBytes?: number;
}

/** A batch: [batch, width] a layer. Not disposed by the bank. */
export type LayerFeatures = Record<string, tf.Tensor2D>;

/**
 * Heads that are trained at once on the same batches: every head × every trial, in one pass over the features. Each
 * trial comes out as a run of its own would give it, to the rounding of the matrix product.
 */
export interface HeadBank {
  readonly heads: HeadSpec[];
  readonly trials: Trial[];
  /** Which trials are frozen because they diverged, `[head][trial]`. */
  readonly diverged: boolean[][];
  /**
   * One step of all trials.
   *
   * @param labels class indices, shape [batch].
   * @param factor the schedule's factor on the learning rates, at least 0.
   */
  step(features: LayerFeatures, labels: Int32Array, factor: number): void;
  /** The mean loss over a batch in training form, `[head][trial]`. */
  losses(features: LayerFeatures, labels: Int32Array): Promise<number[][]>;
  /**
   * Scores in evaluation form (batch norm by its running statistics).
   *
   * @param wanted trials of each head; all where undefined.
   * @returns `[head][position in wanted]`, each a matrix [batch, classes].
   */
  logits(features: LayerFeatures, wanted?: number[][]): Promise<Float32Array[][]>;
  /** Freezes at zero the trials whose weights are no longer finite, and returns those newly found. */
  freezeDiverged(): Promise<{ head: number; trial: number }[]>;
  weights(head: number, trial: number): Promise<HeadWeights>;
  /** All that training goes on from. */
  state(): Promise<BankState>;
  restore(state: BankState): void;
  dispose(): void;
}

export interface BankState {
  arrays: Record<string, { shape: number[]; data: Float32Array }>;
  factor: number;
  diverged: boolean[][];
}

/** Found best on two cores with 1280-d features (bench/bank.ts). */
const defaultBlockBytes = 2 ** 21;

/** A smaller factor is taken for this one: the momentum is kept in units of the rate, and must not lose its digits. */
const leastFactor = 1e-12;

/** A head's trials, cut into blocks. */
interface HeadBlocks {
  head: HeadSpec;
  blocks: { first: number; block: Block }[];
  running?: ChannelStatistics;
}

/** @throws UserError where there is no head, no trial, fewer than two classes, or a rate is out of range. */
export function createHeadBank(options: HeadBankOptions): HeadBank {
  checkOptions(options);
  const { heads, trials, classes, sgd, regularizeBias } = options;
  const all = heads.map((head) => createHeadBlocks(head, options));
  const blocks = all.flatMap((headBlocks) => headBlocks.blocks.map(({ block }) => block));
  const diverged = heads.map(() => trials.map(() => false));
  let lastFactor = 1;

  return {
    heads,
    trials,
    diverged,
    step: (features, labels, wantedFactor) => {
      const factor = Math.max(wantedFactor, leastFactor);
      const rateChange = factor / lastFactor;
      for (const block of blocks) if (!block.rates || rateChange !== 1) setRates(block, factor);
      lastFactor = factor;
      tf.tidy(() => {
        const oneHot = oneHotOf(labels, classes);
        const inputOf = trainingInputs(features);
        for (const { head, blocks: own, running } of all) {
          const { input, transposed, statistics } = inputOf(head);
          if (running && statistics) updateRunning(running, statistics, input.size / head.shape[0]!);
          for (const { block } of own) {
            stepBlock(block, { sgd, regularizeBias, input, transposed, oneHot, rateChange });
          }
        }
      });
    },
    losses: async (features, labels) => {
      const losses = tf.tidy(() => {
        const oneHot = oneHotOf(labels, classes);
        const inputOf = trainingInputs(features);
        return all.map(({ head, blocks: own }) =>
          tf.concat(own.map(({ block }) => crossEntropy(blockLogits(block, inputOf(head).input), oneHot))),
        );
      });
      const read = await Promise.all(losses.map(async (loss) => [...(await loss.data())]));
      tf.dispose(losses);
      return read;
    },
    logits: async (features, wanted) => {
      const result: Float32Array[][] = [];
      for (const [h, { head, blocks: own, running }] of all.entries()) {
        const asked = wanted?.[h] ?? trials.map((_, t) => t);
        const scores = new Map<number, Float32Array>();
        for (const { first, block } of own) {
          const here = asked.filter((t) => t >= first && t < first + block.trials.length);
          if (here.length === 0) continue;
          const x = features[head.layer]!;
          const tensor = tf.tidy(() => blockLogits(block, running ? normalise(x, running) : x));
          const matrix = (await tensor.data()) as Float32Array;
          tensor.dispose();
          for (const t of here) scores.set(t, columns(matrix, tensor.shape, (t - first) * classes, classes));
        }
        result.push(asked.map((t) => scores.get(t)!));
      }
      return result;
    },
    freezeDiverged: async () => {
      const found: { head: number; trial: number }[] = [];
      for (const [h, { blocks: own }] of all.entries()) {
        for (const { first, block } of own) {
          const bias = (await block.bias.value.data()) as Float32Array;
          const bad = block.trials.map((_, t) =>
            bias.subarray(t * classes, (t + 1) * classes).some((b) => !isFinite(b)),
          );
          if (!bad.includes(true)) continue;
          zeroTrials(block, bad);
          bad.forEach((isBad, t) => isBad && !diverged[h]![first + t] && found.push({ head: h, trial: first + t }));
        }
      }
      for (const { head, trial } of found) diverged[head]![trial] = true;
      return found;
    },
    weights: async (h, trial) => {
      const { blocks: own, running } = all[h]!;
      const { first, block } = own.find((piece) => trial < piece.first + piece.block.trials.length)!;
      const read = async ({ value }: { value: tf.Tensor }, width: number) =>
        columns((await value.data()) as Float32Array, value.shape, (trial - first) * width, width);
      return {
        weight: await read(block.weight, classes),
        bias: await read(block.bias, classes),
        batchNorm:
          running && block.batchNorm
            ? {
                gamma: await read(block.batchNorm.gamma, 1),
                beta: await read(block.batchNorm.beta, 1),
                mean: Float32Array.from(await running.mean.data()),
                variance: Float32Array.from(await running.variance.data()),
              }
            : undefined,
      };
    },
    state: async () => {
      const arrays: BankState["arrays"] = {};
      for (const { name, get } of slots(all)) {
        arrays[name] = { shape: get().shape, data: Float32Array.from(await get().data()) };
      }
      return { arrays, factor: lastFactor, diverged: diverged.map((row) => [...row]) };
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
      state.diverged.forEach((row, h) => row.forEach((value, t) => (diverged[h]![t] = value)));
      lastFactor = state.factor;
      blocks.forEach(disposeRates);
    },
    dispose: () => {
      for (const { get } of slots(all)) get().dispose();
      blocks.forEach(disposeRates);
    },
  };
}

function createHeadBlocks(head: HeadSpec, options: HeadBankOptions): HeadBlocks {
  const { trials, classes, initial, blockBytes = defaultBlockBytes } = options;
  const start = initial(head);
  const fitting = Math.max(1, Math.floor(blockBytes / (4 * headWidth(head) * classes)));
  const pieces = Math.ceil(trials.length / fitting);
  const bounds = Array.from({ length: pieces + 1 }, (_, i) => Math.round((i * trials.length) / pieces));
  return {
    head,
    blocks: bounds.slice(0, -1).map((first, i) => ({
      first,
      block: createBlock(start, trials.slice(first, bounds[i + 1]), classes),
    })),
    running: start.batchNorm && {
      mean: tf.keep(tf.tensor1d(start.batchNorm.mean)),
      variance: tf.keep(tf.tensor1d(start.batchNorm.variance)),
    },
  };
}

interface TrainingInput {
  input: tf.Tensor2D;
  transposed: tf.Tensor2D;
  /** Of the batch, where the input is normalised by them. */
  statistics?: ChannelStatistics;
}

/**
 * What each head reads in training, made once for all its trials. It is transposed here, once, because a product with a
 * transposed operand is slow in the wasm backend and no faster elsewhere.
 */
function trainingInputs(features: LayerFeatures): (head: HeadSpec) => TrainingInput {
  const made = new Map<string, TrainingInput>();
  return ({ layer, kind, shape }) => {
    const key = `${kind} ${layer}`;
    let entry = made.get(key);
    if (!entry) {
      const x = features[layer]!;
      const statistics = kind === "bn_fc" ? channelStatistics(x, shape[0]!) : undefined;
      const input = statistics ? normalise(x, statistics) : x;
      entry = { input, transposed: tf.transpose(input), statistics };
      made.set(key, entry);
    }
    return entry;
  };
}

interface Slot {
  name: string;
  get: () => tf.Tensor;
  set: (tensor: tf.Tensor) => void;
}

/** Every tensor that training changes, by name. */
function slots(all: HeadBlocks[]): Slot[] {
  const slot = <K extends string>(name: string, holder: Record<K, tf.Tensor>, key: K): Slot => ({
    name: `${name}.${key}`,
    get: () => holder[key],
    set: (tensor) => void (holder[key] = tensor),
  });
  return all.flatMap(({ blocks, running }, h) => [
    ...(running ? [slot(`head${h}`, running, "mean"), slot(`head${h}`, running, "variance")] : []),
    ...blocks.flatMap(({ block }, b) =>
      parametersOf(block).flatMap((parameter, p) => [
        slot(`head${h}.block${b}.parameter${p}`, parameter, "value"),
        slot(`head${h}.block${b}.parameter${p}`, parameter, "momentum"),
      ]),
    ),
  ]);
}

function oneHotOf(labels: Int32Array, classes: number): tf.Tensor3D {
  const data = new Float32Array(labels.length * classes);
  labels.forEach((label, row) => (data[row * classes + label] = 1));
  return tf.tensor3d(data, [labels.length, 1, classes]);
}

/** Some columns of a matrix, as a matrix of their own. */
function columns(matrix: Float32Array, shape: number[], first: number, count: number): Float32Array {
  const [rows, width] = shape as [number, number];
  const taken = new Float32Array(rows * count);
  for (let row = 0; row < rows; row++) {
    taken.set(matrix.subarray(row * width + first, row * width + first + count), row * count);
  }
  return taken;
}

function checkOptions({ heads, trials, classes }: HeadBankOptions): void {
  if (heads.length === 0) throw expected("at least one head", "the bank", heads.length);
  if (trials.length === 0) throw expected("at least one trial", "the sweep", trials.length);
  if (!(classes >= 2)) throw expected("at least two classes", "a classification", classes);
  for (const { lr, weightDecay } of trials) {
    if (!(lr > 0 && isFinite(lr))) throw expected("a number above 0", "the learning rate", lr);
    if (!(weightDecay >= 0 && isFinite(weightDecay)))
      throw expected("a number of at least 0", "the weight decay", weightDecay);
  }
}
