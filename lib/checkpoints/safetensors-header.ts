import { damaged, fileRange, fileSize } from "./bytes.js";
import type { ByteRange } from "./bytes.js";
import { areCounts, elements, isCount, sizeOf } from "./tensor.js";
import type { DType } from "./tensor.js";

/** What the first part of a safetensors file tells: its arrays, of which nothing was read yet. */
export interface SafetensorsHeader {
  arrays: Map<string, SafetensorsArray>;
  metadata: Map<string, string>;
}

export interface SafetensorsArray {
  dtype: DType;
  shape: number[];
  bytes: ByteRange;
}

const dtypes: Record<string, DType> = {
  F8_E4M3: "float8_e4m3fn",
  F8_E5M2: "float8_e5m2",
  F16: "float16",
  BF16: "bfloat16",
  F32: "float32",
  F64: "float64",
  I8: "int8",
  I16: "int16",
  I32: "int32",
  I64: "int64",
  U8: "uint8",
  U16: "uint16",
  U32: "uint32",
  U64: "uint64",
  BOOL: "bool",
  C64: "complex64",
};

/** As in the original reader. */
const mostHeaderBytes = 100_000_000;

/**
 * Reads the header of a safetensors file (github.com/huggingface/safetensors): 8 bytes little-endian length of the
 * header, the header in JSON (name → dtype, shape, data_offsets from the end of the header), then the arrays one behind
 * the other.
 *
 * @throws UserError where the file is cut, a name stands twice in it, arrays overlap, leave the file or leave bytes
 * between them, or a kind of number is not known.
 */
export async function safetensorsHeader(file: string): Promise<SafetensorsHeader> {
  const size = await fileSize(file);
  const whole = fileRange(file, 0, size);
  if (size < 8) throw damaged(file, `it has ${size} bytes`);
  const length = Buffer.from(await whole.read(0, 8)).readBigUInt64LE(0);
  if (length > mostHeaderBytes) throw damaged(file, `it announces a header of ${length} bytes`);
  const start = 8 + Number(length);
  if (start > size) throw damaged(file, `its header should end at byte ${start} of ${size}`);
  const entries = parseHeader(file, Buffer.from(await whole.read(8, start - 8)).toString("utf8"));
  const arrays = new Map<string, SafetensorsArray>();
  const metadata = new Map<string, string>();
  const places: { name: string; from: number; to: number }[] = [];
  for (const [name, value] of entries) {
    if (name === "__metadata__") {
      for (const [key, text] of members(value)) if (typeof text === "string") metadata.set(key, text);
      continue;
    }
    const { dtype, shape, from, to } = arrayOf(file, name, value);
    places.push({ name, from, to });
    arrays.set(name, { dtype, shape, bytes: fileRange(file, start + from, to - from) });
  }
  checkPlaces(file, places, size - start);
  return { arrays, metadata };
}

function parseHeader(file: string, text: string): [string, unknown][] {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (error) {
    throw damaged(file, "its header is not JSON", error);
  }
  const entries = members(header);
  const keys = outerKeys(text);
  if (keys.length !== entries.length) {
    const twice = keys.find((key, i) => keys.indexOf(key) < i);
    throw damaged(file, `its header names ${twice ?? "nothing"} twice`);
  }
  return entries;
}

/** JSON.parse keeps the last of two equal keys and says nothing. */
function outerKeys(text: string): string[] {
  const keys: string[] = [];
  let depth = 0;
  let before = "";
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:]/gs)) {
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    else if (token === ":" && depth === 1) keys.push(JSON.parse(before) as string);
    before = token;
  }
  return keys;
}

function arrayOf(file: string, name: string, value: unknown) {
  const fields = new Map(members(value));
  const [kind, shape, offsets] = ["dtype", "shape", "data_offsets"].map((key) => fields.get(key));
  const dtype = typeof kind === "string" && Object.hasOwn(dtypes, kind) ? dtypes[kind] : undefined;
  if (!dtype) {
    throw damaged(
      file,
      `${name} in it is of the unknown kind ${typeof kind === "string" ? kind.slice(0, 40) : "none"}`,
    );
  }
  if (!areCounts(shape)) throw damaged(file, `${name} in it has an impossible shape`);
  const [from, to] = Array.isArray(offsets) && offsets.length === 2 ? (offsets as unknown[]) : [];
  if (!isCount(from) || !isCount(to) || to < from) throw damaged(file, `${name} in it has impossible offsets`);
  const bytes = sizeOf(shape) * elements[dtype].bytes;
  if (to - from !== bytes) throw damaged(file, `${name} in it has ${to - from} bytes where its shape takes ${bytes}`);
  return { dtype, shape, from, to };
}

/** One behind the other from the first byte to the last, in whatever order they are named. */
function checkPlaces(file: string, places: { name: string; from: number; to: number }[], size: number): void {
  let end = 0;
  for (const { name, from, to } of places.sort((a, b) => a.from - b.from || a.to - b.to)) {
    if (from < end) throw damaged(file, `${name} in it overlaps another array`);
    if (from > end) throw damaged(file, `the bytes before ${name} in it belong to no array`);
    if (to > size) throw damaged(file, `${name} in it ends at byte ${to} of ${size}`);
    end = to;
  }
  if (end !== size) throw damaged(file, `its arrays end at byte ${end} of ${size}`);
}

function members(value: unknown): [string, unknown][] {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
}
