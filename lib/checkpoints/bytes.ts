import fs from "node:fs/promises";

import { asReadError } from "../files.js";
import { UserError } from "../errors.js";

/** A run of bytes that is read piece by piece: a file, or a part of one. */
export interface ByteRange {
  /** Length in bytes. */
  size: number;
  /** `length` bytes from `start` on, counted from the start of the run; the caller keeps to the size. */
  read(start: number, length: number): Promise<Uint8Array>;
}

/** The bytes `position … position + size` of a file. The file is opened for each read: nothing is to be closed. */
export function fileRange(file: string, position: number, size: number): ByteRange {
  return {
    size,
    read: async (start, length) => {
      const handle = await openCheckpoint(file);
      try {
        const bytes = new Uint8Array(length);
        let filled = 0;
        while (filled < length) {
          const { bytesRead } = await handle.read(bytes, filled, length - filled, position + start + filled);
          if (bytesRead === 0) throw damaged(file, "it ends in the middle of a tensor");
          filled += bytesRead;
        }
        return bytes;
      } finally {
        await handle.close();
      }
    },
  };
}

export async function openCheckpoint(file: string): Promise<fs.FileHandle> {
  try {
    return await fs.open(file, "r");
  } catch (error) {
    throw asReadError(error, file, "a checkpoint");
  }
}

/** The file is not whole, or was changed: all that a reader finds out of order is told so. */
export function damaged(file: string, finding: string, cause?: unknown): UserError {
  return new UserError(`Expected a whole checkpoint for ${file} but ${finding}`, {
    hint: "Download or save it again, and compare its size and sha256 with the publisher's.",
    cause,
  });
}

export async function fileSize(file: string): Promise<number> {
  const handle = await openCheckpoint(file);
  try {
    return (await handle.stat()).size;
  } finally {
    await handle.close();
  }
}
