import type * as tf from "@tensorflow/tfjs";

import { ensureBackend } from "../backend/backend.js";
import type { DenseLayer } from "../heads/evaluated.js";
import { loadHead, type HeadDescription } from "../results/export-head.js";
import type { HeadFunction } from "./head-nodes.js";

/**
 * A head of a run's folder, as numbers.
 *
 * @throws UserError where a file is missing or damaged.
 */
export async function readHead({ dir }: { dir: string }): Promise<{
  head: HeadFunction;
  description: HeadDescription;
}> {
  await ensureBackend();
  const { model, description } = await loadHead({ dir });
  try {
    const dense = await Promise.all(model.layers.map(denseLayer));
    const { l2 = false, lengthAdded, activation = "softmax" } = description;
    return { head: { normalized: l2, lengthAdded, dense, activation }, description };
  } finally {
    model.dispose();
  }
}

async function denseLayer(layer: tf.layers.Layer): Promise<DenseLayer> {
  if (layer.getClassName() !== "Dense")
    throw new Error(`a head with a layer ${layer.getClassName()} is not known here`);
  const [weight, bias] = layer.getWeights();
  const numbers = async (tensor: tf.Tensor) => Float32Array.from(await tensor.data());
  const { activation } = layer.getConfig();
  return { weight: await numbers(weight!), bias: await numbers(bias!), relu: activation === "relu" };
}
