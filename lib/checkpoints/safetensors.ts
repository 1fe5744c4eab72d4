import fs from "node:fs/promises";

import { UserError } from "../errors.js";
import { asReadError, fillFileAtomic } from "../files.js";

/** float32 arrays by name, and texts beside them, as one safetensors file. */
export interface Safetensors {
  arrays: Record<string, { shape: number[]; data: Float32Array }>;
  metadata: Record<string, string>;
}

/**
 * Writes the file whole or not at all.
 *
 * The format (github.com/huggingface/safetensors): 8 bytes little-endian length of the header, the header in JSON
 * (name → dtype, shape, data_offsets from the end of the header), then the arrays one behind the other.
 */
export async function writeSafetensors(file: string, { arrays, metadata }: Safetensors): Promise<void> {
  let offset = 0;
  const header: Record<string, unknown> = { __metadata__: metadata };
  for (const [name, { shape, data }] of Object.entries(arrays)) {
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const text = JSON.stringify(header);
  const json = Buffer.from(text + " ".repeat((8 - (Buffer.byteLength(text) % 8)) % 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  await fillFileAtomic(file, async (handle) => {
    await handle.write(length);
    await handle.write(json);
    for (const { data } of Object.values(arrays)) {
      if (data.byteLength > 0) await handle.write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
  });
}

/**
 * Reads a file of float32 arrays whole.
 *
 * @throws UserError where it is not a safetensors file of float32 arrays, or is cut off.
 */
export async function readSafetensors(file: string): Promise<Safetensors> {
  const bytes = await fs.readFile(file).catch((error: unknown) => {
    throw asReadError(error, file, "a safetensors file");
  });
  const damaged = (what: string, cause?: unknown) =>
    new UserError(`Expected a whole safetensors file at ${file} but ${what}`, { cause });
  if (bytes.length < 8) throw damaged(`it has ${bytes.length} bytes`);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  if (start > bytes.length) throw damaged(`its header should end at byte ${start} of ${bytes.length}`);
  let header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  try {
    header = JSON.parse(bytes.toString("utf8", 8, start)) as typeof header;
  } catch (error) {
    throw damaged("its header is not JSON", error);
  }
  const { __metadata__: metadata, ...entries } = header;
  const arrays: Safetensors["arrays"] = {};
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(entries)) {
    const [from, to] = offsets;
    const count = shape.reduce((product, size) => product * size, 1);
    if (dtype !== "F32") throw damaged(`${name} is ${dtype}, not F32`);
    if (from < 0 || to - from !== 4 * count || start + to > bytes.length) throw damaged(`${name} does not fit into it`);
    const data = new Float32Array(count);
    new Uint8Array(data.buffer).set(bytes.subarray(start + from, start + to));
    arrays[name] = { shape, data };
  }
  return { arrays, metadata: (metadata ?? {}) as unknown as Record<string, string> };
}
