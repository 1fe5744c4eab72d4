import fs from "node:fs/promises";
import path from "node:path";

import { UserError } from "./errors.js";
import { asWriteError, errorCode, exists, temporaryName } from "./files.js";

/**
 * Writes a folder whole or not at all: it is filled under a temporary name and then renamed. One that was there is
 * replaced, if it is of the same kind.
 *
 * @param options.mark the file that every folder of this kind has, e.g. `backbone.json`.
 * @param options.kind names the kind in messages, e.g. `"a backbone"`.
 * @param options.hint what to do where `dir` holds something else.
 * @param options.fill writes the content into the folder that it is given.
 * @throws UserError where `dir` holds something of another kind, or cannot be written.
 */
export async function writeFolderAtomic(options: {
  dir: string;
  mark: string;
  kind: string;
  hint: string;
  fill: (folder: string) => Promise<void>;
}): Promise<void> {
  const { dir, fill } = options;
  await expectKindOrNothing(options);
  await removeLeftovers(dir);
  const temporary = temporaryName(dir);
  try {
    await fs.mkdir(temporary, { recursive: true });
    await fill(temporary);
    await replaceFolder(temporary, dir);
  } catch (error) {
    throw asWriteError(error, dir);
  } finally {
    await fs.rm(temporary, { recursive: true, force: true });
  }
}

async function expectKindOrNothing(options: { dir: string; mark: string; kind: string; hint: string }): Promise<void> {
  const { dir, mark, kind, hint } = options;
  const names = await fs.readdir(dir).catch((error: unknown): string[] => {
    if (errorCode(error) === "ENOENT") return [];
    throw asWriteError(error, dir);
  });
  if (names.length === 0 || names.includes(mark)) return;
  throw new UserError(`Expected an empty folder or ${kind} at ${dir} but it holds ${names.slice(0, 3).join(", ")}`, {
    hint,
  });
}

/** What killed runs left beside the folder, once it is old enough that no other process is at it. */
async function removeLeftovers(dir: string): Promise<void> {
  const parent = path.dirname(dir);
  for (const name of await fs.readdir(parent).catch(() => [])) {
    if (!name.startsWith(`${path.basename(dir)}.`) || !name.endsWith(".partial")) continue;
    const leftover = path.join(parent, name);
    const { mtimeMs } = await fs.stat(leftover);
    if (Date.now() - mtimeMs > oneHour) await fs.rm(leftover, { recursive: true, force: true });
  }
}

const oneHour = 3_600_000;

async function replaceFolder(from: string, to: string): Promise<void> {
  const old = temporaryName(to);
  if (await exists(to)) await fs.rename(to, old);
  await fs.rename(from, to);
  await fs.rm(old, { recursive: true, force: true });
}
