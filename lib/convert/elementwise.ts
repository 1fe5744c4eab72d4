import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { constant, type Weight } from "./weight.js";

/**
 * An operation of two tensors, each number with its own; the smaller is spread over the other as NumPy does it.
 *
 * @param op e.g. `Mul`, `AddV2`, `Sub`, `RealDiv`.
 */
export function elementwise(
  graph: GraphBuilder,
  name: string,
  op: string,
  left: GraphTensor,
  right: GraphTensor | Weight,
): GraphTensor {
  const [longer, shorter] = left.shape.length < right.shape.length ? [right, left] : [left, right];
  const missing = longer.shape.length - shorter.shape.length;
  const shape = longer.shape.map((length, axis) => Math.max(length, shorter.shape[axis - missing] ?? 1));
  return graph.operation({ name, op, inputs: [left, right], shape });
}

/** An operation of one tensor that keeps its shape, e.g. `Sqrt`, `Softmax` (over the last axis). */
export function unary(graph: GraphBuilder, name: string, op: string, input: GraphTensor): GraphTensor {
  return graph.operation({ name, op, inputs: [input], shape: input.shape });
}

export function scalar(value: number): Weight {
  return constant([value], "float32", []);
}
