import path from "node:path";

import { inside } from "../../files.js";
import type { ByteReader } from "../byte-reader.js";
import { damaged, fileRange, fileSize } from "../bytes.js";
import { elements, readStrided, sizeOf } from "../tensor.js";
import type { DType, TensorData, TensorEntry } from "../tensor.js";
import { expected } from "../../errors.js";
import { integersOf, inner, textOf } from "./message.js";
import type { Field } from "./message.js";

/** Numbers of TensorProto.DataType; texts, complex numbers and packed 4-bit ones are no weights of vision models. */
const dtypes: Record<number, DType> = {
  1: "float32",
  2: "uint8",
  3: "int8",
  5: "int16",
  6: "int32",
  7: "int64",
  9: "bool",
  10: "float16",
  11: "float64",
  16: "bfloat16",
};

export interface NamedTensor extends TensorEntry {
  name: string;
}

/** Where the numbers are: bytes of this file or of another one, or numbers written one by one. */
type Content = { start: number; length: number } | { numbers: number[] } | { external: Map<string, string> };

/**
 * A TensorProto. Raw numbers stay in the file, or in the file beside it that they are said to be in, until they are
 * read.
 *
 * @throws UserError where it is of a type that no weight has, holds not as many numbers as its shape, or refers to a
 * file that is missing, too short, or outside the model's folder.
 */
export async function readTensor(reader: ByteReader, field: Field): Promise<NamedTensor> {
  const shape: number[] = [];
  const numbers: number[] = [];
  const external = new Map<string, string>();
  let [name, type, location] = ["", 0, 0];
  let packed: Extract<Content, { start: number }> | undefined;
  for (const part of inner(reader, field)) {
    switch (part.number) {
      case 1:
        shape.push(...integersOf(reader, part));
        break;
      case 2:
        type = part.value;
        break;
      case 4: // float_data; packed, they lie as raw ones do
      case 10: // double_data
        if (part.wire === 2) packed = { start: part.start, length: part.length };
        else throw damaged(reader.file, `the numbers at byte ${part.start} are not packed`);
        break;
      case 5: // int32_data, of all short types, and bits of float16
      case 7: // int64_data
        for (const value of integersOf(reader, part)) numbers.push(value);
        break;
      case 8:
        name = textOf(reader, part);
        break;
      case 9:
        packed = { start: part.start, length: part.length };
        break;
      case 13: {
        const [key, value] = readEntry(reader, part);
        external.set(key, value);
        break;
      }
      case 14:
        location = part.value;
    }
  }
  const label = name || "a constant";
  const dtype = dtypes[type];
  if (!dtype) throw expected("numbers of at most 64 bits", `the tensor ${label} in ${reader.file}`, `the type ${type}`);
  const count = sizeOf(shape);
  if (shape.some((size) => !Number.isInteger(size) || size < 0) || !Number.isSafeInteger(count * 8)) {
    throw damaged(reader.file, `the tensor ${label} has the shape [${shape.join(", ")}]`);
  }
  const entry = { name, shape, dtype };
  if (location === 1) return { ...entry, read: await externalNumbers(reader.file, label, external, entry) };
  if (packed) {
    const bytes = count * elements[dtype].bytes;
    if (packed.length !== bytes) throw wrongSize(reader.file, label, entry, packed.length);
    return { ...entry, read: rawNumbers(reader.file, packed.start, entry) };
  }
  if (numbers.length !== count) throw wrongSize(reader.file, label, entry, numbers.length);
  const data = listed(dtype, numbers);
  return { ...entry, read: () => Promise.resolve(data) };
}

/** StringStringEntryProto. */
function readEntry(reader: ByteReader, field: Field): [key: string, value: string] {
  const entry: [string, string] = ["", ""];
  for (const part of inner(reader, field)) if (part.number <= 2) entry[part.number - 1] = textOf(reader, part);
  return entry;
}

type Described = Pick<TensorEntry, "shape" | "dtype">;

function rawNumbers(file: string, start: number, { shape, dtype }: Described): () => Promise<TensorData> {
  const range = fileRange(file, start, sizeOf(shape) * elements[dtype].bytes);
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  return () => readStrided(range, { dtype, shape, strides, offset: 0 });
}

async function externalNumbers(file: string, label: string, entries: Map<string, string>, described: Described) {
  const bytes = sizeOf(described.shape) * elements[described.dtype].bytes;
  const beside = inside(path.dirname(path.resolve(file)), entries.get("location") ?? "");
  const offset = Number(entries.get("offset") ?? 0);
  const length = Number(entries.get("length") ?? bytes);
  const size = await fileSize(beside);
  if (!Number.isSafeInteger(offset) || offset < 0 || offset + bytes > size || length !== bytes) {
    throw damaged(
      beside,
      `it has ${size} bytes, where ${label} of ${file} should take ${bytes} from byte ${offset} on`,
    );
  }
  return rawNumbers(beside, offset, described);
}

function listed(dtype: DType, numbers: number[]): TensorData {
  switch (dtype) {
    case "float16":
    case "bfloat16":
      return elements[dtype].decode(new Uint8Array(Uint16Array.from(numbers).buffer));
    case "int64":
      return BigInt64Array.from(numbers, (value) => BigInt(Math.max(-(2 ** 63), Math.min(value, 2 ** 63 - 1024))));
    case "int32":
      return Int32Array.from(numbers);
    case "int16":
      return Int16Array.from(numbers);
    case "int8":
      return Int8Array.from(numbers);
    case "uint8":
    case "bool":
      return Uint8Array.from(numbers);
    case "float32":
      return Float32Array.from(numbers);
    case "float64":
      return Float64Array.from(numbers);
    default:
      throw expected("a dtype that ONNX keeps in a list", "its numbers", dtype);
  }
}

function wrongSize(file: string, label: string, { shape, dtype }: Described, received: number) {
  return damaged(
    file,
    `${label} should hold ${dtype} numbers of the shape [${shape.join(", ")}] but holds ${received}`,
  );
}
