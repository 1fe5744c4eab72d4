import * as tf from "@tensorflow/tfjs";

import type { TracedModel } from "./trace.js";

/**
 * What a LayersModel's own layers give at its taps.
 *
 * @param inputs of the model; they are kept.
 * @returns a tensor a tap, which the caller disposes.
 */
export function predictTaps({ model, taps, within }: TracedModel, inputs: tf.Tensor[]): Map<string, tf.Tensor> {
  const wanted = [...taps.values(), ...within.flatMap((one) => one.inputs)];
  // A model may be given its own input back, but TensorFlow.js has no model of an input alone.
  const given = new Map(model.inputs.map(({ id }, i) => [id, inputs[i]!]));
  const computed = wanted.filter(({ id }) => !given.has(id));
  const all = computed.length === 0 ? [] : tf.model({ inputs: model.inputs, outputs: computed }).predict(inputs);
  [all].flat().forEach((result, i) => given.set(computed[i]!.id, result));
  const results = new Map([...taps].map(([name, { id }]) => [name, given.get(id)!.clone()]));
  for (const one of within) {
    const inner = one.inputs.map(({ id }) => given.get(id)!);
    for (const [name, result] of predictTaps(one.traced, inner)) results.set(name, result);
  }
  tf.dispose(all);
  return results;
}
