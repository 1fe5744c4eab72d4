import { crc32 } from "../crc32.js";

/** A file that is put into an archive while it is made. */
export interface PackedPiece {
  name: string;
  /** Length of its content in bytes. */
  size: number;
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** Where contents begin: at multiples of this, as in torch's archives, which may be mapped into memory. */
const alignment = 64;
const [version, flags, date, far] = [45, 0x0808, 0x21, 0xffffffff];

/**
 * The bytes of a zip archive of stored files, one after another. Every length is written in 8 bytes (zip64), and a
 * checksum stands behind its file, so that the archive needs neither memory nor a second look at what was written.
 *
 * Source: APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.
 */
export async function* zipArchive(files: Iterable<PackedPiece>): AsyncGenerator<Uint8Array, void> {
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, size, pieces } of files) {
    const start = at;
    const local = localHeader(name, size, at);
    yield local;
    let [crc, length] = [0, 0];
    for await (const piece of pieces) {
      crc = crc32(piece, crc);
      length += piece.length;
      yield piece;
    }
    if (length !== size) throw new Error(`${name} has ${length} bytes instead of ${size}`);
    yield fields([0x08074b50, 4], [crc, 4], [size, 8], [size, 8]);
    at += local.length + size + 24;
    directory.push(directoryEntry(name, size, crc, start));
  }
  const listing = Buffer.concat(directory);
  yield listing;
  yield endOf(directory.length, listing.length, at);
}

/** Padded with a field of torch's own name, so that the content behind it is aligned. */
function localHeader(name: string, size: number, at: number): Buffer {
  const length = 30 + Buffer.byteLength(name) + 20 + 4;
  const padding = (alignment - ((at + length) % alignment)) % alignment;
  return Buffer.concat([
    fields([0x04034b50, 4], [version, 2], [flags, 2], [0, 2], [0, 2], [date, 2], [0, 4], [far, 4], [far, 4]),
    fields([Buffer.byteLength(name), 2], [20 + 4 + padding, 2]),
    Buffer.from(name),
    fields([1, 2], [16, 2], [size, 8], [size, 8]),
    fields([0x4246, 2], [padding, 2]),
    Buffer.alloc(padding),
  ]);
}

function directoryEntry(name: string, size: number, crc: number, start: number): Buffer {
  return Buffer.concat([
    fields([0x02014b50, 4], [version, 2], [version, 2], [flags, 2], [0, 2], [0, 2], [date, 2], [crc, 4]),
    fields([far, 4], [far, 4], [Buffer.byteLength(name), 2], [28, 2], [0, 2], [0, 2], [0, 2], [0, 4], [far, 4]),
    Buffer.from(name),
    fields([1, 2], [24, 2], [size, 8], [size, 8], [start, 8]),
  ]);
}

/** The two records of zip64, then the one of old, which says only that those are there. */
function endOf(entries: number, size: number, start: number): Buffer {
  return Buffer.concat([
    fields([0x06064b50, 4], [44, 8], [version, 2], [version, 2], [0, 4], [0, 4]),
    fields([entries, 8], [entries, 8], [size, 8], [start, 8]),
    fields([0x07064b50, 4], [0, 4], [start + size, 8], [1, 4]),
    fields([0x06054b50, 4], [0, 2], [0, 2], [0xffff, 2], [0xffff, 2], [far, 4], [far, 4], [0, 2]),
  ]);
}

/** Numbers in little-endian order, each with its bytes. */
function fields(...values: [value: number, bytes: 2 | 4 | 8][]): Buffer {
  const buffer = Buffer.alloc(values.reduce((sum, [, bytes]) => sum + bytes, 0));
  let at = 0;
  for (const [value, bytes] of values) {
    if (bytes === 8) buffer.writeBigUInt64LE(BigInt(value), at);
    else buffer.writeUIntLE(value, at, bytes);
    at += bytes;
  }
  return buffer;
}
