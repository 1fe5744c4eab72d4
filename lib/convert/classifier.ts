import type { TensorShapes } from "./architecture.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { linearMatrix } from "./weight.js";

/**
 * The number of classes of a trained Linear over so many features; undefined where there is none, or one over other
 * features: a projector's, or a task's of pretraining.
 */
export function classesOf(tensors: TensorShapes, name: string, features: number): number | undefined {
  const shape = tensors.get(`${name}.weight`)?.shape;
  return shape?.length === 2 && shape[1] === features ? shape[0] : undefined;
}

/** PyTorch's Linear of that name, with its bias where it has one: [channels] → [any]. */
export function linear(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  options: { name: string; tensors: string; channels?: number },
): GraphTensor {
  const { name, tensors, channels = null } = options;
  const matrix = weights.take(`${tensors}.weight`, [channels, input.shape[0]!]);
  const product = graph.matMul(`${name}/mat_mul`, input, linearMatrix(matrix));
  const bias = `${tensors}.bias`;
  return weights.has(bias)
    ? graph.biasAdd(`${name}/bias_add`, product, weights.take(bias, [matrix.shape[0]!]))
    : product;
}
