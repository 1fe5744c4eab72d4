import type { Call, Trace } from "./trace.js";
import { int32, typeOf } from "./trace.js";
import { identity, isTensor, permutedConstant, physicalShape, sizeOf } from "./value.js";
import type { Tensor, Value } from "./value.js";

/**
 * The value in another shape. Where the axes that are joined or divided lie side by side in the node, in their order,
 * it is reshaped as it lies: the tokens of a map that lies as NHWC come out as [tokens, channels].
 */
export function reshape(trace: Trace, value: Value, shape: readonly number[]): Value {
  if (value.shape.join() === shape.join()) return value;
  if (!isTensor(value)) return { ...value, shape };
  const order = orderAfter(value, shape);
  if (!order) {
    const gathered = trace.arrange(value, gatheredOrder(value, shape));
    const after = orderAfter(gathered, shape) ?? identity(shape.length);
    return trace.reshapeNode(gathered, after.map((axis) => shape[axis]!), after); // prettier-ignore
  }
  return trace.reshapeNode(value, order.map((axis) => shape[axis]!), order); // prettier-ignore
}

function orderAfter({ shape: from, order }: Tensor, to: readonly number[]): number[] | undefined {
  const groups = jointAxes(from, to);
  if (!groups) return undefined;
  const lying = order.filter((axis) => from[axis] !== 1);
  const result: number[] = [];
  for (let at = 0; at < lying.length;) {
    const group = groups.find(([axes]) => axes[0] === lying[at]);
    if (!group?.[0].every((axis, i) => lying[at + i] === axis)) return undefined;
    result.push(...group[1]);
    at += group[0].length;
  }
  // An axis of one lies anywhere: behind the one before it.
  to.forEach((size, axis) => {
    if (size === 1) result.splice(axis === 0 ? 0 : result.indexOf(axis - 1) + 1, 0, axis);
  });
  return result;
}

/** Axes that are joined or divided together moved side by side: what lies last, the channels, stays last. */
function gatheredOrder({ shape: from, order }: Tensor, to: readonly number[]): number[] {
  const groups = jointAxes(from, to) ?? [identity(from.length)].map((axes): [number[], number[]] => [axes, []]);
  const place = (axes: number[]) => Math.min(...axes.map((axis) => order.indexOf(axis)));
  const long = groups.map(([axes]) => axes).sort((a, b) => place(a) - place(b)).flat(); // prettier-ignore
  return [...long, ...order.filter((axis) => !long.includes(axis))];
}

/** The smallest sets of axes, without those of one, that hold the same elements before and after. */
function jointAxes(from: readonly number[], to: readonly number[]): [number[], number[]][] | undefined {
  const long = (shape: readonly number[]) => identity(shape.length).filter((axis) => shape[axis] !== 1);
  const [left, right] = [long(from), long(to)];
  const groups: [number[], number[]][] = [];
  while (left.length > 0 && right.length > 0) {
    const group: [number[], number[]] = [[left.shift()!], [right.shift()!]];
    let [before, after] = [from[group[0][0]!]!, to[group[1][0]!]!];
    while (before !== after) {
      const [side, rest, shape] = before < after ? [group[0], left, from] : [group[1], right, to];
      const axis = rest.shift();
      if (axis === undefined) return undefined;
      side.push(axis);
      if (shape === from) before *= from[axis]!;
      else after *= to[axis]!;
    }
    groups.push(group);
  }
  return left.length + right.length === 0 ? groups : undefined;
}

/** The value with ONNX's axes in another order; of a tensor no element is moved. */
export function transpose(value: Value, permutation: readonly number[]): Value {
  if (!isTensor(value)) return permutedConstant(value, permutation);
  const shape = permutation.map((axis) => value.shape[axis]!);
  return { ...value, shape, order: value.order.map((axis) => permutation.indexOf(axis)) };
}

export function broadcastShape(call: Call, shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map(({ length }) => length));
  return identity(rank).map((axis) => {
    const sizes = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1).filter((size) => size !== 1);
    if (new Set(sizes).size > 1) {
      call.refuse("shapes that fit together", shapes.map((shape) => `[${shape.join(", ")}]`).join(" and "));
    }
    return sizes[0] ?? 1;
  });
}

/** With as many axes; the new ones of one in front. */
export function ofRank(trace: Trace, value: Value, rank: number): Value {
  const { shape } = value;
  return shape.length === rank
    ? value
    : reshape(trace, value, [...Array<number>(rank - shape.length).fill(1), ...shape]);
}

/**
 * A part of a tensor, by TensorFlow's StridedSlice.
 *
 * @param cuts for ONNX's axes that are cut: from `start` on so many elements, `step` apart.
 * @param dropped an axis of which one element is taken, and which goes away.
 */
export function slice(trace: Trace, tensor: Tensor, cuts: ReadonlyMap<number, Cut>, dropped?: number): Tensor {
  const { order, dtype } = tensor;
  const untouched = order.reduce((mask, axis, i) => (cuts.has(axis) ? mask : mask | (1 << i)), 0);
  const cut = (axis: number) => cuts.get(axis) ?? { start: 0, step: 1, count: tensor.shape[axis]! };
  const toTheStart = order.reduce((mask, axis, i) => {
    const { start, step, count } = cut(axis);
    return start + step * count < 0 ? mask | (1 << i) : mask;
  }, 0);
  const of = (number: (cut: Cut) => number) =>
    int32(order.map((axis) => (cuts.has(axis) ? number(cut(axis)) : number({ start: 0, step: 1, count: 0 }))));
  const kept = order.filter((axis) => axis !== dropped);
  const numbered = kept.map((axis) => (dropped !== undefined && axis > dropped ? axis - 1 : axis));
  return trace.operation(
    "StridedSlice",
    [
      tensor,
      of(({ start }) => start),
      of(({ start, step, count }) => Math.max(0, start + step * count)),
      of(({ step }) => step),
    ],
    {
      shape: kept.map((axis) => cut(axis).count),
      order: numbered,
      dtype,
      attr: {
        T: typeOf(dtype),
        Index: typeOf("int32"),
        begin_mask: { i: String(untouched) },
        end_mask: { i: String(untouched | toTheStart) },
        ellipsis_mask: { i: "0" },
        new_axis_mask: { i: "0" },
        shrink_axis_mask: { i: String(dropped === undefined ? 0 : 1 << order.indexOf(dropped)) },
      },
    },
  );
}

export interface Cut {
  start: number;
  step: number;
  count: number;
}

/** Elements of one axis by their positions. */
export function gather(trace: Trace, tensor: Tensor, axis: number, positions: readonly number[]): Tensor {
  const { order, dtype } = tensor;
  const shape = order.map((one) => (one === axis ? positions.length : tensor.shape[one]!));
  return trace.operation("GatherV2", [tensor, int32(positions), int32([order.indexOf(axis)], [])], {
    shape,
    order,
    dtype,
    attr: {
      T: undefined,
      Tparams: typeOf(dtype),
      Tindices: typeOf("int32"),
      Taxis: typeOf("int32"),
      batch_dims: { i: "0" },
    },
  });
}

/** Axes of one repeated until the shape is reached; by the batch, where it says so. */
export function expand(call: Call, value: Value, target: readonly number[]): Value {
  const { trace } = call;
  const shape = broadcastShape(call, [value.shape, target]);
  if (value.shape.join() === shape.join()) return value;
  const tensor = trace.tensor(ofRank(trace, value, shape.length));
  const { order, dtype } = tensor;
  const physical = physicalShape(tensor);
  const result = order.map((axis) => shape[axis]!);
  const repeats = result.map((size, i) => size / physical[i]!);
  return trace.operation("Tile", [tensor, multiples(trace, repeats)], {
    shape: result,
    order,
    dtype,
    attr: { T: typeOf(dtype), Tmultiples: typeOf("int32") },
  });
}

/** How often each axis is repeated: numbers, among them at most one that is so many times the batch of the images. */
function multiples(trace: Trace, repeats: readonly number[]) {
  const at = repeats.findIndex((count) => trace.isBatch(count));
  if (at < 0) return int32(repeats);
  const int = typeOf("int32");
  const images: Tensor = { node: trace.graph.input.node, shape: [], dtype: "float32", order: [] };
  const sizes = trace.operation("Shape", [images], { shape: [4], dtype: "int32", attr: { out_type: int } });
  let batch = slice(trace, sizes, new Map([[0, { start: 0, step: 1, count: 1 }]]));
  const times = repeats[at]! / trace.batch;
  if (times !== 1) {
    batch = trace.operation("Mul", [batch, int32([times])], { shape: [1], dtype: "int32", attr: { T: int } });
  }
  const parts = [repeats.slice(0, at), repeats.slice(at + 1)].map((part) => int32(part));
  const inputs = [parts[0]!, batch, parts[1]!].filter((part) => "node" in part || part.shape[0]! > 0);
  if (inputs.length === 1) return batch;
  return trace.operation("ConcatV2", [...inputs, int32([0], [])], {
    shape: [repeats.length],
    dtype: "int32",
    attr: { T: int, N: { i: String(inputs.length) }, Tidx: int },
  });
}

export function concat(call: Call, values: readonly Value[], axis: number): Tensor {
  const { trace } = call;
  const largest = values.filter(isTensor).sort((a, b) => sizeOf(b.shape) - sizeOf(a.shape))[0];
  const { order, dtype } = largest ?? trace.tensor(values[0]!);
  const shape = (largest ?? values[0]!).shape.map((size, i) =>
    i === axis ? values.reduce((sum, value) => sum + value.shape[axis]!, 0) : size,
  );
  // A network that was written for one image joins what does not depend on it without repeating it for each image.
  const fitting = values.map((value) => {
    const wanted = shape.map((size, i) => (i === axis ? value.shape[i]! : size));
    const repeated =
      trace.fixedBatch === 1 && wanted.every((size, i) => size === value.shape[i] || trace.isBatch(size));
    if (wanted.join() === value.shape.join()) return value;
    return repeated
      ? expand(call, value, wanted)
      : call.refuse(`the shape [${wanted.join(", ")}]`, `[${value.shape.join(", ")}]`);
  });
  const inputs = fitting.map((value) => (isTensor(value) || value.dtype !== "bool" ? trace.input(value, order) : trace.arrange(trace.tensor(value), order))); // prettier-ignore
  return trace.operation("ConcatV2", [...inputs, int32([order.indexOf(axis)], [])], {
    shape: order.map((one) => shape[one]!),
    order,
    dtype,
    attr: { T: typeOf(dtype), N: { i: String(inputs.length) }, Tidx: typeOf("int32") },
  });
}
