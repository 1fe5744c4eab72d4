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
 * @param epochs the lines of so many epochs stay, for a run that goes on after them; what follows is cut off.
 * @throws UserError where the file cannot be written; on a full disk the lines before stay whole.
 */
export function openMetricsLog({ file, epochs }: { file: string; epochs: number }): MetricsLog {
  return guarded(file, () => {
    const descriptor = openSync(file, epochs > 0 ? "a+" : "w");
    if (epochs > 0) ftruncateSync(descriptor, lengthOf(readFileSync(descriptor, "utf8"), epochs));
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

/** Bytes of the whole lines up to an epoch. */
function lengthOf(text: string, epochs: number): number {
  let bytes = 0;
  for (const line of text.split("\n").slice(0, -1)) {
    if ((JSON.parse(line) as MetricsLine).epoch > epochs) break;
    bytes += Buffer.byteLength(line) + 1;
  }
  return bytes;
}

function guarded<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asWriteError(error, file);
  }
}
