import type { Call } from "./trace.js";
import { broadcastShape } from "./layout.js";
import { fewNumbers, identity, isTensor, known, sizeOf, stridedIndex } from "./value.js";
import type { Constant, DType, Value } from "./value.js";

/** A constant whose numbers are known now. */
export type Known = Constant & { values: readonly number[] };

type Folding = (call: Call, inputs: Known[]) => Constant;

/**
 * Works out an operator at conversion, where all that it reads is known: sizes, indices, masks, position tables.
 *
 * @returns undefined where something depends on the image, is a large weight, or the operator moves numbers only: those
 * are treated as they come.
 */
export function fold(call: Call): Value[] | undefined {
  const { op } = call.node;
  const folding = Object.hasOwn(foldings, op) ? foldings[op] : undefined;
  const values = call.node.inputs.map((_, position) => call.optional(position));
  if (!folding || values.length === 0 || !values.every(isKnown)) return undefined;
  if (op === "Expand" && sizeOf(broadcastShape(call, [values[0]!.shape, values[1]!.values])) > fewNumbers)
    return undefined;
  if (
    broadcasting.has(op) &&
    sizeOf(
      broadcastShape(
        call,
        values.map(({ shape }) => shape),
      ),
    ) > fewNumbers
  )
    return undefined;
  return [folding(call, values)];
}

function isKnown(value: Value | undefined): value is Known {
  return value !== undefined && !isTensor(value) && value.values !== undefined;
}

const unary =
  (compute: (value: number) => number, dtype?: DType): Folding =>
  (_, [input]) =>
    known(input!.shape, input!.values.map(compute), dtype ?? input!.dtype);

const binary =
  (compute: (a: number, b: number, whole: boolean) => number, dtype?: DType): Folding =>
  (call, inputs) =>
    inputs.slice(1).reduce((left: Known, right) => {
      const shape = broadcastShape(call, [left.shape, right.shape]);
      const [a, b] = [broadcast(left, shape), broadcast(right, shape)];
      const whole = left.dtype !== "float32";
      return known(
        shape,
        a.map((value, i) => compute(value, b[i]!, whole)),
        dtype ?? left.dtype,
      ) as Known;
    }, inputs[0]!);

const reduction =
  (
    start: number,
    step: (total: number, value: number) => number,
    end = (total: number, _count: number) => total,
  ): Folding =>
  (call, [input]) => {
    const { shape, values, dtype } = input!;
    const rank = shape.length;
    const given = call.axes();
    const axes = given && given.length > 0 ? given.map((axis) => call.axis(axis, rank)) : identity(rank);
    const kept = identity(rank).filter((axis) => !axes.includes(axis));
    const strides = (all: number[]) => all.map((axis) => sizeOf(shape.slice(axis + 1)));
    const sizes = (all: number[]) => all.map((axis) => shape[axis]!);
    const within = stridedIndex(sizes(axes), strides(axes));
    const totals = Array.from(stridedIndex(sizes(kept), strides(kept)), (from) =>
      end(
        within.reduce((total, i) => step(total, values[from + i]!), start),
        within.length,
      ),
    );
    const keep = call.integer("keepdims", 1) === 1;
    return known(keep ? shape.map((size, axis) => (axes.includes(axis) ? 1 : size)) : sizes(kept), totals, dtype);
  };

const truth = (compute: (a: number, b: number) => boolean) => binary((a, b) => Number(compute(a, b)), "bool");

const foldings: Record<string, Folding> = {
  Add: binary((a, b) => a + b),
  Sub: binary((a, b) => a - b),
  Mul: binary((a, b) => a * b),
  Div: binary((a, b, whole) => (whole ? Math.trunc(a / b) : a / b)),
  Mod: binary((a, b) => a - b * Math.floor(a / b)),
  Pow: binary((a, b) => a ** b),
  Min: binary((a, b) => Math.min(a, b)),
  Max: binary((a, b) => Math.max(a, b)),
  Equal: truth((a, b) => a === b),
  Greater: truth((a, b) => a > b),
  GreaterOrEqual: truth((a, b) => a >= b),
  Less: truth((a, b) => a < b),
  LessOrEqual: truth((a, b) => a <= b),
  And: truth((a, b) => a !== 0 && b !== 0),
  Or: truth((a, b) => a !== 0 || b !== 0),
  Not: unary((value) => Number(value === 0), "bool"),
  Neg: unary((value) => -value),
  Abs: unary(Math.abs),
  Sqrt: unary(Math.sqrt),
  Exp: unary(Math.exp),
  Log: unary(Math.log),
  Sin: unary(Math.sin),
  Cos: unary(Math.cos),
  Floor: unary(Math.floor),
  Ceil: unary(Math.ceil),
  Reciprocal: unary((value) => 1 / value),
  ReduceProd: reduction(1, (total, value) => total * value),
  ReduceSum: reduction(0, (total, value) => total + value),
  ReduceMean: reduction(0, (total, value) => total + value, (total, count) => total / count), // prettier-ignore
  ReduceMin: reduction(Infinity, Math.min),
  ReduceMax: reduction(-Infinity, Math.max),
  Where: (call, [condition, yes, no]) => {
    const shape = broadcastShape(call, [condition!.shape, yes!.shape, no!.shape]);
    const [choice, a, b] = [condition!, yes!, no!].map((value) => broadcast(value, shape)) as [
      number[],
      number[],
      number[],
    ];
    return known(shape, choice.map((value, i) => (value ? a[i]! : b[i]!)), yes!.dtype); // prettier-ignore
  },
  Range: (call, [start, limit, delta]) => {
    const [from, to, step] = [start!.values[0]!, limit!.values[0]!, delta!.values[0]!];
    const length = Math.max(0, Math.ceil((to - from) / step));
    if (!(length <= fewNumbers)) call.refuse(`at most ${fewNumbers} numbers`, String(length));
    return known([length], Array.from({ length }, (_, i) => from + i * step), start!.dtype); // prettier-ignore
  },
  Gather: (call, [data, index]) => {
    const axis = call.axis(call.integer("axis", 0), data!.shape.length);
    const size = data!.shape[axis]!;
    const [before, after] = [data!.shape.slice(0, axis), data!.shape.slice(axis + 1)];
    const inner = sizeOf(after);
    const values: number[] = [];
    for (let outer = 0; outer < sizeOf(before); outer++) {
      for (const position of index!.values) {
        const from = (outer * size + (position < 0 ? position + size : position)) * inner;
        for (let i = 0; i < inner; i++)
          values.push(data!.values[from + i] ?? call.refuse(`positions below ${size}`, String(position)));
      }
    }
    return known([...before, ...index!.shape, ...after], values, data!.dtype);
  },
  Expand: (call, [data, shape]) => {
    const wanted = broadcastShape(call, [data!.shape, shape!.values]);
    return known(wanted, broadcast(data!, wanted), data!.dtype);
  },
  ScatterND: (_, [data, indices, updates]) => {
    const depth = indices!.shape.at(-1)!;
    const strides = data!.shape.slice(0, depth).map((_, axis) => sizeOf(data!.shape.slice(axis + 1)));
    const run = sizeOf(data!.shape.slice(depth));
    const values = [...data!.values];
    for (let k = 0; k < sizeOf(indices!.shape.slice(0, -1)); k++) {
      const start = strides.reduce((sum, stride, i) => sum + stride * indices!.values[k * depth + i]!, 0);
      for (let i = 0; i < run; i++) values[start + i] = updates!.values[k * run + i]!;
    }
    return known(data!.shape, values, data!.dtype);
  },
  Concat: (call, inputs) => {
    const first = inputs[0]!;
    const axis = call.axis(call.integer("axis", 0), first.shape.length);
    const shape = first.shape.map((size, i) => (i === axis ? inputs.reduce((sum, input) => sum + input.shape[axis]!, 0) : size)); // prettier-ignore
    const values: number[] = [];
    for (let outer = 0; outer < sizeOf(shape.slice(0, axis)); outer++) {
      for (const input of inputs) {
        const run = sizeOf(input.shape.slice(axis));
        for (const value of input.values.slice(outer * run, (outer + 1) * run)) values.push(value);
      }
    }
    return known(shape, values, first.dtype);
  },
  Slice: (call, inputs) => {
    const [data] = inputs as [Known];
    const cuts = cutsOf(call, data.shape);
    const sizes = data.shape.map((size, axis) => cuts.get(axis)?.count ?? size);
    const strides = data.shape.map((_, axis) => sizeOf(data.shape.slice(axis + 1)));
    const offset = strides.reduce((sum, stride, axis) => sum + stride * (cuts.get(axis)?.start ?? 0), 0);
    const steps = strides.map((stride, axis) => stride * (cuts.get(axis)?.step ?? 1));
    const values = Array.from(stridedIndex(sizes, steps, offset), (from) => data.values[from]!);
    return known(sizes, values, data.dtype);
  },
};

/** A larger result is left to the graph. */
const broadcasting = new Set(["Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Equal", "Where", "Greater", "Less"]);

function broadcast({ shape, values }: Known, target: readonly number[]): number[] {
  const lead = target.length - shape.length;
  const strides = target.map((_, axis) => {
    const own = axis - lead;
    return own < 0 || shape[own] === 1 ? 0 : sizeOf(shape.slice(own + 1));
  });
  return Array.from(stridedIndex(target, strides), (from) => values[from]!);
}

/** What a Slice takes of each axis, without those that it takes whole. */
export function cutsOf(
  call: Call,
  shape: readonly number[],
): Map<number, { start: number; step: number; count: number }> {
  const starts = call.integers("starts") ?? call.numbers(1) ?? [];
  const ends = call.integers("ends") ?? call.numbers(2) ?? [];
  const axes = call.axes(3) ?? identity(starts.length);
  const steps = call.numbers(4) ?? starts.map(() => 1);
  const cuts = new Map<number, { start: number; step: number; count: number }>();
  axes.forEach((given, i) => {
    const axis = call.axis(given, shape.length);
    const [size, step] = [shape[axis]!, steps[i]!];
    if (step === 0) call.refuse("a step other than 0", "0");
    const bound = (at: number) => {
      const counted = at < 0 ? at + size : at;
      return step > 0 ? Math.max(0, Math.min(counted, size)) : Math.max(-1, Math.min(counted, size - 1));
    };
    const [start, end] = [bound(starts[i]!), bound(ends[i]!)];
    const count = Math.max(0, Math.ceil((end - start) / step));
    if (start !== 0 || step !== 1 || count !== size) cuts.set(axis, { start, step, count });
  });
  return cuts;
}
