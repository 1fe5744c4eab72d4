import type { ByteRange } from "./bytes.js";

export type DType =
  "float16" | "bfloat16" | "float32" | "float64" | "int8" | "int16" | "int32" | "int64" | "uint8" | "bool";

/** float16 and bfloat16 are widened to float32; bool is 0 and 1. */
export type TensorData = Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | BigInt64Array | Uint8Array;

/** A tensor of a checkpoint. Its values stay in the file until they are read. */
export interface TensorEntry {
  shape: number[];
  dtype: DType;
  /**
   * The values in C order, whatever order they have in the file; each call reads anew.
   *
   * @throws UserError where the file does not hold them, or not as its checksum says.
   */
  read(): Promise<TensorData>;
}

interface Element {
  bytes: number;
  /** From little-endian bytes; the buffer is the decoder's to keep. */
  decode(bytes: Uint8Array): TensorData;
}

export const elements: Record<DType, Element> = {
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
  bool: { bytes: 1, decode: (bytes) => Uint8Array.from(bytes, (value) => (value === 0 ? 0 : 1)) },
};

/** Where a tensor's elements lie in a run of bytes; offset and strides count elements, as in PyTorch. */
export interface StridedLayout {
  dtype: DType;
  shape: readonly number[];
  strides: readonly number[];
  offset: number;
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Number of elements between the first and the last that a layout touches, both counted; 0 where it is empty. */
export function extentOf({ shape, strides }: StridedLayout): number {
  if (shape.includes(0)) return 0;
  return shape.reduce((extent, size, axis) => extent + (size - 1) * strides[axis]!, 1);
}

/** The elements of a layout in C order, of which only the part of the bytes that they span is read. */
export async function readStrided(bytes: ByteRange, layout: StridedLayout): Promise<TensorData> {
  const element = elements[layout.dtype];
  const span = await bytes.read(layout.offset * element.bytes, extentOf(layout) * element.bytes);
  const values = element.decode(span);
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

/** IEEE 754 half precision: 1 bit sign, 5 bits exponent, 10 bits fraction. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
