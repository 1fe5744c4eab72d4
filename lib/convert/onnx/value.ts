import { sizeOf } from "../../checkpoints/tensor.js";
import type { TensorEntry } from "../../checkpoints/tensor.js";
import type { FloatWeight, Weight } from "../weight.js";

export type DType = "float32" | "int32" | "bool";

/**
 * What an operator of ONNX reads or gives, as far as it is known at conversion: a constant of the file, or a tensor
 * that is computed from the image. Shapes are ONNX's.
 */
export type Value = Constant | Tensor;

/** Numbers that do not depend on the image. */
export interface Constant {
  shape: readonly number[];
  dtype: DType;
  /** In C order; whole numbers beyond 32 bits are cut to them. */
  read: () => Promise<Float32Array | Int32Array>;
  /** Where they are few: the numbers themselves, so that shapes and indices can be worked out. */
  values?: readonly number[];
}

/**
 * What a node of the TensorFlow graph gives. Its axes may lie in another order than ONNX's: so a Transpose costs
 * nothing, and two of them cancel, until an operation wants one order.
 */
export interface Tensor {
  node: string;
  shape: readonly number[];
  dtype: DType;
  /** order[i]: which of ONNX's axes the node's axis i is; [0, 2, 3, 1] of a map that lies as NHWC. */
  order: readonly number[];
}

export function isTensor(value: Value): value is Tensor {
  return "node" in value;
}

/** The largest constant whose numbers are held; larger ones are weights. */
export const fewNumbers = 1 << 16;

export function known(shape: readonly number[], values: readonly number[], dtype: DType): Constant {
  return { shape, dtype, values, read: () => Promise.resolve(typed(values, dtype)) };
}

/** A constant out of the file; a small one is read at once. */
export async function constantOf(entry: TensorEntry): Promise<Constant> {
  const dtype = entry.dtype === "bool" ? "bool" : entry.dtype.includes("float") ? "float32" : "int32";
  const { shape } = entry;
  if (sizeOf(shape) <= fewNumbers) return known(shape, Array.from(await entry.read(), Number), dtype);
  return {
    shape,
    dtype,
    read: async () => {
      const data = await entry.read();
      return data instanceof Float32Array ? data : typed(Array.from(data, Number), dtype);
    },
  };
}

function typed(values: readonly number[], dtype: DType): Float32Array | Int32Array {
  if (dtype === "float32") return Float32Array.from(values);
  return Int32Array.from(values, (value) => Math.max(-(2 ** 31), Math.min(value, 2 ** 31 - 1)));
}

/** A constant as a weight of the graph, its axes in another order where one is given. */
export function weightOf(constant: Constant, order?: readonly number[]): Weight {
  const { shape, dtype } = order ? permutedConstant(constant, order) : constant;
  const read = order ? permutedConstant(constant, order).read : constant.read;
  return { shape, dtype: dtype === "float32" ? "float32" : "int32", read };
}

export function floatWeight(constant: Constant): FloatWeight {
  return { shape: constant.shape, dtype: "float32", read: async () => Float32Array.from(await constant.read()) };
}

export function permutedConstant({ shape, dtype, values, read }: Constant, order: readonly number[]): Constant {
  const newShape = order.map((axis) => shape[axis]!);
  const index = () => permutation(shape, order);
  if (values) return known(newShape, Array.from(index(), (from) => values[from]!), dtype); // prettier-ignore
  return {
    shape: newShape,
    dtype,
    read: async () => {
      const data = await read();
      return index().every((from, to) => from === to) ? data : gathered(data, index());
    },
  };
}

function gathered(data: Float32Array | Int32Array, index: Uint32Array): Float32Array | Int32Array {
  const result = data instanceof Float32Array ? new Float32Array(data.length) : new Int32Array(data.length);
  for (let to = 0; to < result.length; to++) result[to] = data[index[to]!]!;
  return result;
}

/** Where each element of the permuted array comes from. */
function permutation(shape: readonly number[], order: readonly number[]): Uint32Array {
  const sizes = order.map((axis) => shape[axis]!);
  const strides = order.map((axis) => sizeOf(shape.slice(axis + 1)));
  return stridedIndex(sizes, strides);
}

/** Positions in an array, in C order of `sizes`, where each axis steps by its stride; 0 repeats. */
export function stridedIndex(sizes: readonly number[], strides: readonly number[], offset = 0): Uint32Array {
  const index = new Uint32Array(sizeOf(sizes));
  let to = 0;
  const walk = (axis: number, from: number): void => {
    if (axis === sizes.length) index[to++] = from;
    else for (let i = 0; i < sizes[axis]!; i++) walk(axis + 1, from + i * strides[axis]!);
  };
  walk(0, offset);
  return index;
}

export function identity(rank: number): number[] {
  return Array.from({ length: rank }, (_, axis) => axis);
}

/** The shape as the node has it. */
export function physicalShape({ shape, order }: Tensor): number[] {
  return order.map((axis) => shape[axis]!);
}

export { sizeOf };
