import { foldingOf, noteFolding, notePermutation } from "./origin.js";

/** Numbers of a graph: the shape is known at once, the values are read when they are written down. */
export interface Weight {
  shape: readonly number[];
  dtype: "float32" | "int32";
  /** In C order. */
  read: () => Promise<Float32Array | Int32Array>;
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
  const apart = { ...weight, shape: [channels, out / channels, rows, columns] };
  noteFolding(apart, foldingOf(weight));
  return permuted(apart, [2, 3, 0, 1]);
}

/** A PyTorch Linear's matrix [out, in] as [in, out]. */
export function linearMatrix(weight: FloatWeight): FloatWeight {
  return permuted(weight, [1, 0]);
}

/** The weight with its axes in another order. */
export function permuted(weight: FloatWeight, order: readonly number[]): FloatWeight {
  const { shape, read } = weight;
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1));
  const newShape = order.map((axis) => shape[axis]!);
  const newStrides = order.map((axis) => strides[axis]!);
  const result: FloatWeight = {
    shape: newShape,
    dtype: "float32",
    read: async () => permute(await read(), newShape, newStrides),
  };
  notePermutation(result, weight);
  return result;
}

function permute(values: Float32Array, shape: readonly number[], strides: readonly number[]): Float32Array {
  const result = new Float32Array(values.length);
  let to = 0;
  const copy = (axis: number, from: number): void => {
    const [size, stride] = [shape[axis]!, strides[axis]!];
    if (axis === shape.length - 1) for (let i = 0; i < size; i++) result[to++] = values[from + i * stride]!;
    else for (let i = 0; i < size; i++) copy(axis + 1, from + i * stride);
  };
  copy(0, 0);
  return result;
}
