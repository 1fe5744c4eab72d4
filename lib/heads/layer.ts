import type * as tf from "@tensorflow/tfjs";

import type { TrialParameter } from "./trial-parameter.js";

/**
 * One step on a body's way from its input to its logits. Activations between two layers are [seeds, batch,
 * trials·width] (trials side by side) or [seeds·trials, batch, width] (trials stacked); a layer says which it takes.
 */
export interface Layer {
  parameters: TrialParameter[];
  /** Runs in the tidy of its caller, for its intermediate tensors are needed until `backward`. */
  forward(x: tf.Tensor3D, pass: ForwardPass): LayerOutput;
}

export interface ForwardPass {
  /** Batch statistics and dropout; running statistics are moved. */
  training: boolean;
  /** What dropout is drawn from. */
  step: number;
}

export interface LayerOutput {
  output: tf.Tensor3D;
  /** From the gradient of the output to that of `x` and those of the parameters, in their order. */
  backward(error: tf.Tensor3D): LayerGradients;
}

export interface LayerGradients {
  /** Undefined of a layer that reads the features: nothing before it is trained. */
  error?: tf.Tensor3D;
  parameters: tf.Tensor[];
}
