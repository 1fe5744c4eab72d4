import { UserError } from "../errors.js";
import { fromFloat16, toFloat16 } from "../float16.js";

/**
 * NumPy's `.npy` format, versions 1.0 to 3.0: little-endian, C order, no pickled objects. `string` stands for `<U`
 * (and, when reading, `S`) of any length.
 *
 * Source: NumPy Enhancement Proposal 1 and `numpy.lib.format`.
 */
export type NpyDtype = keyof NpyDataOf;

/** The array that holds each dtype in memory; halves are held as the float32 numbers they stand for. */
export interface NpyDataOf {
  float16: Float32Array;
  float32: Float32Array;
  float64: Float64Array;
  int8: Int8Array;
  uint8: Uint8Array;
  int16: Int16Array;
  uint16: Uint16Array;
  int32: Int32Array;
  uint32: Uint32Array;
  int64: BigInt64Array;
  bool: Uint8Array;
  string: string[];
}

export interface NpyArray<D extends NpyDtype = NpyDtype> {
  dtype: D;
  shape: number[];
  /** Row by row (C order); length is the product of `shape`. */
  data: NpyDataOf[D];
}

export interface NpyHeader {
  dtype: NpyDtype;
  /** NumPy's own name of the dtype, e.g. `<f4` or `<U12`. */
  descr: string;
  shape: number[];
  /** Bytes of one item. */
  itemBytes: number;
  /** Where the data begins, in bytes. */
  offset: number;
}

type Numeric = Exclude<NpyDtype, "string">;

const descrs: Record<Numeric, string> = {
  float16: "<f2",
  float32: "<f4",
  float64: "<f8",
  int8: "|i1",
  uint8: "|u1",
  int16: "<i2",
  uint16: "<u2",
  int32: "<i4",
  uint32: "<u4",
  int64: "<i8",
  bool: "|b1",
};

/** The most bytes that a header of any version can take at the start of a file that we accept. */
export const longestHeader = 65536;

/** The bytes before the data, equal to those that NumPy writes. Their number does not depend on `shape[0]`. */
export function npyHeader(options: { dtype: Numeric | { string: number }; shape: number[] }): Uint8Array {
  const { dtype, shape } = options;
  const descr = typeof dtype === "string" ? descrs[dtype] : `<U${dtype.string}`;
  const tuple = `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
  const dictionary = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${tuple}, }`;
  // NumPy leaves room for the first axis to grow to 21 digits, and fills up to a multiple of 64 bytes.
  const room = shape.length > 0 ? 21 - String(shape[0]).length : 0;
  const text = dictionary + " ".repeat(room);
  const padded = text.padEnd(Math.ceil((10 + text.length + 1) / 64) * 64 - 11) + "\n";
  const bytes = new Uint8Array(10 + padded.length);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, padded.length & 0xff, padded.length >>> 8]);
  bytes.set(Buffer.from(padded, "latin1"), 10);
  return bytes;
}

/** A whole `.npy` file in memory. */
export function encodeNpy<D extends NpyDtype>(array: { dtype: D; shape: number[]; data: NpyDataOf[D] }): Uint8Array {
  const { dtype, shape, data } = array;
  if (data.length !== product(shape)) {
    throw new Error(`${data.length} items do not fill the shape [${shape.join(", ")}]`);
  }
  if (Array.isArray(data)) {
    const characters = data.reduce((most, text) => Math.max(most, Array.from(text).length), 1);
    return Buffer.concat([npyHeader({ dtype: { string: characters }, shape }), encodeStrings(data, characters)]);
  }
  return Buffer.concat([npyHeader({ dtype: dtype as Numeric, shape }), encodeItems(dtype as Numeric, data)]);
}

/** The bytes of numbers as they stand in a file; shares memory with `data` except for halves. */
export function encodeItems<D extends Numeric>(dtype: D, data: NpyDataOf[D]): Uint8Array {
  const stored = dtype === "float16" ? toFloat16(data as Float32Array) : data;
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

/**
 * Reads the header from the first bytes of a file.
 *
 * @param bytes at least the header; what follows it does not matter.
 * @param file names the file in messages.
 * @throws UserError where it is no `.npy` file, holds Python objects or a dtype that is not read here, or is in Fortran
 * order.
 */
export function readNpyHeader(bytes: Uint8Array, file: string): NpyHeader {
  const magic = Buffer.from(bytes.subarray(0, 6)).toString("latin1");
  if (bytes.length < 10 || magic !== "\x93NUMPY") {
    throw new UserError(`Expected a NumPy .npy file at ${file} but received a file that does not begin like one`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const major = bytes[6]!;
  if (major < 1 || major > 3) {
    throw new UserError(`Expected .npy version 1, 2 or 3 for ${file} but received ${major}.${bytes[7]!}`);
  }
  const start = major === 1 ? 10 : 12;
  const offset =
    start + (major === 1 ? view.getUint16(8, true) : bytes.length < 12 ? Infinity : view.getUint32(8, true));
  if (offset > bytes.length)
    throw new UserError(`Expected a whole header for ${file} but the file ends before it does`);
  const text = Buffer.from(bytes.subarray(start, offset)).toString(major === 3 ? "utf8" : "latin1");
  return { ...describe(text, file), offset };
}

function describe(text: string, file: string): Omit<NpyHeader, "offset"> {
  const descr = /'descr':\s*'([^']*)'/.exec(text)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(text)?.[1];
  const dimensions = /'shape':\s*\(([^)]*)\)/.exec(text)?.[1];
  if (descr === undefined || order === undefined || dimensions === undefined) {
    throw new UserError(
      `Expected a plain NumPy array for ${file} but received the header ${text.trim().slice(0, 200)}`,
    );
  }
  const shape = dimensions
    .split(",")
    .map((part) => part.trim().replace(/L$/, ""))
    .filter((part) => part !== "")
    .map(Number);
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0) || !Number.isSafeInteger(product(shape) * 8)) {
    throw new UserError(`Expected a shape for ${file} but received (${dimensions})`);
  }
  if (order === "True" && shape.filter((size) => size > 1).length > 1) {
    throw new UserError(`Expected rows in C order for ${file} but received an array in Fortran order`, {
      hint: "Save numpy.ascontiguousarray(array).",
    });
  }
  return { ...itemOf(descr, file), descr, shape };
}

function itemOf(descr: string, file: string): { dtype: NpyDtype; itemBytes: number } {
  for (const [dtype, known] of Object.entries(descrs) as [Numeric, string][]) {
    if (known.slice(1) === descr.slice(1) && (descr[0] !== ">" || descr.endsWith("1"))) {
      return { dtype, itemBytes: Number(known.slice(2)) };
    }
  }
  const characters = /^(<U|[|<]S)([1-9]\d*)$/.exec(descr);
  if (characters) return { dtype: "string", itemBytes: Number(characters[2]) * (characters[1] === "<U" ? 4 : 1) };
  if (descr.endsWith("O")) {
    throw new UserError(
      `Expected numbers or strings for ${file} but received an array of Python objects (dtype object)`,
      {
        hint: "Reading objects can run code, so it is not done: save it again with a plain dtype, e.g. array.astype(str).",
      },
    );
  }
  throw new UserError(
    `Expected one of ${Object.values(descrs).join(", ")} or <U for ${file} but received dtype ${descr}`,
    {
      hint: "Save it again, e.g. as array.astype('<f4').",
    },
  );
}

/** Items from their bytes. The result never shares memory with `bytes`, except for bytes that are aligned already. */
export function decodeItems(
  header: Pick<NpyHeader, "dtype" | "descr" | "itemBytes">,
  bytes: Uint8Array,
): NpyArray["data"] {
  if (header.dtype === "string") return decodeStrings(header, bytes);
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  const whole = [aligned.buffer, aligned.byteOffset, bytes.byteLength / header.itemBytes] as const;
  switch (header.dtype) {
    case "float16":
      return fromFloat16(new Uint16Array(...whole));
    case "float32":
      return new Float32Array(...whole);
    case "float64":
      return new Float64Array(...whole);
    case "int8":
      return new Int8Array(...whole);
    case "uint8":
    case "bool":
      return new Uint8Array(...whole);
    case "int16":
      return new Int16Array(...whole);
    case "uint16":
      return new Uint16Array(...whole);
    case "int32":
      return new Int32Array(...whole);
    case "uint32":
      return new Uint32Array(...whole);
    case "int64":
      return new BigInt64Array(...whole);
  }
}

function encodeStrings(texts: string[], characters: number): Uint8Array {
  const points = new Uint32Array(texts.length * characters);
  texts.forEach((text, i) =>
    points.set(
      Array.from(text, (character) => character.codePointAt(0)!),
      i * characters,
    ),
  );
  return new Uint8Array(points.buffer);
}

function decodeStrings({ descr, itemBytes }: Pick<NpyHeader, "descr" | "itemBytes">, bytes: Uint8Array): string[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const texts: string[] = [];
  for (let at = 0; at < buffer.length; at += itemBytes) {
    let end = at + itemBytes;
    if (descr.includes("S")) {
      while (end > at && buffer[end - 1] === 0) end--;
      texts.push(buffer.toString("utf8", at, end));
    } else {
      while (end > at && buffer.readUInt32LE(end - 4) === 0) end -= 4;
      let text = "";
      for (let i = at; i < end; i += 4) text += String.fromCodePoint(buffer.readUInt32LE(i));
      texts.push(text);
    }
  }
  return texts;
}

/** Whole numbers in whatever kind of array they came. */
export interface Integers {
  shape: number[];
  data: ArrayLike<number> | BigInt64Array | BigUint64Array | string[];
}

/**
 * Labels or indices as int32, from whatever numeric dtype they were saved in.
 *
 * @throws UserError where they are strings, or a value is no 32-bit integer; `subject` names them, `row` is told.
 */
export function toIntegers({ data, shape }: Integers, subject: string): Int32Array {
  if (Array.isArray(data)) throw new UserError(`Expected integers for ${subject} but received strings`);
  const integers = new Int32Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const value = Number(data[i]);
    integers[i] = value;
    if (integers[i] !== value) {
      const row = Math.floor(i / Math.max(1, data.length / Math.max(1, shape[0] ?? 1)));
      throw new UserError(`Expected integers for ${subject} but received ${value} in row ${row}`);
    }
  }
  return integers;
}

export function product(shape: number[]): number {
  return shape.reduce((all, size) => all * size, 1);
}
