import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import type { Weight } from "./weight.js";

/**
 * Products of matrices, one for each position of the axes before.
 *
 * @param left [..., rows, inner]
 * @param right [..., inner, columns]; where it is `transposed`, [..., columns, inner].
 */
export function products(
  graph: GraphBuilder,
  name: string,
  left: GraphTensor,
  right: GraphTensor | Weight,
  { transposed = false } = {},
): GraphTensor {
  const shape = [...left.shape.slice(0, -1), right.shape.at(transposed ? -2 : -1)!];
  const attr = { adj_x: { b: false }, adj_y: { b: transposed } };
  return graph.operation({ name, op: "BatchMatMulV2", inputs: [left, right], shape, attr });
}
