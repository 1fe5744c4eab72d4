import { UserError } from "../errors.js";
import { fromFloat16, toFloat16 } from "../float16.js";
import type { Weight } from "./weight.js";

/**
 * How weights are kept in their files. TensorFlow.js makes float32 of them when it loads them.
 *
 * - `float16`: halves; half the size
 * - `uint8`: kernels and matrices in 255 steps between their smallest and largest number, each weight by itself, zero
 *   exact; a quarter of the size. Vectors (biases, norms) stay float32: they are small, and matter
 */
export type Precision = "float32" | "float16" | "uint8";

/** What `weightsManifest` says of a weight that is not kept as it is: value = stored · scale + min. */
export interface Quantization {
  dtype: "float16" | "uint8";
  original_dtype: "float32";
  scale?: number;
  min?: number;
}

export interface StoredWeight {
  /** Little-endian. */
  bytes: Uint8Array;
  quantization?: Quantization;
}

/** Bytes that a weight takes in its file. */
export function storedBytes(weight: Weight, precision: Precision): number {
  const length = weight.shape.reduce((product, size) => product * size, 1);
  return length * { float32: 4, float16: 2, uint8: 1 }[kept(weight, precision)];
}

/**
 * @param name of the weight, for messages.
 * @throws UserError where a number is too large for a half.
 */
export function store(options: {
  name: string;
  weight: Weight;
  values: Float32Array | Int32Array;
  precision: Precision;
}): StoredWeight {
  const { name, weight, values, precision } = options;
  const format = kept(weight, precision);
  if (format === "float32" || values instanceof Int32Array) return { bytes: bytesOf(values) };
  if (format === "float16") {
    const halves = toFloat16(values);
    const odd = halves.findIndex((half) => (half & 0x7fff) === 0x7c00);
    if (odd >= 0) {
      throw new UserError(`Expected weights within ±65504 for float16 but ${name} holds ${values[odd]}`, {
        hint: "Convert with --precision float32 or uint8.",
      });
    }
    return { bytes: bytesOf(halves), quantization: { dtype: "float16", original_dtype: "float32" } };
  }
  const { scale, min } = affineRange(values);
  const steps = Uint8Array.from(values, (value) => Math.min(255, Math.max(0, Math.round((value - min) / scale))));
  return { bytes: steps, quantization: { dtype: "uint8", original_dtype: "float32", scale, min } };
}

/** The numbers as TensorFlow.js gets them out of a file again. */
export function restore({ bytes, quantization }: StoredWeight): Float32Array {
  if (!quantization) return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  if (quantization.dtype === "float16") {
    return fromFloat16(new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2));
  }
  const { scale = 1, min = 0 } = quantization;
  return Float32Array.from(bytes, (step) => step * scale + min);
}

function kept({ shape, dtype }: Weight, precision: Precision): Precision {
  const length = shape.reduce((product, size) => product * size, 1);
  // A single number is an epsilon or a filler: nothing is saved, and it may be beyond a half.
  if (dtype === "int32" || length === 1) return "float32";
  return precision === "uint8" && shape.length < 2 ? "float32" : precision;
}

/** As TensorFlow.js's converter chooses them: where zero is among the numbers, it falls on a step. */
function affineRange(values: Float32Array): { scale: number; min: number } {
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  if (least === most || values.length === 0) return { scale: 1, min: values[0] ?? 0 };
  const scale = (most - least) / 255;
  const min = least <= 0 && most >= 0 ? -Math.round(-least / scale) * scale : least;
  return { scale, min };
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | Int32Array | Uint16Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
