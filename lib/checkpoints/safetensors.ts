import { UserError } from "../errors.js";
import { fillFileAtomic } from "../files.js";
import { safetensorsHeader } from "./safetensors-header.js";
import { elements } from "./tensor.js";

/** float32 arrays by name, and texts beside them, as one safetensors file. */
export interface Safetensors {
  arrays: Record<string, { shape: number[]; data: Float32Array }>;
  metadata: Record<string, string>;
}

/** Writes the file whole or not at all; `safetensors-header.ts` tells the format. */
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
  const { arrays: found, metadata } = await safetensorsHeader(file);
  const arrays: Safetensors["arrays"] = {};
  for (const [name, { dtype, shape, bytes }] of found) {
    if (dtype !== "float32") throw new UserError(`Expected float32 for ${name} in ${file} but received ${dtype}`);
    arrays[name] = { shape, data: elements[dtype].decode(await bytes.read(0, bytes.size)) as Float32Array };
  }
  return { arrays, metadata: Object.fromEntries(metadata) };
}
