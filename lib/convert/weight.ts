import type { Folding } from "./batch-norm.js";

/** Numbers of a graph: the shape is known at once, the values are read when they are written down. */
export interface Weight {
  shape: readonly number[];
  dtype: "float32" | "int32";
  /** In C order. */
  read: () => Promise<Float32Array | Int32Array>;
  /**
   * The weight as PyTorch lays it out, where this one is that with its axes in another order. A conversion is checked
   * against it (`proof.ts`): whoever makes other numbers of a weight leaves it out.
   */
  source?: FloatWeight;
  /** The convolution and the batch norm that it is the folded kernel, or bias, of. Left out likewise. */
  folding?: Folding;
}

/** A weight of a network: floating point. */
export interface FloatWeight extends Weight {
  dtype: "float32";
  read: () => Promise<Float32Array>;
}

/** A weight whose values are known now: axes, paddings. */
export function constant(values: readonly number[], dtype: Weight["dtype"], shape = [values.length]): Weight {
  const data = dtype === "int32" ? Int32Array.from(values) : Float32Array.from(values);
  return { shape, dtype, read: () => Promise.resolve(data) };
}

/** A PyTorch convolution's kernel [out, in, rows, columns] as TensorFlow wants it: [rows, columns, in, out]. */
export function convolutionKernel(weight: FloatWeight): FloatWeight {
  return permuted(weight, [2, 3, 1, 0]);
}

/** A PyTorch depthwise kernel [channels × multiplier, 1, rows, columns] as [rows, columns, channels, multiplier]. */
export function depthwiseKernel(weight: FloatWeight, channels: number): FloatWeight {
  const [out, , rows, columns] = weight.shape as [number, number, number, number];
  return permuted({ ...weight, shape: [channels, out / channels, rows, columns] }, [2, 3, 0, 1]);
}

/** A PyTorch Linear's matrix [out, in] as [in, out]. */
export function linearMatrix(weight: FloatWeight): FloatWeight {
  return permuted(weight, [1, 0]);
}

/** The weight with its axes in another order. */
export function permuted(weight: FloatWeight, order: readonly number[]): FloatWeight {
  return {
    shape: order.map((axis) => weight.shape[axis]!),
    dtype: "float32",
    read: async () => permute(await weight.read(), weight.shape, order),
    source: weight,
  };
}

/** Numbers that are moved together along the result's last axis: those of a cache line. */
const strip = 16;

/** Reads in the order of the source and writes whole cache lines, which is some three times as fast as the reverse. */
function permute(values: Float32Array, shape: readonly number[], order: readonly number[]): Float32Array {
  const result = new Float32Array(values.length);
  // Axes of one number move nothing.
  const moved = order.filter((axis) => shape[axis] !== 1);
  const last = moved.pop();
  if (last === undefined) return values.slice();
  const strides = stridesOf(shape);
  const newStrides = stridesOf(order.map((axis) => shape[axis]!));
  const others = moved.sort((a, b) => a - b);
  const sizes = others.map((axis) => shape[axis]!);
  const from = offsets(sizes, others.map((axis) => strides[axis]!)); // prettier-ignore
  const to = offsets(sizes, others.map((axis) => newStrides[order.indexOf(axis)]!)); // prettier-ignore
  const [length, stride] = [shape[last]!, strides[last]!];
  for (let begin = 0; begin < length; begin += strip) {
    const end = Math.min(length, begin + strip);
    for (let i = 0; i < from.length; i++) {
      let source = from[i]! + begin * stride;
      for (let at = to[i]! + begin; at < to[i]! + end; at++, source += stride) result[at] = values[source]!;
    }
  }
  return result;
}

/** In C order. */
function stridesOf(shape: readonly number[]): number[] {
  return shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1));
}

/** Where the elements lie that some axes span, the last axis running fastest. */
function offsets(sizes: readonly number[], strides: readonly number[]): Int32Array {
  let all = Int32Array.of(0);
  for (const [axis, size] of sizes.entries()) {
    const before = all;
    all = new Int32Array(before.length * size);
    for (let i = 0; i < all.length; i++) all[i] = before[Math.floor(i / size)]! + (i % size) * strides[axis]!;
  }
  return all;
}
