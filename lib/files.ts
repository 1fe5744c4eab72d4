import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";

import { UserError } from "./errors.js";

/**
 * Writes a file whole or not at all: to a temporary name beside it, synced, then renamed.
 *
 * @throws UserError where the disk is full or the folder cannot be written; nothing is left behind.
 */
export async function writeFileAtomic(file: string, content: string | Uint8Array): Promise<void> {
  await fillFileAtomic(file, (handle) => handle.writeFile(content));
}

/** As {@link writeFileAtomic}, for content that is made piece by piece. */
export async function fillFileAtomic(file: string, fill: (handle: fs.FileHandle) => Promise<unknown>): Promise<void> {
  const temporary = temporaryName(file);
  try {
    await fs.mkdir(path.dirname(file), { recursive: true });
    const handle = await fs.open(temporary, "w");
    try {
      await fill(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.rename(temporary, file);
  } catch (error) {
    // Where a file stands in the folder's place there is nothing to remove, and that is no second error.
    await fs.rm(temporary, { force: true }).catch(() => {});
    throw asWriteError(error, file);
  }
}

/** As {@link writeFileAtomic}, for content that comes piece by piece. */
export async function writePiecesAtomic(file: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  await fillFileAtomic(file, async (handle) => {
    // From where the piece before ended, and whole, however long it is.
    for await (const piece of pieces) await handle.writeFile(piece);
  });
}

/** A name beside `file` that no other process uses; left-overs of killed runs end in `.partial`. */
export function temporaryName(file: string): string {
  return `${file}.${process.pid}-${randomBytes(4).toString("hex")}.partial`;
}

/** JSON, two spaces, a newline at the end; whole or not at all. */
export async function writeJson(file: string, value: unknown): Promise<void> {
  await writeFileAtomic(file, `${JSON.stringify(value, null, 2)}\n`);
}

/**
 * Reads a JSON file.
 *
 * @param what names the file in messages, e.g. `"the backbone's manifest"`.
 */
export async function readJson(file: string, what: string): Promise<unknown> {
  const text = await readText(file, what);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new UserError(`Expected JSON for ${what} ${file} but received text that does not parse`, { cause: error });
  }
}

export async function readText(file: string, what: string): Promise<string> {
  try {
    return await fs.readFile(file, "utf8");
  } catch (error) {
    throw asReadError(error, file, what);
  }
}

export async function exists(file: string): Promise<boolean> {
  return fs.access(file).then(
    () => true,
    () => false,
  );
}

/** The sha256 of a file's content, in hexadecimal, without holding the file in memory. */
export async function sha256OfFile(file: string): Promise<string> {
  const hash = createHash("sha256");
  const handle = await fs.open(file);
  try {
    // One piece for all: a stream's new ones, of 64 kB, take longer than the hashing.
    const piece = new Uint8Array(2 ** 20);
    for (;;) {
      const { bytesRead } = await handle.read(piece);
      if (bytesRead === 0) break;
      hash.update(piece.subarray(0, bytesRead));
    }
  } finally {
    await handle.close();
  }
  return hash.digest("hex");
}

/** The sha256 of a text or of bytes, in hexadecimal. */
export function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** A digest of a plain value that does not depend on the order of its keys. */
export function digestOf(value: unknown): string {
  return sha256(canonicalJson(value));
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/**
 * `name` inside `folder`, for names that come from an archive or a listing.
 *
 * @throws UserError where the name is absolute or climbs out of the folder.
 */
export function inside(folder: string, name: string): string {
  const resolved = path.resolve(folder, name);
  if (path.isAbsolute(name) || (resolved !== folder && !resolved.startsWith(path.resolve(folder) + path.sep))) {
    throw new UserError(`Expected a name inside ${folder} but received ${JSON.stringify(name)}, which leaves it`);
  }
  return resolved;
}

export function asReadError(error: unknown, file: string, what: string): unknown {
  switch (errorCode(error)) {
    case "ENOENT":
    case "ENOTDIR":
      return new UserError(`Expected ${what} at ${file} but there is no such file`, { cause: error });
    case "EACCES":
    case "EPERM":
      return new UserError(`Expected to read ${what} at ${file} but it may not be read by this user`, { cause: error });
    case "EISDIR":
      return new UserError(`Expected a file for ${what} at ${file} but it is a folder`, { cause: error });
    default:
      return error;
  }
}

export function asWriteError(error: unknown, file: string): unknown {
  switch (errorCode(error)) {
    case "ENOSPC":
    case "EDQUOT":
      return new UserError(`Expected room on the disk for ${file} but it is full; nothing half-written was kept`, {
        hint: "Free some space, or choose another folder, and run the same command: it goes on where it stopped.",
        cause: error,
      });
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new UserError(`Expected to write ${file} but this user may not write there`, { cause: error });
    case "ENOTDIR":
    case "EEXIST":
      return new UserError(`Expected a folder above ${file} but a file stands in its place`, { cause: error });
    default:
      return error;
  }
}

export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
