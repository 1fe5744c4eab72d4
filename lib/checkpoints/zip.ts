import { UserError } from "../errors.js";
import { ByteReader } from "./byte-reader.js";
import { damaged, fileRange, fileSize } from "./bytes.js";
import type { ByteRange } from "./bytes.js";
import { zipEntry } from "./zip-entry.js";
import type { ZipEntry, ZipRecord } from "./zip-entry.js";

/**
 * The entries of a zip archive (zip64 too), each as the run of bytes that it is; nothing is unpacked to the disk, and
 * names are only keys.
 *
 * Entries are stored or deflated; what would swell as only a zip bomb does is refused. What is read was checked against
 * the archive's CRC-32. The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 *
 * @throws UserError where the archive is not whole, names an entry twice or one outside of its folder, lays two entries
 * over each other, or encrypts one.
 */
export async function zipEntries(file: string): Promise<Map<string, ZipEntry>> {
  const size = await fileSize(file);
  const archive = fileRange(file, 0, size);
  const directory = await findDirectory(file, archive);
  const reader = ByteReader.ofBytes(file, await archive.read(directory.start, directory.size));
  const entries = new Map<string, ZipEntry>();
  const places: Place[] = [];
  for (let i = 0; i < directory.entries; i++) {
    const entry = directoryEntry(file, reader);
    if (entries.has(entry.name)) throw damaged(file, `its archive names ${entry.name} twice`);
    const start = await dataStart(file, archive, entry);
    places.push({ name: entry.name, start: entry.headerStart, end: start + entry.stored });
    entries.set(entry.name, zipEntry(file, entry, start));
  }
  if (reader.remaining > 0) throw damaged(file, "its archive's directory holds more than it announces");
  checkPlaces(file, places, directory.start);
  return entries;
}

interface Place {
  name: string;
  start: number;
  end: number;
}

function checkPlaces(file: string, places: Place[], end: number): void {
  const inOrder = [...places].sort((a, b) => a.start - b.start);
  for (const [i, place] of inOrder.entries()) {
    const next = inOrder[i + 1];
    if (place.end > end) throw damaged(file, `its archive's entry ${place.name} leaves the file`);
    if (next && place.end > next.start) {
      throw damaged(file, `its archive's entries ${place.name} and ${next.name} overlap`);
    }
  }
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
async function findDirectory(file: string, archive: ByteRange): Promise<Directory> {
  const tailLength = Math.min(archive.size, lengths.end + 0xffff);
  const tail = viewOf(await archive.read(archive.size - tailLength, tailLength));
  let at = tailLength - lengths.end;
  const isEnd = () =>
    tail.getUint32(at, true) === signatures.end && at + lengths.end + tail.getUint16(at + 20, true) === tailLength;
  while (at >= 0 && !isEnd()) at--;
  if (at < 0) throw damaged(file, "its zip archive has no end: it was cut");
  const directory = {
    entries: tail.getUint16(at + 10, true),
    size: tail.getUint32(at + 12, true),
    start: tail.getUint32(at + 16, true),
  };
  const end = archive.size - tailLength + at;
  const found = (await directory64(file, archive, end)) ?? directory;
  if (found.start + found.size > end || found.size > mostDirectoryBytes || found.entries > mostEntries) {
    throw damaged(file, "its zip archive's directory is not where it is said to be");
  }
  return found;
}

/** Archives of more than 4 GB, and those of newer torch, have a second record before the last. */
async function directory64(file: string, archive: ByteRange, end: number): Promise<Directory | undefined> {
  if (end < lengths.locator64) return undefined;
  const locator = viewOf(await archive.read(end - lengths.locator64, lengths.locator64));
  if (locator.getUint32(0, true) !== signatures.locator64) return undefined;
  const start = integer64(file, locator, 8);
  if (start + lengths.end64 > end) throw damaged(file, "its zip64 record is not where it is said to be");
  const record = viewOf(await archive.read(start, lengths.end64));
  if (record.getUint32(0, true) !== signatures.end64) throw damaged(file, "its zip64 record is broken");
  return {
    entries: integer64(file, record, 32),
    size: integer64(file, record, 40),
    start: integer64(file, record, 48),
  };
}

/** Deflate packs 1032 bytes into one; numbers of a network hardly shrink, but for the few that are all zero. */
const mostSwelling = 200;
const harmlessBytes = 1 << 26;

function directoryEntry(file: string, reader: ByteReader): ZipRecord {
  const fixed = reader.view(46);
  if (fixed.getUint32(0, true) !== signatures.entry) throw damaged(file, "its zip archive's directory is broken");
  const [flags, method] = [fixed.getUint16(8, true), fixed.getUint16(10, true)];
  const crc = fixed.getUint32(16, true);
  const sizes = [fixed.getUint32(24, true), fixed.getUint32(20, true), fixed.getUint32(42, true)];
  const tails = [fixed.getUint16(28, true), fixed.getUint16(30, true), fixed.getUint16(32, true)] as const;
  const name = Buffer.from(reader.bytes(tails[0])).toString("utf8");
  const extra = reader.view(tails[1]);
  reader.skip(tails[2]);
  const [size, stored, headerStart] = fromExtra64(file, sizes, extra) as [number, number, number];
  if ((method !== 0 && method !== 8) || (flags & 1) !== 0) {
    throw new UserError(`Expected stored or deflated entries in ${file} but ${name} is packed otherwise or encrypted`);
  }
  const deflated = method === 8;
  if (!deflated && stored !== size) throw damaged(file, `its archive tells two sizes of ${name}`);
  if (size > harmlessBytes && size > mostSwelling * stored) {
    throw damaged(file, `${name} in its archive would swell from ${stored} to ${size} bytes: a zip bomb`);
  }
  if (/^[\\/]|^[A-Za-z]:|(^|[\\/])\.\.([\\/]|$)/.test(name)) {
    throw damaged(file, `its archive's entry ${name} climbs out of its folder`);
  }
  return { name, size, stored, deflated, crc, headerStart };
}

/** Sizes and offsets that do not fit into 4 bytes stand, in this order, in the extra field 1. */
function fromExtra64(file: string, values: readonly number[], extra: DataView): number[] {
  if (!values.includes(elsewhere)) return [...values];
  for (let at = 0; at + 4 <= extra.byteLength; at += 4 + extra.getUint16(at + 2, true)) {
    if (extra.getUint16(at, true) !== 1) continue;
    let next = at + 4;
    return values.map((value) => {
      if (value !== elsewhere) return value;
      next += 8;
      if (next > extra.byteLength) throw damaged(file, "its zip archive's directory is broken");
      return integer64(file, extra, next - 8);
    });
  }
  throw damaged(file, "its zip archive's directory is broken");
}

/** An entry's bytes follow its own header, whose length the directory does not tell. */
async function dataStart(file: string, archive: ByteRange, { name, headerStart }: ZipRecord): Promise<number> {
  const header = headerStart + lengths.local <= archive.size && viewOf(await archive.read(headerStart, lengths.local));
  if (!header || header.getUint32(0, true) !== signatures.local) {
    throw damaged(file, `its archive's entry ${name} is not where it is said to be`);
  }
  return headerStart + lengths.local + header.getUint16(26, true) + header.getUint16(28, true);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function integer64(file: string, view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  // Far beyond any file, and small enough that sums of two are exact.
  if (value > 2n ** 50n) throw damaged(file, "its zip archive tells impossible sizes");
  return Number(value);
}
