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

/** Every second row and column of a map, from the first on. */
export function everySecond(graph: GraphBuilder, name: string, input: GraphTensor): GraphTensor {
  const [height, width, channels] = input.shape as [number, number, number];
  const all = constant([0, 0, 0, 0], "int32");
  const none = { i: "0" };
  return graph.operation({
    name,
    op: "StridedSlice",
    inputs: [input, all, all, constant([1, 2, 2, 1], "int32")],
    shape: [Math.ceil(height / 2), Math.ceil(width / 2), channels],
    attr: {
      Index: int32,
      // All axes from their beginning to their end.
      begin_mask: { i: "15" },
      end_mask: { i: "15" },
      ellipsis_mask: none,
      new_axis_mask: none,
      shrink_axis_mask: none,
    },
  });
}

/**
 * Tensors one behind the other; a single one is given back as it is.
 *
 * @param axis without the batch.
 */
export function concatenate(
  graph: GraphBuilder,
  name: string,
  inputs: readonly GraphTensor[],
  axis: number,
): GraphTensor {
  const [first] = inputs as [GraphTensor];
  if (inputs.length === 1) return first;
  const length = inputs.reduce((sum, { shape }) => sum + shape[axis]!, 0);
  return graph.operation({
    name,
    op: "ConcatV2",
    inputs: [...inputs, constant([axis + 1], "int32", [])],
    shape: first.shape.map((own, i) => (i === axis ? length : own)),
    attr: { N: { i: String(inputs.length) }, Tidx: int32 },
  });
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

const int32 = { type: "DT_INT32" };
