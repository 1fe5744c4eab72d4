import { type ChildProcess, fork } from "node:child_process";
import os from "node:os";
import path from "node:path";

import type { Device } from "../backend/backend.js";
import { UserError } from "../errors.js";
import type { HeadWeights } from "../heads/head.js";
import type { TrainingJob, TrainingParts, Part } from "./job.js";
import type { Judgement, Score } from "./judging.js";
import type { Answer, Failure, Question, StoredPart, StoredParts } from "./process-messages.js";
import type { Trainer, TrainOptions } from "./trainer.js";

type Listeners = Pick<TrainOptions, "onResume" | "onSteps" | "onEpoch">;

/** A process that trains heads, of a TensorFlow with one thread. */
export interface TrainingProcess {
  ask<T>(question: Question): Promise<T>;
  /** What happens in a trainer while it trains. */
  listen(trainer: number, options: Listeners): void;
  end(): void;
}

/**
 * Starts processes that train side by side. Two TensorFlows of one thread each do the steps of small heads nearly twice
 * as fast as one of two threads, which wait for each other in every small operation.
 */
export async function startProcesses(options: { count: number; device: Device }): Promise<TrainingProcess[]> {
  const { count, device } = options;
  const processes = Array.from({ length: count }, start);
  const residentBytes = os.totalmem() / 4 / count;
  try {
    await Promise.all(processes.map((one) => one.ask({ ask: "prepare", device, residentBytes })));
  } catch (error) {
    processes.forEach((one) => one.end());
    throw error;
  }
  return processes;
}

/**
 * Makes glibc keep what TensorFlow gives back. By default a buffer above 32 MB (and smaller ones at first) comes from the
 * system page by page and goes back at once, in every step anew; other C libraries do not read it. What the user has set
 * stays.
 */
const keepBuffers = { MALLOC_MMAP_THRESHOLD_: String(2 ** 40), MALLOC_TRIM_THRESHOLD_: String(2 ** 40) };

function start(): TrainingProcess {
  const child = fork(path.join(__dirname, "trainer-process.js"), [], {
    env: { ...keepBuffers, ...process.env },
    serialization: "advanced",
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: unknown) => void }>();
  const listeners = new Map<number, Listeners>();
  let asked = 0;
  let ended: Error | undefined;
  child.on("message", (message: Answer) => {
    switch (message.kind) {
      case "answer":
        waiting.get(message.id)?.resolve(message.value as never);
        waiting.delete(message.id);
        break;
      case "failure":
        waiting.get(message.id)?.reject(asError(message.failure));
        waiting.delete(message.id);
        break;
      case "resumed":
        listeners.get(message.trainer)?.onResume?.(message.position);
        break;
      case "steps":
        listeners.get(message.trainer)?.onSteps?.(message.count);
        break;
      case "epoch":
        listeners.get(message.trainer)?.onEpoch?.(message.report);
    }
  });
  const onEnd = (why: string) => {
    ended ??= new UserError(`Expected a training process to finish but it ended (${why})`, {
      hint: "It may have run out of memory. The same command goes on; with --processes 1 it needs less.",
    });
    for (const { reject } of waiting.values()) reject(ended);
    waiting.clear();
  };
  child.on("exit", (code, signal) => onEnd(signal ?? `exit code ${code}`));
  child.on("error", ({ message }) => onEnd(message));
  return {
    ask: <T>(question: Question) =>
      new Promise<T>((resolve, reject) => {
        if (ended) return reject(ended);
        waiting.set(asked, { resolve, reject });
        // A process that has just gone cannot be told anything: its end is what answers.
        child.send({ id: asked++, question }, () => undefined);
      }),
    listen: (trainer, options) => listeners.set(trainer, options),
    end: () => endProcess(child),
  };
}

function endProcess(child: ChildProcess): void {
  child.removeAllListeners("exit");
  if (child.connected) child.disconnect();
}

function asError({ message, user, stack }: Failure): Error {
  if (user) return new UserError(message, user);
  return Object.assign(new Error(message), { stack });
}

/** Whether other processes can open the features of all parts. */
export function areStored({ train, select, report }: TrainingParts): boolean {
  return [train, select, report].every((part) => !part || part.source.stored !== undefined);
}

/** A trainer whose work another process does. The features have to be stored. */
export async function processTrainer(options: {
  on: TrainingProcess;
  job: TrainingJob;
  parts: TrainingParts;
}): Promise<Trainer> {
  const { on, job, parts } = options;
  const stored: StoredParts = {
    train: storedPart(parts.train),
    select: parts.select && storedPart(parts.select),
    report: storedPart(parts.report),
  };
  const { trainer, steps } = await on.ask<{ trainer: number; steps: number }>({ ask: "open", job, parts: stored });
  return {
    job,
    steps,
    train: async ({ checkpoint, signal, onResume, onSteps, onEpoch }) => {
      const failures: unknown[] = [];
      const abort = () => void on.ask({ ask: "abort", trainer }).catch(() => undefined);
      // A listener that throws (a full disk) stops the training here as it would in this process.
      const guarded =
        <T>(listener?: (value: T) => void) =>
        (value: T) => {
          try {
            if (failures.length === 0) listener?.(value);
          } catch (error) {
            failures.push(error);
            abort();
          }
        };
      on.listen(trainer, { onResume: guarded(onResume), onSteps: guarded(onSteps), onEpoch: guarded(onEpoch) });
      if (signal?.aborted) abort();
      signal?.addEventListener("abort", abort, { once: true });
      try {
        await on.ask({ ask: "train", trainer, checkpoint });
        if (failures.length > 0) throw failures[0];
      } catch (error) {
        if (failures.length > 0) throw failures[0];
        signal?.throwIfAborted();
        throw error;
      } finally {
        signal?.removeEventListener("abort", abort);
      }
    },
    diverged: () => on.ask<boolean[][][]>({ ask: "diverged", trainer }),
    judge: (wanted) => on.ask<Judgement[][][]>({ ask: "judge", trainer, ...wanted }),
    scores: () => on.ask<Score[][][]>({ ask: "scores", trainer }),
    weights: (place) => on.ask<HeadWeights>({ ask: "weights", trainer, place }),
    close: () => on.ask({ ask: "close", trainer }),
  };
}

function storedPart({ source, rows }: Part): StoredPart {
  if (!source.stored) throw new Error("Another process can only open features that are stored");
  return { stored: source.stored, rows };
}
