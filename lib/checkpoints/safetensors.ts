import { UserError } from "../errors.js";
import { writePiecesAtomic } from "../files.js";
import { safetensorsHeader } from "./safetensors-header.js";
import { elements, sizeOf } from "./tensor.js";

/** float32 arrays by name, and texts beside them, as one safetensors file. */
export interface Safetensors {
  arrays: Record<string, { shape: number[]; data: Float32Array }>;
  metadata: Record<string, string>;
}

const dtypes = { float32: "F32", float16: "F16", int32: "I32", int8: "I8" } as const;

/** An array that is written while it is made. */
export interface WrittenArray {
  dtype: keyof typeof dtypes;
  shape: number[];
  /** Its numbers in C order, little-endian. */
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** Writes the file whole or not at all. */
export async function writeSafetensors(file: string, { arrays, metadata }: Safetensors): Promise<void> {
  const written = Object.entries(arrays).map(([name, { shape, data }]): [string, WrittenArray] => [
    name,
    { dtype: "float32", shape, pieces: [new Uint8Array(data.buffer, data.byteOffset, data.byteLength)] },
  ]);
  await writePiecesAtomic(file, safetensorsBytes({ arrays: Object.fromEntries(written), metadata }));
}

/** The bytes of a safetensors file; `safetensors-header.ts` tells the format. */
export async function* safetensorsBytes(options: {
  arrays: Record<string, WrittenArray>;
  metadata: Record<string, string>;
}): AsyncGenerator<Uint8Array, void> {
  const { arrays, metadata } = options;
  let offset = 0;
  const header: Record<string, unknown> = { __metadata__: metadata };
  for (const [name, { dtype, shape }] of Object.entries(arrays)) {
    const end = offset + sizeOf(shape) * elements[dtype].bytes;
    header[name] = { dtype: dtypes[dtype], shape, data_offsets: [offset, end] };
    offset = end;
  }
  const text = JSON.stringify(header);
  const json = Buffer.from(text + " ".repeat((8 - (Buffer.byteLength(text) % 8)) % 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  yield length;
  yield json;
  for (const { pieces } of Object.values(arrays)) yield* pieces;
}

/**
 * Reads a file of float32 arrays whole.
 *
 * @throws UserError where it is not a safetensors file of float32 arrays, or is cut off.
 */
export async function readSafetensors(file: string): Promise<Safetensors> {
  const { arrays: found, metadata } = await safetensorsHeader(file);
  const arrays: Safetensors["arrays"] = {};
  for (const [name, { dtype, shape, bytes }] of found) {
    if (dtype !== "float32") throw new UserError(`Expected float32 for ${name} in ${file} but received ${dtype}`);
    arrays[name] = { shape, data: elements[dtype].decode(await bytes.read(0, bytes.size)) as Float32Array };
  }
  return { arrays, metadata: Object.fromEntries(metadata) };
}
