import { expand, reshape, transpose } from "./layout.js";
import type { Operators } from "./operators.js";
import type { Call } from "./trace.js";
import { fewNumbers, identity, known, sizeOf } from "./value.js";
import type { Value } from "./value.js";

/** Operators that tell a value's shape, or give it another one. */
export const shapes: Operators = {
  Identity: (call) => call.input(0),
  Dropout: (call) => call.node.outputs.map(() => call.input(0)),
  Shape: (call) => {
    const { shape } = call.input(0);
    const part = shape.slice(call.integer("start", 0), call.attribute("end")?.integer);
    return known([part.length], part, "int32");
  },
  Size: (call) => known([], [sizeOf(call.input(0).shape)], "int32"),
  ConstantOfShape: (call) => {
    const sizes = call.numbers(0)!;
    const { values: [value = 0] = [], dtype } = call.tensorAttribute("value") ?? known([1], [0], "float32");
    if (sizeOf(sizes) <= fewNumbers) return known(sizes, Array<number>(sizeOf(sizes)).fill(value), dtype); // prettier-ignore
    return expand(call, known(sizes.map(() => 1), [value], dtype), sizes); // prettier-ignore
  },
  Reshape: (call) => {
    const value = call.input(0);
    return reshape(call.trace, value, reshapeTarget(call, value.shape, call.numbers(1) ?? []));
  },
  Flatten: (call) => {
    const { shape } = call.input(0);
    const given = call.integer("axis", 1);
    const axis = given < 0 ? given + shape.length : given;
    return reshape(call.trace, call.input(0), [sizeOf(shape.slice(0, axis)), sizeOf(shape.slice(axis))]);
  },
  Squeeze: (call) => {
    const value = call.input(0);
    const axes = call.axes()?.map((axis) => call.axis(axis, value.shape.length));
    return reshape(call.trace, value, value.shape.filter((size, i) => (axes ? !axes.includes(i) : size !== 1))); // prettier-ignore
  },
  Unsqueeze: (call) => {
    const value = call.input(0);
    const given = call.axes() ?? [];
    const rank = value.shape.length + given.length;
    const axes = given.map((axis) => call.axis(axis, rank));
    const rest = [...value.shape];
    return reshape(call.trace, value, identity(rank).map((axis) => (axes.includes(axis) ? 1 : rest.shift()!))); // prettier-ignore
  },
  Transpose: (call) => {
    const value = call.input(0);
    return transpose(value, call.integers("perm") ?? identity(value.shape.length).reverse());
  },
  Expand: (call) => expand(call, call.input(0), call.numbers(1) ?? []),
  Tile: (call) => {
    const value = call.input(0);
    const repeats = call.numbers(1) ?? [];
    // Each axis behind a new one of one, which is repeated.
    const between = reshape(call.trace, value, value.shape.flatMap((size) => [1, size])); // prettier-ignore
    const repeated = expand(call, between, value.shape.flatMap((size, axis) => [repeats[axis]!, size])); // prettier-ignore
    return reshape(call.trace, repeated, value.shape.map((size, axis) => size * repeats[axis]!)); // prettier-ignore
  },
  DepthToSpace: (call) => {
    const [batch, channels, height, width] = call.input(0).shape as [number, number, number, number];
    const side = call.integer("blocksize", 1);
    const rest = channels / side ** 2;
    const [split, order] =
      call.text("mode", "DCR") === "CRD"
        ? [[batch, rest, side, side, height, width], [0, 1, 4, 2, 5, 3]]
        : [[batch, side, side, rest, height, width], [0, 3, 4, 1, 5, 2]]; // prettier-ignore
    return rearranged(call, split, order, [batch, rest, height * side, width * side]);
  },
  SpaceToDepth: (call) => {
    const [batch, channels, height, width] = call.input(0).shape as [number, number, number, number];
    const side = call.integer("blocksize", 1);
    const [rows, columns] = [height / side, width / side];
    const split = [batch, channels, rows, side, columns, side];
    return rearranged(call, split, [0, 3, 5, 1, 2, 4], [batch, channels * side ** 2, rows, columns]);
  },
};

function rearranged(call: Call, split: number[], order: number[], result: number[]): Value {
  if (![...split, ...result].every(Number.isInteger))
    call.refuse("sizes that blocks divide", call.input(0).shape.join("x"));
  return reshape(call.trace, transpose(reshape(call.trace, call.input(0), split), order), result);
}

/**
 * The sizes that are meant: 0 is the input's own, −1 what is left. A file that was written for one batch says that
 * batch's size, where the graph is to take any: it stands where it stood in the input.
 */
function reshapeTarget(call: Call, shape: readonly number[], given: readonly number[]): number[] {
  const { trace } = call;
  const own = (size: number, axis: number) => (size === 0 && call.integer("allowzero", 0) === 0 ? shape[axis]! : size);
  const target = given.map(own);
  const filled = (total: number) => target.map((size) => (size === -1 ? total / -sizeOf(target) : size));
  const total = sizeOf(shape);
  const fixed = trace.fixedBatch;
  if (fixed !== undefined && trace.isAnyBatch && !target.some((size) => trace.isBatch(size))) {
    const axis = shape.findIndex((size) => trace.isBatch(size));
    const sizes = axis < 0 ? filled(total) : filled((total / trace.batch) * fixed);
    if (axis >= 0) {
      const before = sizeOf(shape.slice(0, axis));
      const at = sizes.findIndex((size, i) => sizeOf(sizes.slice(0, i)) === before && size % fixed === 0);
      // Behind other axes it may have been joined with those before it or with those behind it: nobody can tell.
      const isUnclear = before > 1 && sizes[at] !== fixed;
      if (at < 0 || isUnclear) call.refuse("a batch that keeps its place", `[${given.join(", ")}]`);
      sizes[at] = (sizes[at]! / fixed) * trace.batch;
    }
    return checked(call, shape, sizes);
  }
  return checked(call, shape, filled(total));
}

function checked(call: Call, shape: readonly number[], sizes: number[]): number[] {
  if (sizeOf(sizes) !== sizeOf(shape) || !sizes.every((size) => Number.isInteger(size) && size >= 0)) {
    call.refuse(
      `a shape for ${call.trace.perImage(shape).join("x")} numbers`,
      `[${call.trace.perImage(sizes).join(", ")}]`,
    );
  }
  return sizes;
}
