import type { CheckpointWeights } from "./checkpoint-weights.js";
import { elementwise, scalar, unary } from "./elementwise.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { mean } from "./reduction.js";
import type { FloatWeight } from "./weight.js";

/** y = (x − mean) / √(variance + ε) · scale + shift over the last axis. Shapes [channels]. */
export interface LayerNorm {
  scale: FloatWeight;
  shift?: FloatWeight;
  epsilon: number;
}

export function layerNorm(graph: GraphBuilder, name: string, input: GraphTensor, norm: LayerNorm): GraphTensor {
  const last = [input.shape.length - 1];
  const centred = elementwise(graph, `${name}/centred`, "Sub", input, mean(graph, `${name}/mean`, input, last, true));
  const squared = unary(graph, `${name}/squared`, "Square", centred);
  const variance = mean(graph, `${name}/variance`, squared, last, true);
  const shifted = elementwise(graph, `${name}/epsilon`, "AddV2", variance, scalar(norm.epsilon));
  const factor = unary(graph, `${name}/factor`, "Rsqrt", shifted);
  const normalised = elementwise(graph, `${name}/normalised`, "Mul", centred, factor);
  if (!norm.shift) return elementwise(graph, name, "Mul", normalised, norm.scale);
  const scaled = elementwise(graph, `${name}/scaled`, "Mul", normalised, norm.scale);
  return elementwise(graph, name, "AddV2", scaled, norm.shift);
}

/** PyTorch's LayerNorm over the channels at each place: tensors `<norm>.weight` and `<norm>.bias`. */
export function channelNorm(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  x: GraphTensor,
  { name, norm, epsilon }: { name: string; norm: string; epsilon: number },
): GraphTensor {
  const channels = [x.shape.at(-1)!];
  const [scale, shift] = [weights.take(`${norm}.weight`, channels), weights.take(`${norm}.bias`, channels)];
  return layerNorm(graph, name, x, { scale, shift, epsilon });
}
