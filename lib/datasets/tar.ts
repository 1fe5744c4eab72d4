import fs from "node:fs/promises";

import { UserError } from "../errors.js";
import { asReadError } from "../files.js";

/** A file in a tar archive. */
export interface TarEntry {
  name: string;
  /** Where its content begins in the archive. */
  offset: number;
  /** Bytes. */
  size: number;
  /** Its content; to be called before the next entry is asked for. */
  read(): Promise<Buffer>;
}

const block = 512;

/** Bytes read at a time: a header, often with a small file and the next header behind it. */
const window = 8 * block;

/** The same where many small files follow one another, of which one reading then serves many. */
const wideWindow = 16 * window;

/**
 * The regular files of a tar archive in order, by one pass over its headers: contents are skipped. Reads ustar with the
 * long names and sizes beyond 8 GB of GNU tar and of pax (POSIX.1-2001).
 *
 * @throws UserError where the file is no tar archive, is compressed, damaged or cut off.
 */
export async function* tarEntries(file: string): AsyncGenerator<TarEntry, void> {
  const handle = await fs.open(file).catch((error: unknown) => {
    throw asReadError(error, file, "a tar archive");
  });
  const cutOff = () =>
    new UserError(`Expected a whole tar archive at ${file} but it is cut off`, { hint: "Fetch or make it again." });
  try {
    const { size: total } = await handle.stat();
    let held = Buffer.alloc(0);
    let heldAt = 0;
    let small = 0;
    const read = async (offset: number, length: number): Promise<Buffer> => {
      if (offset + length > total) throw cutOff();
      if (offset < heldAt || offset + length > heldAt + held.length) {
        const buffer = Buffer.allocUnsafe(Math.min(Math.max(length, small < 8 ? window : wideWindow), total - offset));
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, offset);
        if (bytesRead < length) throw cutOff();
        [held, heldAt] = [buffer.subarray(0, bytesRead), offset];
      }
      return held.subarray(offset - heldAt, offset - heldAt + length);
    };

    if (total > 1 && (await read(0, 2)).readUInt16BE() === 0x1f8b) {
      throw new UserError(`Expected a tar archive at ${file} but it is compressed`, {
        hint: "Unpack it with gunzip: images are read out of a plain tar archive.",
      });
    }
    let next: { path?: string; size?: number } = {};
    for (let at = 0; ;) {
      const header = await read(at, block);
      // An archive ends with blocks of zeros; without them its end is missing.
      if (header.every((byte) => byte === 0)) return;
      checkHeader(header, file, at);
      const written = number(header, 124, 12, file);
      const type = String.fromCharCode(header[156]!);
      const name = next.path ?? nameIn(header);
      const size = "xgLK".includes(type) ? written : (next.size ?? written);
      const offset = at + block;
      if (offset + size > total) throw cutOff();
      at = offset + Math.ceil(size / block) * block;
      small = size <= window ? small + 1 : 0;
      if (type === "x") next = { ...next, ...paxRecords(await read(offset, size), file) };
      else if (type === "L") next = { ...next, path: textOf(await read(offset, size)) };
      else if (type !== "g" && type !== "K") {
        next = {};
        // "0", NUL in old archives, and contiguous files.
        if ("0\u00007".includes(type)) yield { name, offset, size, read: () => read(offset, size) };
      }
    }
  } finally {
    await handle.close();
  }
}

function checkHeader(header: Buffer, file: string, at: number): void {
  let sum = 0;
  for (let i = 0; i < block; i++) sum += i >= 148 && i < 156 ? 32 : header[i]!;
  if (parseInt(textOf(header.subarray(148, 156)).trim(), 8) === sum) return;
  throw new UserError(
    at === 0
      ? `Expected a tar archive at ${file} but it does not begin like one`
      : `Expected a whole tar archive at ${file} but it is damaged at byte ${at}`,
  );
}

/** ustar keeps the front part of a long name apart; GNU tar has other things at that place. */
function nameIn(header: Buffer): string {
  const name = textOf(header.subarray(0, 100));
  const posix = header.toString("latin1", 257, 263) === "ustar\0";
  const prefix = posix ? textOf(header.subarray(345, 500)) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

/** Octal digits; or, where the first bit is set, a binary number (GNU). */
function number(header: Buffer, from: number, length: number, file: string): number {
  const field = header.subarray(from, from + length);
  const value =
    field[0]! & 0x80
      ? field.reduce((sum, byte, i) => sum * 256 + (i === 0 ? byte & 0x7f : byte), 0)
      : Number(`0o${textOf(field).trim() || "0"}`);
  if (Number.isSafeInteger(value)) return value;
  throw new UserError(
    `Expected the size of a file in the tar archive ${file} but received ${JSON.stringify(textOf(field))}`,
  );
}

/** `27 path=…\n`: the length counts itself. */
function paxRecords(bytes: Buffer, file: string): { path?: string; size?: number } {
  const records: { path?: string; size?: number } = {};
  for (let at = 0; at < bytes.length && bytes[at] !== 0;) {
    const space = bytes.indexOf(" ", at);
    const length = Number(bytes.toString("latin1", at, Math.max(space, at)));
    const record = bytes.toString("utf8", space + 1, at + length);
    const equals = record.indexOf("=");
    if (space < 0 || !(length > space - at) || at + length > bytes.length || equals < 0 || !record.endsWith("\n")) {
      throw new UserError(`Expected a whole tar archive at ${file} but an extended header of it is damaged`);
    }
    const value = record.slice(equals + 1, -1);
    if (record.startsWith("path=")) records.path = value;
    if (record.startsWith("size=")) records.size = Number(value);
    at += length;
  }
  if (records.size === undefined || Number.isSafeInteger(records.size)) return records;
  throw new UserError(`Expected a whole tar archive at ${file} but an extended header of it is damaged`);
}

/** Up to the first NUL. */
function textOf(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString("utf8", 0, end < 0 ? bytes.length : end);
}
