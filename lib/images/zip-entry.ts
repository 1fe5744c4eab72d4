import { closeSync, openSync, readSync } from "node:fs";
import { inflateRawSync } from "node:zlib";

import { UserError } from "../errors.js";
import { asReadError } from "../files.js";
import { crc32 } from "../crc32.js";
import { dataStart, localHeaderLength } from "../zip/directory.js";
import type { ImageSource } from "./image.js";

/**
 * An image out of a zip archive, of which nothing else is read.
 *
 * @throws UserError where the archive cannot be read; where the entry is not as its directory says, the image is bad.
 */
export function readZipEntry(source: Extract<ImageSource, { kind: "zip" }>): Uint8Array {
  const { path, headerStart, stored, size, deflated, crc } = source;
  const packed = readAt(path, (read) => {
    const start = dataStart({ headerStart }, read(headerStart, localHeaderLength));
    return start === undefined ? undefined : read(start, stored);
  });
  if (packed?.length !== stored) throw bad(path, "it is not where the archive's directory says");
  const bytes = deflated ? inflated(packed, size, path) : packed;
  if (bytes.length !== size || crc32(bytes, 0) !== crc) throw bad(path, "its checksum is wrong");
  return bytes;
}

function inflated(packed: Uint8Array, size: number, path: string): Uint8Array {
  try {
    return inflateRawSync(packed, { maxOutputLength: Math.max(1, size) });
  } catch (error) {
    throw bad(path, "it cannot be unpacked", error);
  }
}

function bad(path: string, finding: string, cause?: unknown): UserError {
  return new UserError(`Expected an image in ${path} but ${finding}`, { cause });
}

function readAt<T>(path: string, work: (read: (offset: number, length: number) => Uint8Array) => T): T {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    throw asReadError(error, path, "packed images");
  }
  try {
    return work((offset, length) => {
      const bytes = new Uint8Array(length);
      return bytes.subarray(0, readSync(file, bytes, 0, length, offset));
    });
  } finally {
    closeSync(file);
  }
}
