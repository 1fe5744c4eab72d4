import type * as tf from "@tensorflow/tfjs";

import type { Parameter } from "../optim/optimizer.js";
import type { HeadWeights } from "./head.js";

/**
 * The trained part of a head for many trials and all seeds at once, as a function with its derivative. What a trial
 * computes depends on its own weights alone: trials share the input and nothing else.
 *
 * Columns of inputs and outputs of trials stand trial by trial: a tensor [seeds, batch, trials·k] holds k numbers of
 * the first trial, then k of the second.
 */
export interface HeadBody {
  /** Always the same names in the same order. */
  readonly parameters: BodyParameter[];
  /** What training changes beside them, without a gradient (running statistics); by name. */
  readonly buffers: Record<string, tf.Tensor>;
  /**
   * @param options.input with a last column of ones: [seeds, batch, width + 1], or [1, batch, width + 1] where all
   * seeds see the same.
   * @param options.training batch statistics and dropout; running statistics are moved. Not so in evaluation.
   * @param options.step what dropout is drawn from, with the seed: equal steps give equal masks.
   */
  forward(options: { input: tf.Tensor3D; training: boolean; step: number }): BodyOutput;
  /** One trained head. */
  weights(place: { seed: number; trial: number }): Promise<HeadWeights>;
  /** Sets the weights, and what optimizers remember of them, to zero for some trials of a seed. */
  zero(place: { seed: number; trials: boolean[] }): void;
  dispose(): void;
}

export interface BodyParameter {
  name: string;
  parameter: Parameter;
  /** γ and β of batch norms are never decayed. */
  kind: "matrix" | "norm";
  /**
   * One number a trial as a tensor that broadcasts to the parameter.
   *
   * @param withoutBias zero where the parameter holds biases (a matrix's last row).
   */
  spread: (perTrial: readonly number[], withoutBias?: boolean) => tf.Tensor;
  /** The sum of squares of a tensor of the parameter's shape, apart for each seed and trial, broadcast to its shape:
   *  of a matrix without its last row, the biases; there (and of norms) the result is zero. */
  squaredNorm: (tensor: tf.Tensor) => tf.Tensor;
  /** A tensor of the parameter's shape as one row a seed and trial, seed by seed: [seeds·trials, numbers of a trial]. */
  toRows: (tensor: tf.Tensor) => tf.Tensor2D;
  /** Its inverse. */
  fromRows: (rows: tf.Tensor2D) => tf.Tensor;
}

export interface BodyOutput {
  /** Shape [seeds, batch, trials·classes]. */
  logits: tf.Tensor3D;
  /**
   * The gradients of all parameters, in their order and of their shapes. To be called within the tidy of `forward`.
   *
   * @param error of the logits' shape.
   */
  backward: (error: tf.Tensor3D) => tf.Tensor[];
}
