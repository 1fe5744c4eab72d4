import type { CheckpointWeights } from "./checkpoint-weights.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { reshaped } from "./weight-parts.js";
import { convolutionKernel } from "./weight.js";

/**
 * A linear layer at each place of a map, which is a 1 × 1 convolution: tensors `<layer>.weight` and `<layer>.bias`.
 *
 * @param options.is how the checkpoint keeps the matrix: [out, in], or as a convolution's [out, in, 1, 1].
 * @param options.bias whether it has one; true where undefined.
 */
export function pointwise(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  x: GraphTensor,
  options: { name: string; layer: string; is: "linear" | "convolution"; bias?: boolean },
): GraphTensor {
  const { name, layer, bias = true } = options;
  const channels = x.shape.at(-1)!;
  const matrix = weights.take(`${layer}.weight`, [null, channels, ...(options.is === "convolution" ? [1, 1] : [])]);
  const out = matrix.shape[0]!;
  const kernel = convolutionKernel(reshaped(matrix, [out, channels, 1, 1]));
  const product = graph.conv2d(`${name}/conv`, x, kernel, { padding: 0 });
  return bias ? graph.biasAdd(`${name}/bias_add`, product, weights.take(`${layer}.bias`, [out])) : product;
}
