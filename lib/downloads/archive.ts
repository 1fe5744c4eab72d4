import fs from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import { crc32 } from "node:zlib";

import { type Entry, fromFdPromise, type ZipFile } from "yauzl";

import { messageOf, UserError } from "../errors.js";
import { asReadError, errorCode, fillFileAtomic, inside } from "../files.js";

export interface ExtractOptions {
  /** A zip file; a Python wheel is one. */
  archive: string;
  /** The folder that receives the entries. */
  into: string;
  /** The name under `into` for an entry of the archive, or undefined to leave it. */
  select: (name: string) => string | undefined;
}

/**
 * Extracts chosen entries of a zip file, streaming, each whole or not at all and checked by its size and CRC-32.
 * Permission to execute is kept; nothing else of an entry's attributes is.
 *
 * @returns the paths written, in the archive's order.
 * @throws UserError where the archive cannot be read, is damaged, or an entry's name leaves `into`.
 */
export async function extractEntries({ archive, into, select }: ExtractOptions): Promise<string[]> {
  const written: string[] = [];
  await eachEntry(archive, async (zip, entry) => {
    const name = entry.fileName.endsWith("/") ? undefined : select(entry.fileName);
    if (name === undefined) return;
    const file = inside(into, name);
    const stream = await zip.openReadStreamPromise(entry);
    await fillFileAtomic(file, (handle) => copyChecked(stream, handle, entry));
    if ((entry.externalFileAttributes >>> 16) & 0o111) await fs.chmod(file, 0o755);
    written.push(file);
  });
  return written;
}

/** The text of the first entry that `matches`, or undefined where there is none. */
export async function readEntry(options: {
  archive: string;
  matches: (name: string) => boolean;
}): Promise<string | undefined> {
  let text: string | undefined;
  await eachEntry(options.archive, async (zip, entry) => {
    if (text !== undefined || !options.matches(entry.fileName)) return;
    const chunks: Buffer[] = [];
    for await (const chunk of await zip.openReadStreamPromise(entry)) chunks.push(chunk as Buffer);
    text = Buffer.concat(chunks).toString("utf8");
  });
  return text;
}

/** One entry after another: an archive is read from its directory, so only what is asked for is unpacked. */
async function eachEntry(archive: string, visit: (zip: ZipFile, entry: Entry) => Promise<void>): Promise<void> {
  const handle = await fs.open(archive).catch((error: unknown) => {
    throw asReadError(error, archive, "an archive");
  });
  try {
    const zip = await fromFdPromise(handle.fd, { autoClose: false });
    for await (const entry of zip.eachEntry()) await visit(zip, entry);
  } catch (error) {
    if (error instanceof UserError) throw error;
    // Those with a code come from the file system, and zlib's from the data.
    if (errorCode(error) !== undefined && !errorCode(error)!.startsWith("Z_")) throw error;
    throw new UserError(`Expected a zip archive at ${archive} but it is damaged (${messageOf(error)})`, {
      hint: "Delete it, and run the same command again.",
      cause: error,
    });
  } finally {
    await handle.close();
  }
}

async function copyChecked(stream: Readable, handle: FileHandle, entry: Entry): Promise<void> {
  let crc = 0;
  let held: Buffer[] = [];
  let size = 0;
  // Inflated pieces are 16 kB; written one by one they would cost more than the inflating.
  const write = async () => {
    await handle.appendFile(Buffer.concat(held));
    [held, size] = [[], 0];
  };
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    crc = crc32(chunk, crc);
    held.push(chunk);
    size += chunk.length;
    if (size >= 1 << 22) await write();
  }
  if (held.length > 0) await write();
  if (crc !== entry.crc32) throw new Error(`the content of ${entry.fileName} does not fit its checksum`);
}
