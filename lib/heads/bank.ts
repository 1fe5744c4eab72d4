import * as tf from "@tensorflow/tfjs";

import { expected } from "../errors.js";
import type { ScheduleMoment } from "../optim/schedule.js";
import { updateRunning } from "./batch-norm.js";
import type { Block, Regularised } from "./block.js";
import { blockGradients, disposeRates, moveBlock, prepareStep, setRates } from "./block.js";
import type { HeadSpec, HeadWeights } from "./head.js";
import { headWidth } from "./head.js";
import type { BankHead, HeadBlocks } from "./head-blocks.js";
import { createHeadBlocks, slots } from "./head-blocks.js";
import type { Loss } from "./loss.js";
import { lossTargets, lossValue } from "./loss.js";
import type { BankBatch, RecordSteps, StepGraph } from "./step-graph.js";
import type { LayerFeatures } from "./training-input.js";
import { evaluationInput, trainingInputs } from "./training-input.js";

export interface HeadBankOptions {
  heads: BankHead[];
  /** Every trial is trained for each; a seed has its own initial weights and its own batches. */
  seeds: number[];
  classes: number;
  loss: Loss;
  regularised: Regularised;
  /** Where a head starts under a seed; all its trials start there. */
  initial: (head: HeadSpec, seed: number) => HeadWeights;
  /**
   * Largest weight tensor that is trained as one piece, in bytes (one trial may be larger). The trials of a head are
   * one product [B,D]·[D,T·C] a seed, cut into pieces of this size.
   */
  blockBytes?: number;
}

/** Where a trained head stands in a bank: positions in `seeds`, `heads` and the head's trials. */
export interface BankPlace {
  seed: number;
  head: number;
  trial: number;
}

/** What a batch should give: class indices, or one number a class and image; as the loss takes them. */
export type BatchTargets = ArrayLike<number>;

/**
 * Heads that are trained at once, in one pass over the features: every head × its trials × every seed. Each comes out
 * as a run of its own would give it, to the rounding of the matrix product. Features are never disposed here.
 */
export interface HeadBank {
  readonly heads: BankHead[];
  readonly seeds: number[];
  /** What the heads consist of, for training that is not by steps. */
  readonly parts: readonly HeadBlocks[];
  /** Which are frozen because they diverged, `[seed][head][trial]`. */
  readonly diverged: boolean[][][];
  /**
   * Makes one graph of the steps where `record` can. What they compute is the same to rounding.
   *
   * @param options.widths of the layers that the heads read.
   * @param options.sizes of the batches that will come, of each seed; steps on others are made operation by operation.
   * @param options.weighted whether targets of such batches may be unknown (−1).
   * @returns whether that was done.
   */
  compile(options: {
    record: RecordSteps;
    widths: Record<string, number>;
    sizes: number[];
    weighted: boolean;
  }): Promise<boolean>;
  /**
   * One step of all.
   *
   * @param options.features the seeds' batches one behind the other, each of the same size: [seeds·batch, width].
   * @param options.targets of the same rows.
   */
  step(options: { features: LayerFeatures; targets: BatchTargets; moment: ScheduleMoment }): void;
  /** The mean loss over a batch that all seeds see, in training form: `[seed][head][trial]`. */
  losses(options: { features: LayerFeatures; targets: BatchTargets }): Promise<number[][][]>;
  /**
   * Scores of rows that all seeds see, in evaluation form (batch norm by its running statistics).
   *
   * @param options.wanted trials of each head; all where undefined.
   * @returns `[seed][head][position in wanted]`, each a matrix [rows, classes].
   */
  logits(options: { features: LayerFeatures; wanted?: number[][] }): Promise<Float32Array[][][]>;
  /** Freezes at zero what has a loss that is no longer finite, and returns those newly found. */
  freeze(losses: number[][][]): BankPlace[];
  weights(place: BankPlace): Promise<HeadWeights>;
  /** All that training goes on from. */
  state(): Promise<BankState>;
  restore(state: BankState): void;
  dispose(): void;
}

export interface BankState {
  arrays: Record<string, { shape: number[]; data: Float32Array }>;
  /** Steps made, and the schedule's factor at the last one, of each block. */
  blocks: { steps: number; factor: number }[];
  diverged: boolean[][][];
}

/** @throws UserError where there is no head, trial or seed, fewer than two classes, or a rate is out of range. */
export function createHeadBank(options: HeadBankOptions): HeadBank {
  checkOptions(options);
  const { heads, seeds, classes, loss, initial } = options;
  const all = heads.map((head) =>
    createHeadBlocks({ ...options, head, start: seeds.map((seed) => initial(head.spec, seed)) }),
  );
  const blocks = all.flatMap((head) => head.blocks.map(({ block }) => block));
  const diverged = seeds.map(() => heads.map(({ trials }) => trials.map(() => false)));
  let graph: StepGraph | undefined;
  let weighted = false;

  const targetsOf = (given: BatchTargets) =>
    lossTargets({ loss, targets: given, seeds: seeds.length, classes, weighted });

  /** Visits the blocks with the gradients of a step that is prepared; moves running statistics. In a tidy. */
  const visitGradients = ({ features, targets }: BankBatch, visit: (block: Block, gradients: tf.Tensor[]) => void) => {
    const inputOf = trainingInputs(features, seeds.length);
    for (const { spec, blocks: own, running } of all) {
      const { input, statistics } = inputOf(spec);
      const [, batch] = input.shape;
      if (running && statistics) updateRunning(running, statistics, (batch * headWidth(spec)) / spec.shape[0]!);
      for (const { block } of own) tf.tidy(() => visit(block, blockGradients(block, input, targets)));
    }
  };

  return {
    heads,
    seeds,
    get parts() {
      graph?.leave();
      return all;
    },
    diverged,
    compile: async ({ record, widths, sizes, weighted: unknown }) => {
      graph?.leave();
      weighted = unknown;
      const batches = sizes.map((size) => {
        const rows = seeds.length * size;
        const features = Object.entries(widths).map(([name, width]) => [name, tf.zeros<tf.Rank.R2>([rows, width])]);
        const numbers = loss.kind === "cross_entropy" ? rows : rows * classes;
        return {
          features: Object.fromEntries(features) as LayerFeatures,
          targets: targetsOf(new Array(numbers).fill(0)),
        };
      });
      blocks.forEach((block) => setRates(block, batches[0]!.targets));
      const gradients = (batch: BankBatch) => {
        const found: tf.Tensor[][] = [];
        visitGradients(batch, (_, ofBlock) => found.push(ofBlock));
        return found;
      };
      graph?.dispose();
      graph = await record({ all, batches, gradients });
      for (const { features, targets } of batches) tf.dispose([features, targets.target, targets.weight ?? []]);
      return graph !== undefined;
    },
    step: ({ features, targets: given, moment }) =>
      tf.tidy(() => {
        const targets = targetsOf(given);
        const changes = new Map(blocks.map((block) => [block, prepareStep(block, targets, moment)]));
        const batch = { features, targets };
        if (graph?.knows(batch)) return graph.step(batch, [...changes.values()]);
        graph?.leave();
        visitGradients(batch, (block, gradients) => moveBlock(block, gradients, changes.get(block)!));
      }),
    losses: async ({ features, targets: given }) => {
      graph?.leave();
      const losses = tf.tidy(() => {
        const repeated = Array.from({ length: seeds.length }, () => Array.from(given)).flat();
        const targets = lossTargets({ loss, targets: repeated, seeds: seeds.length, classes });
        const inputOf = trainingInputs(features, 1);
        return all.map(({ spec, blocks: own }) =>
          own.map(({ block: { body } }) => {
            // Without dropout, but normalised by this batch: running statistics lag behind the weights.
            const { logits } = body.forward({ input: inputOf(spec).input, training: false, step: 0 });
            return lossValue(logits, targets);
          }),
        );
      });
      const result = seeds.map(() => heads.map(({ trials }) => new Array<number>(trials.length).fill(0)));
      for (const [h, { blocks: own }] of all.entries()) {
        for (const [b, { places }] of own.entries()) {
          const read = await losses[h]![b]!.array();
          read.forEach((ofSeed, s) => ofSeed.forEach((value, t) => (result[s]![h]![places[t]!] = value)));
        }
      }
      tf.dispose(losses);
      return result;
    },
    logits: async ({ features, wanted }) => {
      graph?.leave();
      const result: Float32Array[][][] = seeds.map(() => []);
      for (const [h, { spec, trials, blocks: own, running }] of all.entries()) {
        const asked = wanted?.[h] ?? trials.map((_, t) => t);
        const scores = seeds.map(() => new Map<number, Float32Array>());
        const input = evaluationInput(features, spec, running);
        for (const { places, block } of own) {
          if (!places.some((place) => asked.includes(place))) continue;
          const tensor = tf.tidy(() => block.body.forward({ input, training: false, step: 0 }).logits);
          const [, rows, width] = tensor.shape;
          const data = (await tensor.data()) as Float32Array;
          tensor.dispose();
          scores.forEach((ofSeed, s) => {
            const matrix = data.subarray(s * rows * width, (s + 1) * rows * width);
            places.forEach((place, t) => {
              if (asked.includes(place)) ofSeed.set(place, columns(matrix, width, t * classes, classes));
            });
          });
        }
        input.dispose();
        scores.forEach((ofSeed, s) => result[s]!.push(asked.map((place) => ofSeed.get(place)!)));
      }
      return result;
    },
    freeze: (losses) => {
      graph?.leave();
      const found: BankPlace[] = [];
      for (const [h, { blocks: own }] of all.entries()) {
        for (const { places, block } of own) {
          seeds.forEach((_, s) => {
            const bad = places.map((place) => !isFinite(losses[s]![h]![place]!));
            if (!bad.includes(true)) return;
            block.body.zero({ seed: s, trials: bad });
            places.forEach((place, t) => {
              if (!bad[t] || diverged[s]![h]![place]) return;
              diverged[s]![h]![place] = true;
              found.push({ seed: s, head: h, trial: place });
            });
          });
        }
      }
      return found.sort((a, b) => a.seed - b.seed || a.head - b.head || a.trial - b.trial);
    },
    weights: async ({ seed, head: h, trial }) => {
      graph?.leave();
      const { blocks: own, running } = all[h]!;
      const { places, block } = own.find((piece) => piece.places.includes(trial))!;
      const weights = await block.body.weights({ seed, trial: places.indexOf(trial) });
      if (!running) return weights;
      const mean = await ofSeed(running.mean, seed, seeds.length);
      const variance = await ofSeed(running.variance, seed, seeds.length);
      const identity = { gamma: new Float32Array(mean.length).fill(1), beta: new Float32Array(mean.length) };
      return { ...weights, batchNorm: { ...(weights.batchNorm ?? identity), mean, variance } };
    },
    state: async () => {
      graph?.leave();
      const arrays: BankState["arrays"] = {};
      for (const { name, get } of slots(all)) {
        arrays[name] = { shape: get().shape, data: Float32Array.from(await get().data()) };
      }
      return {
        arrays,
        blocks: blocks.map(({ steps, factor }) => ({ steps, factor })),
        diverged: structuredClone(diverged),
      };
    },
    restore: (state) => {
      graph?.leave();
      for (const { name, get, set } of slots(all)) {
        const saved = state.arrays[name];
        if (!saved || String(saved.shape) !== String(get().shape)) {
          throw expected(`an array of shape [${String(get().shape)}]`, `${name} of the saved heads`, saved?.shape);
        }
        get().dispose();
        set(tf.keep(tf.tensor(saved.data, saved.shape, "float32")));
      }
      state.diverged.forEach((ofSeed, s) => (diverged[s] = ofSeed));
      blocks.forEach((block, b) => {
        Object.assign(block, state.blocks[b]);
        disposeRates(block);
      });
    },
    dispose: () => {
      graph?.dispose();
      for (const { running } of all) tf.dispose({ ...running });
      for (const block of blocks) {
        block.body.dispose();
        disposeRates(block);
      }
    },
  };
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

/** One seed's share of a tensor whose first axis the seeds divide. */
async function ofSeed(tensor: tf.Tensor, seed: number, seeds: number): Promise<Float32Array> {
  const data = (await tensor.data()) as Float32Array;
  return data.slice((seed * data.length) / seeds, ((seed + 1) * data.length) / seeds);
}

function checkOptions({ heads, seeds, classes }: HeadBankOptions): void {
  if (heads.length === 0) throw expected("at least one head", "the bank", heads.length);
  if (seeds.length === 0) throw expected("at least one seed", "the bank", seeds.length);
  if (!(classes >= 1)) throw expected("at least one class", "the bank", classes);
  for (const { trials } of heads) {
    if (trials.length === 0) throw expected("at least one trial", "the sweep", trials.length);
    for (const { lr, weightDecay } of trials) {
      if (!(lr > 0 && isFinite(lr))) throw expected("a number above 0", "the learning rate", lr);
      if (!(weightDecay >= 0 && isFinite(weightDecay))) {
        throw expected("a number of at least 0", "the weight decay", weightDecay);
      }
    }
  }
}
