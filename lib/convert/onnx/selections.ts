import { cutsOf } from "./fold.js";
import { concat, gather, reshape, slice } from "./layout.js";
import type { Operators } from "./operators.js";
import type { Call } from "./trace.js";
import { isTensor } from "./value.js";
import type { Value } from "./value.js";
import { longest, pad } from "./window.js";

/** Operators that take parts of values, join them, or add an edge. */
export const selections: Operators = {
  Concat: (call) => {
    const values = call.inputs;
    const axis = call.axis(call.integer("axis", 0), values[0]!.shape.length);
    return values.length === 1 ? values[0]! : concat(call, values, axis);
  },
  Split: (call) => {
    const tensor = call.tensor(0);
    const axis = call.axis(call.integer("axis", 0), tensor.shape.length);
    const length = tensor.shape[axis]!;
    const count = call.node.outputs.length;
    const given = call.integers("split") ?? call.numbers(1);
    const even = Math.ceil(length / count);
    const sizes = given ?? call.node.outputs.map((_, i) => Math.min(even, length - i * even));
    if (sizes.reduce((sum, size) => sum + size, 0) !== length || sizes.length !== count) {
      call.refuse(`${count} parts of ${length}`, sizes.join(" + "));
    }
    if (call.trace.isBatch(length)) call.refuse("an axis within an image", "the batch's");
    let start = 0;
    return sizes.map((size) => {
      const part = slice(call.trace, tensor, new Map([[axis, { start, step: 1, count: size }]]));
      start += size;
      return part;
    });
  },
  Slice: (call) => {
    const tensor = call.tensor(0);
    const cuts = cutsOf(call, tensor.shape);
    if ([...cuts.values()].some(({ count }) => count === 0)) call.refuse("a part that is not empty", "none");
    if ([...cuts.keys()].some((axis) => call.trace.isBatch(tensor.shape[axis]!))) {
      call.refuse("axes within an image", "the batch's");
    }
    return cuts.size === 0 ? tensor : slice(call.trace, tensor, cuts);
  },
  Gather: (call) => {
    const [tensor, positions, index] = [call.tensor(0), call.numbers(1)!, call.input(1)];
    const axis = call.axis(call.integer("axis", 0), tensor.shape.length);
    const size = tensor.shape[axis]!;
    if (call.trace.isBatch(size)) call.refuse("an axis within an image", "the batch's");
    const counted = positions.map((position) => (position < 0 ? position + size : position));
    const odd = counted.find((position) => position < 0 || position >= size);
    if (odd !== undefined) call.refuse(`positions below ${size}`, String(odd));
    if (index.shape.length === 0) {
      return slice(call.trace, tensor, new Map([[axis, { start: counted[0]!, step: 1, count: 1 }]]), axis);
    }
    const gathered = gather(call.trace, tensor, axis, counted);
    return reshape(call.trace, gathered, [
      ...tensor.shape.slice(0, axis),
      ...index.shape,
      ...tensor.shape.slice(axis + 1),
    ]);
  },
  Pad: (call) => {
    const input = call.tensor(0);
    const rank = input.shape.length;
    const pads = call.integers("pads") ?? call.numbers(1) ?? [];
    const given = call.numbers(3);
    const axes = given ? given.map((axis) => call.axis(axis, rank)) : [...input.shape.keys()];
    const amounts = new Map(axes.map((axis, i) => [axis, [pads[i] ?? 0, pads[axes.length + i] ?? 0] as const]));
    const mode = call.text("mode", "constant");
    if ([...amounts.values()].flat().some((amount) => amount < 0)) return cropped(call, input, amounts);
    if (mode === "constant") {
      const filler = call.attribute("value")?.float ?? call.numbers(2)?.[0] ?? 0;
      return pad(call.trace, input, input.order.flatMap((axis) => amounts.get(axis) ?? [0, 0]), filler); // prettier-ignore
    }
    return [...amounts].reduce((tensor, [axis, [before, after]]) => {
      if (before === 0 && after === 0) return tensor;
      const size = tensor.shape[axis]!;
      if (!(before + size + after <= longest))
        call.refuse(`at most ${longest} elements of an axis`, String(before + size + after));
      const positions = Array.from({ length: before + size + after }, (_, i) => edge(call, mode, i - before, size));
      return gather(call.trace, tensor, axis, positions);
    }, input);
  },
};

/** Where what stands outside of the edge is taken from. */
function edge(call: Call, mode: string, position: number, size: number): number {
  switch (mode) {
    case "edge":
      return Math.max(0, Math.min(position, size - 1));
    case "wrap":
      return ((position % size) + size) % size;
    case "reflect": {
      const mirrored = position < 0 ? -position : position >= size ? 2 * (size - 1) - position : position;
      return mirrored >= 0 && mirrored < size ? mirrored : call.refuse(`less than ${size} to add`, String(position));
    }
    default:
      return call.refuse("the mode constant, edge, reflect or wrap", mode);
  }
}

/** Padding by less than nothing cuts. */
function cropped(call: Call, input: Value, amounts: ReadonlyMap<number, readonly [number, number]>): Value {
  if (!isTensor(input) || [...amounts.values()].flat().some((amount) => amount > 0)) {
    return call.refuse("pads that all add or all cut", [...amounts.values()].flat().join(", "));
  }
  const cuts = [...amounts].filter(([, [before, after]]) => before !== 0 || after !== 0);
  return slice(call.trace, input, new Map(cuts.map(([axis, [before, after]]) => [axis, { start: -before, step: 1, count: input.shape[axis]! + before + after }]))); // prettier-ignore
}
