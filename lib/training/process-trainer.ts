import os from "node:os";
import path from "node:path";

import { type AskedProcess, keptBuffers, startProcess } from "../asked-process.js";
import type { Device } from "../backend/backend.js";
import type { HeadWeights } from "../heads/head.js";
import type { TrainingJob, TrainingParts, Part } from "./job.js";
import type { Judgement, Score } from "./judging.js";
import type { Question, StoredPart, StoredParts, TrainerNews } from "./process-messages.js";
import type { Trainer, TrainOptions } from "./trainer.js";

type Listeners = Pick<TrainOptions, "onResume" | "onSteps" | "onEpoch">;

/** A process that trains heads, of a TensorFlow with one thread. */
export interface TrainingProcess extends AskedProcess<Question> {
  /** What happens in a trainer while it trains. */
  listen(trainer: number, options: Listeners): void;
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

function start(): TrainingProcess {
  const listeners = new Map<number, Listeners>();
  const started = startProcess<Question, TrainerNews>({
    module: path.join(__dirname, "trainer-process.js"),
    name: "a training process",
    hint: "It may have run out of memory. The same command goes on; with --processes 1 it needs less.",
    environment: keptBuffers,
    onNews: (news) => {
      const { onResume, onSteps, onEpoch } = listeners.get(news.trainer) ?? {};
      switch (news.kind) {
        case "resumed":
          return onResume?.(news.position);
        case "steps":
          return onSteps?.(news.count);
        case "epoch":
          return onEpoch?.(news.report);
      }
    },
  });
  return { ...started, listen: (trainer, options) => listeners.set(trainer, options) };
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
