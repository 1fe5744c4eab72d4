import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";

import { UserError } from "../errors.js";
import { asWriteError, errorCode, exists } from "../files.js";
import { type Progress, type ProgressTask, silent } from "../progress.js";

import { get, reason, type Response, Transient, withRetries } from "./http.js";
import { withLock } from "../lock.js";

/**
 * What the content must be: a sha256 or md5 in hexadecimal, or as many of its first digits as are known; npm's
 * `sha512-<base64>`; or nothing, where the publisher tells no digest.
 */
export type Digest = { sha256: string } | { md5: string } | { integrity: string } | { unpublished: true };

export type DownloadOptions = Digest & {
  url: string;
  /** Where it goes. One that is there already with this content is kept, and nothing is fetched. */
  file: string;
  /** What it is, in messages and on the bar, e.g. `"TensorFlow 2.21.0"`. */
  label: string;
  progress?: Progress;
  /** Milliseconds before the second of four tries; doubled before each further one. */
  retryPause?: number;
};

/**
 * Fetches one file, whole and with the right digest or not at all.
 *
 * What has arrived waits in `<file>.part`: a cut connection, or a later run after a kill, goes on from there. Two
 * processes that want the same file take turns; the second finds it done.
 *
 * @throws UserError where there is no such file, no connection after a few tries, another content than the digest says,
 * or no room on the disk.
 */
export async function downloadFile(options: DownloadOptions): Promise<void> {
  const { url, file, label, progress = silent, retryPause } = options;
  if (await isDone(file, options)) return;
  const waiting = (holder: string) => progress.note(`Waiting for ${label}, which ${holder} is fetching`);
  await withLock({ file: `${file}.lock`, waiting }, async () => {
    if (await isDone(file, options)) return;
    const part = `${file}.part`;
    let bar: ProgressTask | undefined;
    let advanced = 0;
    const arrived = (done: number, total: number) => {
      bar ??= progress.task({ label, total: megabytes(total), unit: "MB" });
      const count = megabytes(done) - advanced;
      if (count > 0) bar.advance(count);
      advanced += Math.max(count, 0);
    };
    let distrusted = false;
    try {
      await withRetries({ label, url, pause: retryPause }, async () => {
        const resumed = await fetchRest({ url, part, label, arrived });
        const wanted = digest(options);
        const received = await digestOf(part, wanted);
        if (received.startsWith(wanted.start)) return;
        await fs.rm(part, { force: true });
        // The beginning may have been another file's, from before the server's content changed: once from the start.
        if (resumed && !distrusted) {
          distrusted = true;
          throw new Transient("what was resumed has another digest than expected");
        }
        throw new UserError(
          `Expected ${wanted.start} as the ${wanted.algorithm} of ${label} but received ${received} from ${url}`,
          { hint: "The file was thrown away. A proxy or mirror may have altered it: try again, or use another one." },
        );
      });
      await fs.rename(part, file);
    } catch (error) {
      // An empty part is nothing to go on from.
      if ((await sizeOf(part)) === 0) await fs.rm(part, { force: true });
      throw asWriteError(error, file);
    } finally {
      bar?.end();
    }
  });
}

/** Appends to `part` what it lacks. @returns whether it had a beginning that was kept. */
async function fetchRest(options: {
  url: string;
  part: string;
  label: string;
  arrived: (done: number, total: number) => void;
}): Promise<boolean> {
  const { url, part, label, arrived } = options;
  const have = await sizeOf(part);
  const response = await get({ url, label, headers: have > 0 ? { range: `bytes=${have}-` } : {} });
  const range = contentRange(response);
  if (response.statusCode === 416) {
    await response.body.dump();
    // Nothing is left to send: the part is whole, or longer than the file.
    if (range?.total === have) return true;
    await fs.rm(part, { force: true });
    throw new Transient("the part that was kept did not fit the file");
  }
  const resumed = response.statusCode === 206 && range?.start === have;
  if (response.statusCode === 206 && !resumed) throw new Transient("the server sent another range than asked for");
  const start = resumed ? have : 0;
  const length = Number(response.headers["content-length"] ?? NaN);
  const total = Number.isFinite(length) ? start + length : NaN;
  await fs.mkdir(path.dirname(part), { recursive: true });
  const handle = await fs.open(part, resumed ? "a" : "w");
  let done = start;
  try {
    for await (const chunk of body(response)) {
      if (done === 0 && isWebPage(chunk)) throw webPage(label, url);
      await handle.appendFile(chunk);
      done += chunk.length;
      arrived(done, Number.isFinite(total) ? total : done);
    }
    await handle.sync();
  } catch (error) {
    // What is left of the answer is not waited for.
    response.body.destroy();
    throw error;
  } finally {
    await handle.close();
  }
  if (Number.isFinite(total) && done !== total) throw new Transient(`${total - done} of ${total} bytes did not arrive`);
  return resumed;
}

async function sizeOf(file: string): Promise<number> {
  return fs.stat(file).then(
    ({ size }) => size,
    () => 0,
  );
}

/** Where a file has moved or wants a login, many servers answer 200 with a page for people. */
function isWebPage(beginning: Buffer): boolean {
  return /^\s*(<!doctype html|<html)/i.test(beginning.subarray(0, 200).toString("latin1"));
}

function webPage(label: string, url: string): UserError {
  return new UserError(`Expected ${label} at ${url} but received a web page instead of a file`, {
    hint: "The file may have moved, or want a login or a click: open the address in a browser.",
  });
}

async function* body(response: Response): AsyncGenerator<Buffer> {
  const chunks = response.body[Symbol.asyncIterator]();
  for (;;) {
    let next: IteratorResult<unknown>;
    try {
      next = await chunks.next();
    } catch (error) {
      throw new Transient(`the connection was cut (${reason(error)})`, error);
    }
    if (next.done) return;
    yield next.value as Buffer;
  }
}

function contentRange(response: Response): { start?: number; total?: number } | undefined {
  const match = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(String(response.headers["content-range"] ?? ""));
  if (!match) return undefined;
  return { start: match[1] ? Number(match[1]) : undefined, total: match[2] !== "*" ? Number(match[2]) : undefined };
}

async function isDone(file: string, expected: Digest): Promise<boolean> {
  const wanted = digest(expected);
  return (await exists(file)) && (wanted.start === "" || (await digestOf(file, wanted)).startsWith(wanted.start));
}

interface WantedDigest {
  algorithm: "sha256" | "sha512" | "md5";
  /** What it begins with, in hexadecimal; empty where every content is right. */
  start: string;
}

function digest(expected: Digest): WantedDigest {
  if ("sha256" in expected) return { algorithm: "sha256", start: expected.sha256 };
  if ("md5" in expected) return { algorithm: "md5", start: expected.md5 };
  if ("unpublished" in expected) return { algorithm: "sha256", start: "" };
  const match = /^sha512-([A-Za-z0-9+/=]+)$/.exec(expected.integrity);
  if (!match) throw new TypeError(`${expected.integrity} is no sha512 integrity`);
  return { algorithm: "sha512", start: Buffer.from(match[1]!, "base64").toString("hex") };
}

async function digestOf(file: string, { algorithm }: WantedDigest): Promise<string> {
  const hash = createHash(algorithm);
  try {
    await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return "nothing";
    throw error;
  }
  return hash.digest("hex");
}

function megabytes(count: number): number {
  return Math.round(count / 1e6);
}
