import { UserError } from "../errors.js";
import type { ByteRange } from "./bytes.js";

export type DType =
  | "float8_e4m3fn"
  | "float8_e5m2"
  | "float16"
  | "bfloat16"
  | "float32"
  | "float64"
  | "int8"
  | "int16"
  | "int32"
  | "int64"
  | "uint8"
  | "uint16"
  | "uint32"
  | "uint64"
  | "bool"
  | "complex64"
  | "complex128";

/** Floating point of 8 and 16 bits is widened to float32; bool is 0 and 1. */
export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

/** A tensor of a checkpoint. Its values stay in the file until they are read. */
export interface TensorEntry {
  shape: number[];
  dtype: DType;
  /**
   * The values in C order, whatever order they have in the file; each call reads anew.
   *
   * @throws UserError where the file does not hold them, or not as its checksum says, or where they are complex.
   */
  read(): Promise<TensorData>;
  /** Of those, `count` entries of the first axis from `start` on; undefined where the values are not in a file. */
  readRows?(start: number, count: number): Promise<TensorData>;
}

interface Element {
  bytes: number;
  /** From little-endian bytes; the buffer is the decoder's to keep. */
  decode(bytes: Uint8Array): TensorData;
}

export const elements: Record<DType, Element> = {
  float8_e4m3fn: { bytes: 1, decode: (bytes) => Float32Array.from(bytes, float8e4m3ToNumber) },
  // The upper half of a float16.
  float8_e5m2: { bytes: 1, decode: (bytes) => Float32Array.from(bytes, (byte) => halfToNumber(byte << 8)) },
  float16: { bytes: 2, decode: (bytes) => Float32Array.from(new Uint16Array(aligned(bytes)), halfToNumber) },
  bfloat16: {
    bytes: 2,
    // The upper half of a float32.
    decode: (bytes) => new Float32Array(Uint32Array.from(new Uint16Array(aligned(bytes)), (half) => half << 16).buffer),
  },
  float32: { bytes: 4, decode: (bytes) => new Float32Array(aligned(bytes)) },
  float64: { bytes: 8, decode: (bytes) => new Float64Array(aligned(bytes)) },
  int8: { bytes: 1, decode: (bytes) => new Int8Array(aligned(bytes)) },
  int16: { bytes: 2, decode: (bytes) => new Int16Array(aligned(bytes)) },
  int32: { bytes: 4, decode: (bytes) => new Int32Array(aligned(bytes)) },
  int64: { bytes: 8, decode: (bytes) => new BigInt64Array(aligned(bytes)) },
  uint8: { bytes: 1, decode: (bytes) => new Uint8Array(aligned(bytes)) },
  uint16: { bytes: 2, decode: (bytes) => new Uint16Array(aligned(bytes)) },
  uint32: { bytes: 4, decode: (bytes) => new Uint32Array(aligned(bytes)) },
  uint64: { bytes: 8, decode: (bytes) => new BigUint64Array(aligned(bytes)) },
  bool: { bytes: 1, decode: (bytes) => Uint8Array.from(bytes, (value) => (value === 0 ? 0 : 1)) },
  complex64: { bytes: 8, decode: notReal },
  complex128: { bytes: 16, decode: notReal },
};

/** Where a tensor's elements lie in a run of bytes; offset and strides count elements, as in PyTorch. */
export interface StridedLayout {
  dtype: DType;
  shape: readonly number[];
  strides: readonly number[];
  offset: number;
  /** NumPy also writes the most significant byte first. */
  bigEndian?: boolean;
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

export function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** Whether that can be the shape or the strides of a tensor; PyTorch and NumPy have at most 64 axes. */
export function areCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= 64 && (value as unknown[]).every(isCount);
}

/** Number of elements between the first and the last that a layout touches, both counted; 0 where it is empty. */
export function extentOf({ shape, strides }: StridedLayout): number {
  if (shape.includes(0)) return 0;
  return shape.reduce((extent, size, axis) => extent + (size - 1) * strides[axis]!, 1);
}

/**
 * The layout of a tensor whose elements fill the bytes from the first to the last.
 *
 * @param options.fortran the first axis runs fastest, not the last.
 */
export function denseLayout(options: {
  dtype: DType;
  shape: readonly number[];
  fortran?: boolean;
  bigEndian?: boolean;
}): StridedLayout {
  const { dtype, shape, fortran = false, bigEndian } = options;
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = 0; i < shape.length; i++) {
    const axis = fortran ? i : shape.length - 1 - i;
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return { dtype, shape, strides, offset: 0, bigEndian };
}

/** A tensor whose elements lie in a run of bytes. */
export function stridedEntry(bytes: ByteRange, layout: StridedLayout): TensorEntry {
  const { dtype, shape, strides, offset } = layout;
  return {
    shape: [...shape],
    dtype,
    read: () => readStrided(bytes, layout),
    readRows: (start, count) =>
      readStrided(bytes, { ...layout, shape: [count, ...shape.slice(1)], offset: offset + start * strides[0]! }),
  };
}

/** The elements of a layout in C order, of which only the part of the bytes that they span is read. */
export async function readStrided(bytes: ByteRange, layout: StridedLayout): Promise<TensorData> {
  const element = elements[layout.dtype];
  const span = await bytes.read(layout.offset * element.bytes, extentOf(layout) * element.bytes);
  const values = element.decode(layout.bigEndian ? reversed(span, element.bytes) : span);
  return isContiguous(layout) ? values : gather(values, layout);
}

function isContiguous({ shape, strides }: StridedLayout): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
}

function gather<T extends TensorData>(values: T, { shape, strides }: StridedLayout): T {
  const gathered = new (values.constructor as new (length: number) => T)(sizeOf(shape));
  const last = shape.length - 1;
  const [rowLength, rowStride] = [shape[last]!, strides[last]!];
  const position = new Array<number>(shape.length).fill(0);
  let from = 0;
  for (let to = 0; to < gathered.length;) {
    for (let i = 0; i < rowLength; i++) gathered[to++] = values[from + i * rowStride]!;
    // The next row, counted up like an odometer.
    for (let axis = last - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++position[axis]! < shape[axis]!) break;
      from -= shape[axis]! * strides[axis]!;
      position[axis] = 0;
    }
  }
  return gathered;
}

/** Typed arrays want their elements at multiples of their size: a copy, where the bytes are a part of a buffer. */
function aligned(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = bytes;
  return byteOffset === 0 && byteLength === buffer.byteLength ? (buffer as ArrayBuffer) : bytes.slice().buffer;
}

/** Each run of `size` bytes backwards. */
function reversed(bytes: Uint8Array, size: number): Uint8Array {
  const result = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length; at++) result[at] = bytes[at - (at % size) + size - 1 - (at % size)]!;
  return result;
}

function notReal(): never {
  throw new UserError("Expected real numbers for a tensor but received complex ones");
}

/** 1 bit sign, 4 bits exponent, 3 bits fraction, no infinity: arXiv:2209.05433. */
function float8e4m3ToNumber(bits: number): number {
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >> 3) & 0xf;
  const fraction = bits & 7;
  if (exponent === 15 && fraction === 7) return NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7));
}

/** IEEE 754 half precision: 1 bit sign, 5 bits exponent, 10 bits fraction. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
