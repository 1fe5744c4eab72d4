import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { constant } from "./weight.js";

/** Axes are of one image, without the batch. */
type Axis = 0 | 1 | 2;

/** A stretch of one axis. */
export function slice(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  { axis, begin, size }: { axis: Axis; begin: number; size: number },
): GraphTensor {
  const at = (own: number) => [0, ...input.shape].map((_, i) => (i === axis + 1 ? own : 0));
  // A size of −1 takes the rest.
  const sizes = at(size).map((own, i) => (i === axis + 1 ? own : -1));
  return graph.operation({
    name,
    op: "Slice",
    inputs: [input, constant(at(begin), "int32"), constant(sizes, "int32")],
    shape: input.shape.map((own, i) => (i === axis ? size : own)),
    attr: { Index: int32 },
  });
}

/** Tensors one behind the other; a single one is given back as it is. */
export function concatenate(
  graph: GraphBuilder,
  name: string,
  inputs: readonly GraphTensor[],
  axis: Axis,
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

/** The same numbers in another shape, for each image. */
export function reshape(graph: GraphBuilder, name: string, input: GraphTensor, shape: readonly number[]): GraphTensor {
  const inputs = [input, constant([-1, ...shape], "int32")];
  return graph.operation({ name, op: "Reshape", inputs, shape, attr: { Tshape: int32 } });
}

/** The axes of each image in another order. */
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

/** Channels of zeros before and behind those of a map. */
export function padChannels(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  [before, behind]: readonly [number, number],
): GraphTensor {
  const [height, width, channels] = input.shape as [number, number, number];
  return graph.operation({
    name,
    op: "PadV2",
    inputs: [input, constant([0, 0, 0, 0, 0, 0, before, behind], "int32", [4, 2]), constant([0], "float32", [])],
    shape: [height, width, before + channels + behind],
    attr: { Tpaddings: int32 },
  });
}

const int32 = { type: "DT_INT32" };
