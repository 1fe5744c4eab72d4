import { statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parentPort, Worker, workerData } from "node:worker_threads";

import { asReadError } from "../files.js";
import { UserError } from "../errors.js";

/** Files asked for at a time. */
const piece = 4096;

/** From so many files on, threads ask for them. */
const manyFiles = 16 * piece;

/**
 * Size and modification time of files, in their order and a few thousand at a time. Where there are many, threads ask:
 * a network's answers take long, and of ten million files the processor's part alone is half a minute.
 *
 * @param options.files paths below `root`, or absolute; no line break in them.
 * @returns for each piece of files two numbers a file: bytes and milliseconds; -1 and 0 where there is no such file, or
 * what is there is no file.
 */
export async function* fileStats(options: { root: string; files: string[] }): AsyncGenerator<Float64Array, void> {
  const { root, files } = options;
  const pieces = Math.ceil(files.length / piece);
  const some = (i: number) => files.slice(i * piece, (i + 1) * piece);
  if (files.length < manyFiles) {
    for (let i = 0; i < pieces; i++) yield statsOf(root, some(i));
    return;
  }
  const threads = Array.from({ length: Math.min(pieces, os.availableParallelism() + 2) }, () => openThread(root));
  try {
    const asked: Promise<Float64Array>[] = [];
    const ask = (i: number) => {
      const answer = threads[i % threads.length]!(some(i));
      // It is awaited in its turn; until then a failure must not count as unhandled.
      answer.catch(() => undefined);
      asked.push(answer);
    };
    let next = 0;
    for (let i = 0; i < pieces; i++) {
      while (next < Math.min(pieces, i + 4 * threads.length)) ask(next++);
      yield await asked.shift()!;
    }
  } finally {
    for (const thread of threads) thread.end();
  }
}

function statsOf(root: string, files: string[]): Float64Array {
  const stats = new Float64Array(2 * files.length);
  files.forEach((file, i) => {
    // As path.resolve does, in a fraction of its time: the system understands what is left of "." and "..".
    const stat = statOf(path.isAbsolute(file) ? file : `${root}${path.sep}${file}`);
    stats[2 * i] = stat?.size ?? -1;
    stats[2 * i + 1] = Math.trunc(stat?.mtimeMs ?? 0);
  });
  return stats;
}

function statOf(file: string): { size: number; mtimeMs: number } | undefined {
  try {
    const stat = statSync(file, { throwIfNoEntry: false });
    return stat?.isFile() ? stat : undefined;
  } catch (error) {
    if (asReadError(error, file, "an image") instanceof UserError) return undefined;
    throw error;
  }
}

interface StatThread {
  (files: string[]): Promise<Float64Array>;
  end(): void;
}

/** A thread that answers in the order in which it is asked. */
function openThread(root: string): StatThread {
  const worker = new Worker(__filename, { workerData: { root } satisfies StatThreadData });
  const waiting: { resolve: (stats: Float64Array) => void; reject: (error: Error) => void }[] = [];
  const fail = (error: Error) => waiting.splice(0).forEach(({ reject }) => reject(error));
  worker.on("message", (stats: Float64Array) => waiting.shift()?.resolve(stats));
  worker.on("error", fail);
  worker.on("exit", (code) => fail(new Error(`A thread that asks for files ended with code ${code}`)));
  const ask = (files: string[]) =>
    new Promise<Float64Array>((resolve, reject) => {
      waiting.push({ resolve, reject });
      // One text is handed over much faster than many.
      worker.postMessage(files.join("\n"));
    });
  return Object.assign(ask, { end: () => void worker.terminate() });
}

interface StatThreadData {
  root: string;
}

const port = parentPort;
if (port && isStatThread(workerData)) {
  const { root } = workerData;
  port.on("message", (files: string) => {
    const stats = statsOf(root, files.split("\n"));
    port.postMessage(stats, [stats.buffer as ArrayBuffer]);
  });
}

/** Other programs' worker threads may load this module too. */
function isStatThread(data: unknown): data is StatThreadData {
  return typeof data === "object" && data !== null && Object.keys(data).join() === "root";
}
