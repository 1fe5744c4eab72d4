import type { TensorShapes } from "./architecture.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { linear as linearLayer } from "./linear.js";
import { reshaped } from "./weight-parts.js";

/**
 * The number of classes of a trained Linear over so many features; undefined where there is none, or one over other
 * features: a projector's, or a task's of pretraining.
 */
export function classesOf(tensors: TensorShapes, name: string, features: number): number | undefined {
  const shape = tensors.get(`${name}.weight`)?.shape;
  return shape?.length === 2 && shape[1] === features ? shape[0] : undefined;
}

/**
 * A linear layer of a vector, with its bias where it has one: tensors `<layer>.weight` and `<layer>.bias`.
 *
 * @param options.is how the checkpoint keeps the matrix: [out, in], or as a 1 × 1 convolution's [out, in, 1, 1].
 */
export function linear(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  options: { name: string; layer: string; channels?: number; is?: "linear" | "convolution" },
): GraphTensor {
  const { name, layer, channels = null, is = "linear" } = options;
  const channelsIn = input.shape[0]!;
  const matrix = weights.take(`${layer}.weight`, [channels, channelsIn, ...(is === "convolution" ? [1, 1] : [])]);
  const out = matrix.shape[0]!;
  const bias = weights.has(`${layer}.bias`) ? weights.take(`${layer}.bias`, [out]) : undefined;
  return linearLayer(graph, name, input, { matrix: reshaped(matrix, [out, channelsIn]), bias });
}
