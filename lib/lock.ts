import { randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { asWriteError, errorCode, temporaryName } from "./files.js";

export interface LockOptions {
  /** The file that stands for the lock while it is held. */
  file: string;
  /** Called once where another process holds the lock. */
  waiting?: (holder: string) => void;
  /** A lock whose holder was last seen alive so many milliseconds ago is taken over. */
  staleAfter?: number;
}

interface Holder {
  token: string;
  pid: number;
  host: string;
}

/**
 * Does `work` while no other process does work under the same lock. A holder that was killed does not block: a lock
 * whose process is gone (seen on the same machine), or that was not renewed for `staleAfter` (another machine, on a
 * shared file system), is taken over.
 */
export async function withLock<T>(options: LockOptions, work: () => Promise<T>): Promise<T> {
  const { file, waiting, staleAfter = 60_000 } = options;
  const own: Holder = { token: randomBytes(8).toString("hex"), pid: process.pid, host: os.hostname() };
  await fs.mkdir(path.dirname(file), { recursive: true }).catch((error: unknown) => {
    throw asWriteError(error, file);
  });
  for (let told = false; !(await take(file, own));) {
    const holder = await read(file);
    if (holder === "gone") continue;
    if (await isStale(file, holder, staleAfter)) {
      await remove(file, holder);
      continue;
    }
    if (!told) waiting?.(holder ? `process ${holder.pid} on ${holder.host}` : "another process");
    told = true;
    await sleep(100);
  }
  const renewal = setInterval(() => void fs.utimes(file, new Date(), new Date()).catch(() => {}), staleAfter / 6);
  renewal.unref();
  try {
    return await work();
  } finally {
    clearInterval(renewal);
    await remove(file, own);
  }
}

/** Written beside and linked, so that a lock is never seen without its holder. */
async function take(file: string, own: Holder): Promise<boolean> {
  const written = temporaryName(file);
  try {
    await fs.writeFile(written, JSON.stringify(own));
    await fs.link(written, file);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw asWriteError(error, file);
  } finally {
    await fs.rm(written, { force: true });
  }
}

async function read(file: string): Promise<Holder | undefined | "gone"> {
  try {
    return JSON.parse(await fs.readFile(file, "utf8")) as Holder;
  } catch (error) {
    return errorCode(error) === "ENOENT" ? "gone" : undefined;
  }
}

async function isStale(file: string, holder: Holder | undefined, staleAfter: number): Promise<boolean> {
  if (holder?.host === os.hostname() && holder.pid !== process.pid && !isAlive(holder.pid)) return true;
  const seen = await fs.stat(file).then(
    ({ mtimeMs }) => mtimeMs,
    () => Date.now(),
  );
  return Date.now() - seen > staleAfter;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}

/** Removes the lock if it is still that holder's; one that another process has taken meanwhile is put back. */
async function remove(file: string, holder: Holder | undefined): Promise<void> {
  const aside = temporaryName(file);
  try {
    await fs.rename(file, aside);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw error;
  }
  const found = await read(aside);
  if (found !== "gone" && found?.token !== holder?.token) await fs.link(aside, file).catch(() => {});
  await fs.rm(aside, { force: true });
}
