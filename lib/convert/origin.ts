import type { BatchNorm } from "./batch-norm.js";
import type { FloatWeight, Weight } from "./weight.js";

/**
 * How weights of a graph came from a checkpoint's tensors, so that a conversion can be checked against the tensors
 * themselves (`proof.ts`). A weight that was changed in a way which is not told here has no origin, and is not checked.
 */

/** A convolution and the batch norm behind it, before they became one. */
export interface Folding {
  /** PyTorch's layout, as in the checkpoint. */
  kernel: FloatWeight;
  bias?: FloatWeight;
  norm: BatchNorm;
}

const foldings = new WeakMap<Weight, Folding>();
const sources = new WeakMap<Weight, FloatWeight>();

/** Notes that the weight is the kernel, or the bias, that a folding gave. */
export function noteFolding(weight: Weight, folding: Folding | undefined): void {
  if (folding) foldings.set(weight, folding);
}

export function foldingOf(weight: Weight): Folding | undefined {
  return foldings.get(weight);
}

/** Notes that the weight is `source`, which is laid out as in PyTorch, with its axes in another order. */
export function notePermutation(weight: Weight, source: FloatWeight): void {
  sources.set(weight, source);
}

/** The weight as PyTorch lays it out. */
export function sourceOf(weight: Weight): FloatWeight | undefined {
  return sources.get(weight);
}
