import fs from "node:fs/promises";

import { UserError } from "../errors.js";
import { asReadError } from "../files.js";
import { fromFloat16 } from "../float16.js";
import { decodeItems, longestHeader, product, readNpyHeader } from "./npy.js";
import type { NpyArray, NpyHeader } from "./npy.js";

/** A `.npy` file that is open for reading rows (entries of the first axis) by positioned reads. */
export interface NpyFile extends NpyHeader {
  file: string;
  /** Rows `start` … `start + count − 1`. */
  readRows(range: { start: number; count: number }): Promise<NpyArray>;
  /** The same rows as float32, written into `into` from its position `at`; not for strings and int64. */
  readFloats(range: { start: number; count: number; into: Float32Array; at: number }): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a `.npy` file and checks that it holds all the data that its header promises.
 *
 * @throws UserError where it is missing, no `.npy` file, of a dtype that is not read (see `npy.ts`), or cut off.
 */
export async function openNpy(file: string): Promise<NpyFile> {
  const handle = await fs.open(file).catch((error: unknown) => {
    throw asReadError(error, file, "a NumPy file");
  });
  try {
    const start = Buffer.alloc(longestHeader);
    const { bytesRead } = await handle.read(start, 0, start.length, 0).catch((error: unknown) => {
      throw asReadError(error, file, "a NumPy file");
    });
    const header = readNpyHeader(start.subarray(0, bytesRead), file);
    const { size } = await handle.stat();
    const promised = header.offset + product(header.shape) * header.itemBytes;
    if (size < promised) {
      throw new UserError(`Expected ${promised} bytes for ${file} but received ${size}: the file is cut off`);
    }
    return opened(file, handle, header);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** A whole `.npy` file. */
export async function readNpy({ file }: { file: string }): Promise<NpyArray> {
  const npy = await openNpy(file);
  try {
    return { ...(await npy.readRows({ start: 0, count: npy.shape[0] ?? 1 })), shape: npy.shape };
  } finally {
    await npy.close();
  }
}

function opened(file: string, handle: fs.FileHandle, header: NpyHeader): NpyFile {
  const rowItems = product(header.shape.slice(1));
  const rowBytes = rowItems * header.itemBytes;
  const readAt = (into: Uint8Array, start: number) => readFully(handle, into, header.offset + start * rowBytes, file);
  return {
    ...header,
    file,
    readRows: async ({ start, count }) => {
      const bytes = new Uint8Array(count * rowBytes);
      await readAt(bytes, start);
      return { dtype: header.dtype, shape: [count, ...header.shape.slice(1)], data: decodeItems(header, bytes) };
    },
    readFloats: async ({ start, count, into, at }) => {
      const target = into.subarray(at, at + count * rowItems);
      if (header.dtype === "float32") {
        await readAt(new Uint8Array(target.buffer, target.byteOffset, target.byteLength), start);
      } else if (header.dtype === "float16") {
        const halves = new Uint16Array(target.length);
        await readAt(new Uint8Array(halves.buffer), start);
        fromFloat16(halves, target);
      } else {
        const bytes = new Uint8Array(count * rowBytes);
        await readAt(bytes, start);
        const data = decodeItems(header, bytes);
        if (Array.isArray(data) || data instanceof BigInt64Array) {
          throw new UserError(`Expected floating-point features for ${file} but received dtype ${header.descr}`);
        }
        target.set(data);
      }
    },
    close: () => handle.close(),
  };
}

/** One read call returns at most 2 GiB, and may return less than asked for. */
async function readFully(handle: fs.FileHandle, into: Uint8Array, position: number, file: string): Promise<void> {
  for (let done = 0; done < into.length;) {
    const { bytesRead } = await handle.read(into, done, Math.min(into.length - done, 2 ** 30), position + done);
    if (bytesRead === 0) throw new UserError(`Expected more bytes in ${file} but it has become shorter while in use`);
    done += bytesRead;
  }
}
