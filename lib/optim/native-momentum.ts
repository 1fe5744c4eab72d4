import * as tf from "@tensorflow/tfjs";

import type { OperationAttribute } from "./native-operations.js";
import { nativeBackend } from "./native-operations.js";

/** Below, the calls of the operations cost more than passes over memory. */
const leastSize = 2 ** 16;

/**
 * q ← −η∇ − ηλ·w in place, then p ← μ·p + q and w ← w + q + μ·p (Nesterov) or w + p in one pass over memory, in place:
 * TensorFlow's own ResourceApplyKerasMomentum. The tensors become variables for the time of the call. Variables share a
 * tensor's buffer, and what else still holds it keeps its values: TensorFlow copies before it writes then.
 *
 * In place counts for more than the passes do: a new buffer of some megabytes comes from the system, page by page.
 *
 * @param options.value,momentum disposed here; `scaledGradient` too where there is a decay.
 * @returns the tensors after the step; undefined, and nothing done, on other backends and for small tensors.
 */
export function nativeMomentum(options: {
  value: tf.Tensor;
  momentum: tf.Tensor;
  /** −η·∇. */
  scaledGradient: tf.Tensor;
  /** −η·λ, broadcast to the value's shape. */
  scaledDecay?: tf.Tensor;
  /** μ. */
  factor: number;
  nesterov: boolean;
}): { value: tf.Tensor; momentum: tf.Tensor } | undefined {
  const backend = nativeBackend();
  const { value, momentum, scaledGradient, scaledDecay, factor, nesterov } = options;
  if (!backend || value.size < leastSize) return undefined;
  const { binding } = backend;
  const typed = (name: string) => ({ name, type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT });
  const flag = (name: string, on: boolean) => ({ name, type: binding.TF_ATTR_BOOL, value: on });
  const text = (name: string, of: string) => ({ name, type: binding.TF_ATTR_STRING, value: of });
  const run = (name: string, attributes: OperationAttribute[], inputs: tf.Tensor[]) =>
    void backend.executeMultipleOutputs(name, attributes, inputs, 0);
  const variableOf = (tensor: tf.Tensor, name: string) => {
    const shape = { name: "shape", type: binding.TF_ATTR_SHAPE, value: tensor.shape };
    const attributes = [text("container", ""), text("shared_name", `frozen-eval/${name}`), typed("dtype"), shape];
    const [variable] = backend.executeMultipleOutputs("VarHandleOp", attributes, [], 1) as [tf.Tensor];
    run("AssignVariableOp", [typed("dtype")], [variable, tensor]);
    tensor.dispose();
    return variable;
  };
  const tensorOf = (variable: tf.Tensor) => {
    const [tensor] = backend.executeMultipleOutputs("ReadVariableOp", [typed("dtype")], [variable], 1) as [tf.Tensor];
    run("DestroyResourceOp", [flag("ignore_lookup_error", false)], [variable]);
    return tensor;
  };
  const decayed = (gradient: tf.Tensor, decay: tf.Tensor) => {
    const move = variableOf(gradient, "move");
    if (decay.size > 1) run("AssignAddVariableOp", [typed("dtype")], [move, tf.mul(value, decay)]);
    else {
      const attributes = [typed("T"), flag("use_locking", false)];
      run("ResourceApplyGradientDescent", attributes, [move, tf.neg(decay.asScalar()), value]);
    }
    return tensorOf(move);
  };
  return tf.tidy(() => {
    const move = scaledDecay ? decayed(scaledGradient, scaledDecay) : scaledGradient;
    const weights = variableOf(value, "weights");
    const moments = variableOf(momentum, "momentum");
    const attributes = [typed("T"), flag("use_locking", false), flag("use_nesterov", nesterov)];
    run("ResourceApplyKerasMomentum", attributes, [weights, moments, tf.scalar(-1), move, tf.scalar(factor)]);
    return { value: tensorOf(weights), momentum: tensorOf(moments) };
  });
}
