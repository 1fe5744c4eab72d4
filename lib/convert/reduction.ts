import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { constant } from "./weight.js";

/** The mean over some axes (without the batch); `keep` leaves them with size 1. */
export function mean(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  axes: readonly number[],
  keep = false,
): GraphTensor {
  return reduce(graph, name, "Mean", input, axes, keep);
}

/** The sum over some axes, as {@link mean}. */
export function sum(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  axes: readonly number[],
  keep = false,
): GraphTensor {
  return reduce(graph, name, "Sum", input, axes, keep);
}

function reduce(
  graph: GraphBuilder,
  name: string,
  op: "Mean" | "Sum",
  input: GraphTensor,
  axes: readonly number[],
  keep: boolean,
): GraphTensor {
  const kept = input.shape.map((length, axis) => (axes.includes(axis) ? 1 : length));
  const shape = keep ? kept : input.shape.filter((_, axis) => !axes.includes(axis));
  const inputs = [input, constant(axes.map((axis) => axis + 1), "int32")]; // prettier-ignore
  return graph.operation({ name, op, inputs, shape, attr: { Tidx: { type: "DT_INT32" }, keep_dims: { b: keep } } });
}
