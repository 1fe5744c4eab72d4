import type * as tf from "@tensorflow/tfjs";

/**
 * How weights move. Learning rate and weight decay are not told here: they are a trial's own.
 *
 * Sources: torch.optim (SGD, Adam, AdamW, LBFGS); LARS as in VISSL (Apex's LARC without clipping).
 */
export type Optimizer =
  | { kind: "sgd"; momentum: number; nesterov: boolean }
  | { kind: "adam" | "adamw"; beta1: number; beta2: number; epsilon: number }
  /** Learning rates layer by layer: trust · ‖w‖ / (‖g‖ + λ‖w‖ + ε); then SGD with momentum. Biases and batch norm plainly. */
  | { kind: "lars"; momentum: number; nesterov: boolean; trust: number; epsilon: number }
  /** Full batch: a step sees all training images. */
  | { kind: "lbfgs"; history: number; lineSearch: "none" | "strong_wolfe" };

/** A tensor that is trained, with what the optimizer remembers of it: both of the parameter's shape. */
export interface Parameter {
  value: tf.Tensor;
  /** `momentum` (SGD, LARS); `mean` and `square` (Adam, AdamW). */
  slots: Record<string, tf.Tensor>;
}
