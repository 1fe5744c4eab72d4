import type * as tf from "@tensorflow/tfjs";

import type { HeadBlocks } from "./head-blocks.js";
import type { LossTargets } from "./loss.js";
import type { LayerFeatures } from "./training-input.js";

/** What one step of a bank reads. */
export interface BankBatch {
  features: LayerFeatures;
  targets: LossTargets;
}

/**
 * The steps of a bank as one graph in a session of native TensorFlow: one call a step, whatever the number of heads and
 * operations. All that training changes are variables of the session then, which are moved in place.
 */
export interface StepGraph {
  /** Whether steps on such a batch are in the graph. */
  knows(batch: BankBatch): boolean;
  /**
   * One step, the blocks prepared for it. The bank's own tensors are disposed, until `leave`.
   *
   * @param rateChanges η′/η of each block since the last step.
   */
  step(batch: BankBatch, rateChanges: number[]): void;
  /** Gives the bank its tensors, as they are now. */
  leave(): void;
  dispose(): void;
}

export interface StepGraphOptions {
  /** All heads, their blocks with the rates of such batches. */
  all: HeadBlocks[];
  /** A batch of each size that will come. Steps on them are computed, without a consequence. */
  batches: BankBatch[];
  /** Moves running statistics and gives the gradients of each block's parameters, times `rates.gradient`. */
  gradients: (batch: BankBatch) => tf.Tensor[][];
}

/** Makes a graph of a bank's steps; undefined where that cannot be done, or would not gain. */
export type RecordSteps = (options: StepGraphOptions) => Promise<StepGraph | undefined>;
