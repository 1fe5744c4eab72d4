import { randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { asWriteError, errorCode, temporaryName } from "./files.js";

export interface LockOptions {
  /** The file that stands for the lock while it is held. */
  file: string;
  /** Called once where another process holds the lock, as soon as it is known to be alive. */
  waiting?: (holder: string) => void;
  /** A lock that is not renewed while one watches it for so many milliseconds is taken over. */
  staleAfter?: number;
  /** Ends the waiting. */
  signal?: AbortSignal;
}

interface Holder {
  token: string;
  pid: number;
  host: string;
  /** When the process began, where the system tells; a number of a process comes again, with another beginning. */
  began?: string;
}

/**
 * Does `work` while no other process does work under the same lock. A holder that was killed does not block: a lock
 * whose process is gone (seen on the same machine), or that is not renewed while it is watched for `staleAfter`
 * (another machine, on a shared file system), is taken over. No clock is compared with another one.
 */
export async function withLock<T>(options: LockOptions, work: () => Promise<T>): Promise<T> {
  const { file, waiting, staleAfter = 60_000, signal } = options;
  const own: Holder = {
    token: randomBytes(8).toString("hex"),
    pid: process.pid,
    host: os.hostname(),
    began: await beginningOf(process.pid),
  };
  await fs.mkdir(path.dirname(file), { recursive: true }).catch((error: unknown) => {
    throw asWriteError(error, file);
  });
  const watch = watchLock(file);
  for (let told = false; !(await take(file, own));) {
    const holder = await read(file);
    if (holder === "gone") continue;
    const here = holder?.host === own.host && (await isAlive(holder));
    const { silent, renewed } = await watch(holder);
    if ((holder?.host === own.host && !here) || silent > staleAfter) {
      await remove(file, holder);
      continue;
    }
    if (!told && (here || renewed)) {
      told = true;
      waiting?.(holder ? `process ${holder.pid} on ${holder.host}` : "another process");
    }
    signal?.throwIfAborted();
    await sleep(100);
  }
  await removeLeftovers(file, own);
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
    return await fs.link(written, file).then(
      () => true,
      (error: unknown) => {
        // Who holds the lock may have removed what was written.
        if (errorCode(error) === "EEXIST" || errorCode(error) === "ENOENT") return false;
        throw error;
      },
    );
  } catch (error) {
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

/** Tells for how many milliseconds a holder has not renewed its lock while it was looked at, and whether it ever has. */
function watchLock(file: string): (holder: Holder | undefined) => Promise<{ silent: number; renewed: boolean }> {
  let token: string | undefined;
  let renewal: number | undefined;
  let since = performance.now();
  let renewed = false;
  return async (holder) => {
    const seen = await fs.stat(file).then(
      ({ mtimeMs }) => mtimeMs,
      () => undefined,
    );
    if (seen !== renewal || holder?.token !== token) {
      renewed = renewal !== undefined && seen !== undefined && holder?.token === token;
      [token, renewal, since] = [holder?.token, seen, performance.now()];
    }
    return { silent: performance.now() - since, renewed };
  };
}

/** Whether a process of this machine is there, and is the one that took the lock. */
async function isAlive({ pid, began }: Holder): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) !== "EPERM") return false;
  }
  return began === undefined || began === (await beginningOf(pid));
}

/** Linux: the process's start, in clock ticks since the system's. */
async function beginningOf(pid: number): Promise<string | undefined> {
  const stat = await fs.readFile(`/proc/${pid}/stat`, "latin1").catch(() => undefined);
  // The program's name stands in brackets, and may hold spaces and brackets.
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

/** What processes have left that were killed while they took or gave back the lock; not a lock of one's own put aside. */
async function removeLeftovers(file: string, own: Holder): Promise<void> {
  const folder = path.dirname(file);
  for (const name of await fs.readdir(folder)) {
    if (!name.startsWith(`${path.basename(file)}.`) || !name.endsWith(".partial")) continue;
    const holder = await read(path.join(folder, name));
    if (holder !== "gone" && holder?.token !== own.token) await fs.rm(path.join(folder, name), { force: true });
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
