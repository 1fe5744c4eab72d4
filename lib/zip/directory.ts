import type { ByteRange } from "../checkpoints/bytes.js";
import type { UserError } from "../errors.js";

/** An archive that is read. */
export interface ZipArchive {
  bytes: ByteRange;
  /** The complaint about what is found out of order in it, e.g. `"its zip archive has no end: it was cut"`. */
  damaged(finding: string): UserError;
}

/** What an archive tells of one of its entries. */
export interface ZipRecord {
  name: string;
  /** Length of its content, and of the bytes in the archive. */
  size: number;
  stored: number;
  deflated: boolean;
  crc: number;
  /** Where its own header begins, behind which its bytes lie. */
  headerStart: number;
}

/**
 * The directory of a zip archive (zip64 too), in its order. Entries are stored or deflated.
 *
 * Source: APPNOTE.TXT, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 *
 * @returns the records, and where the directory begins: entries end before.
 * @throws UserError (`archive.damaged`) where the archive is not whole, names an entry outside of its folder, swells as
 * only a zip bomb does, or is encrypted.
 */
export async function zipDirectory(archive: ZipArchive): Promise<{ records: ZipRecord[]; start: number }> {
  const { start, size, entries } = await findDirectory(archive);
  const directory = await archive.bytes.read(start, size);
  const records: ZipRecord[] = [];
  let at = 0;
  const take = (length: number): DataView => {
    if (at + length > size) throw archive.damaged("its zip archive's directory is broken");
    at += length;
    return viewOf(directory.subarray(at - length, at));
  };
  for (let i = 0; i < entries; i++) records.push(directoryEntry(archive, take));
  if (at < size) throw archive.damaged("its archive's directory holds more than it announces");
  return { records, start };
}

const signatures = { local: 0x04034b50, entry: 0x02014b50, end: 0x06054b50, end64: 0x06064b50, locator64: 0x07064b50 };
const lengths = { local: 30, end: 22, end64: 56, locator64: 20 };
/** A field of 4 bytes that says: see the zip64 field. */
const elsewhere = 0xffffffff;
const mostDirectoryBytes = 2 ** 28;
const mostEntries = 100_000;

interface Directory {
  start: number;
  size: number;
  entries: number;
}

/** The record at the end of the file that tells where the directory is; a comment may follow it. */
async function findDirectory(archive: ZipArchive): Promise<Directory> {
  const { bytes } = archive;
  const tailLength = Math.min(bytes.size, lengths.end + 0xffff);
  const tail = viewOf(await bytes.read(bytes.size - tailLength, tailLength));
  let at = tailLength - lengths.end;
  const isEnd = () =>
    tail.getUint32(at, true) === signatures.end && at + lengths.end + tail.getUint16(at + 20, true) === tailLength;
  while (at >= 0 && !isEnd()) at--;
  if (at < 0) throw archive.damaged("its zip archive has no end: it was cut");
  const directory = {
    entries: tail.getUint16(at + 10, true),
    size: tail.getUint32(at + 12, true),
    start: tail.getUint32(at + 16, true),
  };
  const end = bytes.size - tailLength + at;
  const found = (await directory64(archive, end)) ?? directory;
  if (found.start + found.size > end || found.size > mostDirectoryBytes || found.entries > mostEntries) {
    throw archive.damaged("its zip archive's directory is not where it is said to be");
  }
  return found;
}

/** Archives of more than 4 GB, and those of newer torch, have a second record before the last. */
async function directory64(archive: ZipArchive, end: number): Promise<Directory | undefined> {
  const { bytes } = archive;
  if (end < lengths.locator64) return undefined;
  const locator = viewOf(await bytes.read(end - lengths.locator64, lengths.locator64));
  if (locator.getUint32(0, true) !== signatures.locator64) return undefined;
  const start = integer64(archive, locator, 8);
  if (start + lengths.end64 > end) throw archive.damaged("its zip64 record is not where it is said to be");
  const record = viewOf(await bytes.read(start, lengths.end64));
  if (record.getUint32(0, true) !== signatures.end64) throw archive.damaged("its zip64 record is broken");
  return {
    entries: integer64(archive, record, 32),
    size: integer64(archive, record, 40),
    start: integer64(archive, record, 48),
  };
}

/** Deflate packs 1032 bytes into one; numbers of a network hardly shrink, but for the few that are all zero. */
const mostSwelling = 200;
const harmlessBytes = 1 << 26;

function directoryEntry(archive: ZipArchive, take: (length: number) => DataView): ZipRecord {
  const fixed = take(46);
  if (fixed.getUint32(0, true) !== signatures.entry) throw archive.damaged("its zip archive's directory is broken");
  const [flags, method] = [fixed.getUint16(8, true), fixed.getUint16(10, true)];
  const crc = fixed.getUint32(16, true);
  const sizes = [fixed.getUint32(24, true), fixed.getUint32(20, true), fixed.getUint32(42, true)];
  const tails = [fixed.getUint16(28, true), fixed.getUint16(30, true), fixed.getUint16(32, true)] as const;
  const letters = take(tails[0]);
  const name = Buffer.from(letters.buffer, letters.byteOffset, letters.byteLength).toString("utf8");
  const extra = take(tails[1]);
  take(tails[2]);
  const [size, stored, headerStart] = fromExtra64(archive, sizes, extra) as [number, number, number];
  if ((method !== 0 && method !== 8) || (flags & 1) !== 0) {
    throw archive.damaged(`${name} in its archive is encrypted, or packed in another way than deflated`);
  }
  const deflated = method === 8;
  if (!deflated && stored !== size) throw archive.damaged(`its archive tells two sizes of ${name}`);
  if (size > harmlessBytes && size > mostSwelling * stored) {
    throw archive.damaged(`${name} in its archive would swell from ${stored} to ${size} bytes: a zip bomb`);
  }
  if (/^[\\/]|^[A-Za-z]:|(^|[\\/])\.\.([\\/]|$)/.test(name)) {
    throw archive.damaged(`its archive's entry ${name} climbs out of its folder`);
  }
  return { name, size, stored, deflated, crc, headerStart };
}

/** Sizes and offsets that do not fit into 4 bytes stand, in this order, in the extra field 1. */
function fromExtra64(archive: ZipArchive, values: readonly number[], extra: DataView): number[] {
  if (!values.includes(elsewhere)) return [...values];
  for (let at = 0; at + 4 <= extra.byteLength; at += 4 + extra.getUint16(at + 2, true)) {
    if (extra.getUint16(at, true) !== 1) continue;
    let next = at + 4;
    return values.map((value) => {
      if (value !== elsewhere) return value;
      next += 8;
      if (next > extra.byteLength) throw archive.damaged("its zip archive's directory is broken");
      return integer64(archive, extra, next - 8);
    });
  }
  throw archive.damaged("its zip archive's directory is broken");
}

/** Bytes of an entry's own header whose length does not vary. */
export const localHeaderLength = lengths.local;

/**
 * Where an entry's bytes begin, which only its own header tells.
 *
 * @param header the first {@link localHeaderLength} bytes from `headerStart` on.
 * @returns undefined where it is no header.
 */
export function dataStart({ headerStart }: Pick<ZipRecord, "headerStart">, header: Uint8Array): number | undefined {
  const view = viewOf(header);
  if (header.length < lengths.local || view.getUint32(0, true) !== signatures.local) return undefined;
  return headerStart + lengths.local + view.getUint16(26, true) + view.getUint16(28, true);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function integer64(archive: ZipArchive, view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  // Far beyond any file, and small enough that sums of two are exact.
  if (value > 2n ** 50n) throw archive.damaged("its zip archive tells impossible sizes");
  return Number(value);
}
