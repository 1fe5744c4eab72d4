import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { constant } from "./weight.js";

/** What stands for the batch in a shape that is given to a node. */
const anyBatch = -1;

/** The numbers of each image in another shape. */
export function reshape(graph: GraphBuilder, name: string, input: GraphTensor, shape: readonly number[]): GraphTensor {
  const inputs = [input, constant([anyBatch, ...shape], "int32")];
  return graph.operation({ name, op: "Reshape", inputs, shape, attr: { Tshape: int32 } });
}

/** @param order of the axes without the batch: axis i of the result is axis `order[i]` of the input. */
export function transpose(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  order: readonly number[],
): GraphTensor {
  const inputs = [input, constant([0, ...order.map((axis) => axis + 1)], "int32")];
  const shape = order.map((axis) => input.shape[axis]!);
  return graph.operation({ name, op: "Transpose", inputs, shape, attr: { Tperm: int32 } });
}

/** @param range begin and size along the first axes (without the batch); those that follow are taken whole. */
export function slice(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  range: { begin: readonly number[]; size: readonly number[] },
): GraphTensor {
  const shape = input.shape.map((length, axis) => range.size[axis] ?? length);
  const begin = input.shape.map((_, axis) => range.begin[axis] ?? 0);
  const inputs = [input, constant([0, ...begin], "int32"), constant([anyBatch, ...shape], "int32")];
  return graph.operation({ name, op: "Slice", inputs, shape, attr: { Index: int32 } });
}

/** A part of the last axis. */
export function channels(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  from: number,
  count: number,
): GraphTensor {
  const before = input.shape.slice(0, -1);
  return slice(graph, name, input, { begin: [...before.map(() => 0), from], size: [...before, count] });
}

/** Zeros at the edges: [before, after] of each axis without the batch. */
export function padWithZeros(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  edges: readonly (readonly [before: number, after: number])[],
): GraphTensor {
  const inputs = [
    input,
    constant([0, 0, ...edges.flat()], "int32", [edges.length + 1, 2]),
    constant([0], "float32", []),
  ];
  const shape = input.shape.map((length, axis) => length + edges[axis]![0] + edges[axis]![1]);
  return graph.operation({ name, op: "PadV2", inputs, shape, attr: { Tpaddings: int32 } });
}

/** Tensors side by side along the last axis. */
export function joinChannels(graph: GraphBuilder, name: string, parts: readonly GraphTensor[]): GraphTensor {
  const first = parts[0]!.shape;
  const shape = [...first.slice(0, -1), parts.reduce((sum, part) => sum + part.shape.at(-1)!, 0)];
  const inputs = [...parts, constant([first.length], "int32", [])];
  return graph.operation({
    name,
    op: "ConcatV2",
    inputs,
    shape,
    attr: { Tidx: int32, N: { i: String(parts.length) } },
  });
}

/** The mean over some axes (without the batch). */
export function mean(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  axes: readonly number[],
  keep = false,
): GraphTensor {
  const kept = input.shape.map((length, axis) => (axes.includes(axis) ? 1 : length));
  const shape = keep ? kept : input.shape.filter((_, axis) => !axes.includes(axis));
  const inputs = [
    input,
    constant(
      axes.map((axis) => axis + 1),
      "int32",
    ),
  ];
  return graph.operation({ name, op: "Mean", inputs, shape, attr: { Tidx: int32, keep_dims: { b: keep } } });
}

const int32 = { type: "DT_INT32" };
