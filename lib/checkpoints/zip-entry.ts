import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createInflateRaw } from "node:zlib";

import { UserError } from "../errors.js";
import type { ZipRecord } from "../zip/directory.js";
import { damaged, fileRange } from "./bytes.js";
import type { ByteRange } from "./bytes.js";
import { crc32 } from "../crc32.js";

/** A file within an archive. */
export interface ZipEntry extends ByteRange {
  /** Unpacked as it is read, from its beginning each time. */
  compressed: boolean;
}

/** The content of an entry whose bytes begin at `start` of the file. */
export function zipEntry(file: string, record: ZipRecord, start: number): ZipEntry {
  return record.deflated ? inflatedRange(file, record, start) : checkedRange(file, record, start);
}

/** An entry whose checksum is compared before the first of its bytes is given. */
function checkedRange(file: string, { name, size, crc }: ZipRecord, start: number): ZipEntry {
  const bytes = fileRange(file, start, size);
  const compare = (sum: number) => {
    if (sum !== crc) throw damaged(file, `the checksum of ${name} in it is wrong`);
  };
  const check = async () => {
    let sum = 0;
    for (let at = 0; at < size; at += pieceBytes) {
      sum = crc32(await bytes.read(at, Math.min(pieceBytes, size - at)), sum);
    }
    compare(sum);
  };
  let checked: Promise<void> | undefined;
  return {
    size,
    compressed: false,
    read: async (from, length) => {
      if (from === 0 && length === size) {
        const whole = await bytes.read(0, size);
        if (!checked) compare(crc32(whole, 0));
        return whole;
      }
      await (checked ??= check());
      return bytes.read(from, length);
    },
  };
}

/** A deflated entry, unpacked piece by piece up to the end of what is asked for. */
function inflatedRange(file: string, { name, size, stored, crc }: ZipRecord, start: number): ZipEntry {
  const bytes = fileRange(file, start, stored);
  return {
    size,
    compressed: true,
    read: async (from, length) => {
      const result = new Uint8Array(length);
      const to = from + length;
      let at = 0;
      let sum = 0;
      for await (const piece of inflatedPieces(file, name, bytes)) {
        const wanted = piece.subarray(Math.max(0, from - at), Math.max(0, to - at));
        result.set(wanted, Math.max(0, at - from));
        at += piece.length;
        sum = crc32(piece, sum);
        if (at > size || (at >= to && to < size)) break;
      }
      if (at < to || at > size) throw damaged(file, `${name} in its archive is not as long as announced`);
      if (to === size && sum !== crc) throw damaged(file, `the checksum of ${name} in it is wrong`);
      return result;
    },
  };
}

async function* inflatedPieces(file: string, name: string, bytes: ByteRange): AsyncGenerator<Uint8Array> {
  const inflate = createInflateRaw();
  // What goes wrong comes out of the loop below; leaving the loop early is no error.
  pipeline(Readable.from(piecesOf(bytes)), inflate).catch(() => {});
  try {
    for await (const piece of inflate) yield piece as Uint8Array;
  } catch (error) {
    throw error instanceof UserError ? error : damaged(file, `${name} in its archive cannot be unpacked`, error);
  }
}

async function* piecesOf(bytes: ByteRange): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.size; at += pieceBytes) yield bytes.read(at, Math.min(pieceBytes, bytes.size - at));
}

const pieceBytes = 1 << 20;
