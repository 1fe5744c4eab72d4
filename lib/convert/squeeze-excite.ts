import { activate, gate, type Activation, type Gate } from "./activation.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import { elementwise } from "./elementwise.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { meanMap } from "./mean-map.js";
import { pointwise } from "./pointwise.js";

/**
 * Squeeze-and-excitation (https://arxiv.org/abs/1709.01507): each channel is scaled by a gate, which two 1 × 1
 * convolutions compute from the mean of the map. Tensors `<reduce>.weight`, `.bias`, `<expand>.weight`, `.bias`.
 */
export function squeezeExcite(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  x: GraphTensor,
  options: { name: string; reduce: string; expand: string; activation: Activation; gate: Gate },
): GraphTensor {
  const { name, reduce, expand, activation } = options;
  const layer = (step: string, of: GraphTensor, tensors: string) =>
    pointwise(graph, weights, of, { name: `${name}/${step}`, layer: tensors, is: "convolution" });
  const squeezed = layer("reduce", meanMap(graph, `${name}/mean`, x), reduce);
  const expanded = layer("expand", activate(graph, `${name}/${activation}`, squeezed, activation), expand);
  return elementwise(graph, `${name}/scale`, "Mul", x, gate(graph, `${name}/gate`, expanded, options.gate));
}
