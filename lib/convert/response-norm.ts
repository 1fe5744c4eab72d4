import { elementwise, scalar, unary } from "./elementwise.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { mean, sum } from "./reduction.js";
import type { FloatWeight } from "./weight.js";

/**
 * Global response normalisation (ConvNeXt V2, https://arxiv.org/abs/2301.00808): x + scale · x · n + shift, where n is
 * a channel's Euclidean norm over the map, divided by the mean of those norms.
 */
export function globalResponseNorm(
  graph: GraphBuilder,
  x: GraphTensor,
  { name, scale, shift }: { name: string; scale: FloatWeight; shift: FloatWeight },
): GraphTensor {
  const energy = sum(graph, `${name}/energy`, unary(graph, `${name}/square`, "Square", x), [0, 1], true);
  const norm = unary(graph, `${name}/norm`, "Sqrt", energy);
  const overall = mean(graph, `${name}/mean`, norm, [2], true);
  const divisor = elementwise(graph, `${name}/epsilon`, "AddV2", overall, scalar(1e-6));
  const relative = elementwise(graph, `${name}/relative`, "RealDiv", norm, divisor);
  const response = elementwise(graph, `${name}/response`, "Mul", x, relative);
  const scaled = elementwise(graph, `${name}/scaled`, "Mul", response, scale);
  return graph.add(name, x, graph.biasAdd(`${name}/shifted`, scaled, shift));
}
