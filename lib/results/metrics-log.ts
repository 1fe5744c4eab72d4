import { appendFileSync, closeSync, fstatSync, ftruncateSync, openSync, readFileSync } from "node:fs";

import { asWriteError } from "../files.js";

/** Metrics of one moment of training, one line of `metrics.jsonl`. NaN and infinity are written as null. */
export interface MetricsLine {
  /** Whole passes over the training images, from 1. */
  epoch: number;
  seed: number;
  layer: string;
  head: string;
  /** Loss, accuracy, learning rate, the trial or a list a trial, …, under the field's names. */
  [name: string]: unknown;
}

/** A JSON-lines file that grows as training goes; `tail -f` shows it. */
export interface MetricsLog {
  append(line: MetricsLine): void;
  close(): void;
}

/**
 * @param keep whether the lines that are there stay, for a run that goes on; a last line without an end is cut off.
 * @throws UserError where the file cannot be written; on a full disk the lines before stay whole.
 */
export function openMetricsLog({ file, keep }: { file: string; keep: boolean }): MetricsLog {
  return guarded(file, () => {
    const descriptor = openSync(file, keep ? "a+" : "w");
    if (keep) ftruncateSync(descriptor, readFileSync(descriptor).lastIndexOf("\n") + 1);
    return {
      append: (line) => {
        const whole = fstatSync(descriptor).size;
        try {
          appendFileSync(descriptor, `${JSON.stringify(line)}\n`);
        } catch (error) {
          if (fstatSync(descriptor).size > whole) ftruncateSync(descriptor, whole);
          throw asWriteError(error, file);
        }
      },
      close: () => closeSync(descriptor),
    };
  });
}

function guarded<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asWriteError(error, file);
  }
}
