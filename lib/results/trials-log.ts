import { appendFileSync, closeSync, fstatSync, ftruncateSync, openSync, readFileSync } from "node:fs";

import { z } from "zod";

import { UserError } from "../errors.js";
import { asWriteError, readText } from "../files.js";
import { checked } from "./schema.js";

const value = z.number().nullable();

const pointSchema = z.strictObject({
  /** Whole passes over the training images, from 1. */
  epoch: z.number().int().positive(),
  /** On the sample of training images, one value a seed; null where not finite. */
  loss: z.array(value).min(1),
  /** The selection metric where it was measured, one value a seed. */
  selection: z.array(value).min(1).optional(),
});

const trialLineSchema = z.strictObject({
  /** Number of the trial in its sweep, from 0: the same for all layers and heads. */
  id: z.number().int().nonnegative(),
  layer: z.string().min(1),
  head: z.string().min(1),
  setting: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])),
  seeds: z.array(z.number().int()).min(1),
  /** Of successive halving, from 0, and the epochs of its training; without halving 0, and all. */
  rung: z.number().int().nonnegative(),
  epochs: z.number().int().positive(),
  curve: z.array(pointSchema),
  /** For some seed. */
  diverged: z.boolean(),
  /** The selection metric at the end of the rung, the mean over seeds; null where it diverged or nothing was chosen. */
  selection: value,
});

/** One training of one trial of one head: a line of `trials.jsonl`. */
export type TrialLine = z.infer<typeof trialLineSchema>;

/** The curves of a sweep, one line a training, in a JSON-lines file that grows rung by rung. */
export interface TrialsLog {
  /** Of one rung, all heads and trials together: either all of them stay, or none. */
  append(lines: readonly TrialLine[]): void;
  close(): void;
}

/**
 * @param rungs the lines of so many rungs stay, for a run that goes on after them; what follows is cut off, and so is a
 * line that a killed run left half-written.
 * @throws UserError where the file cannot be written, or what is to stay is damaged.
 */
export function openTrialsLog({ file, rungs }: { file: string; rungs: number }): TrialsLog {
  const descriptor = guarded(file, () => openSync(file, rungs > 0 ? "a+" : "w"));
  try {
    if (rungs > 0)
      guarded(file, () => ftruncateSync(descriptor, lengthOf(readFileSync(descriptor, "utf8"), rungs, file)));
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  return {
    append: (lines) => {
      const whole = fstatSync(descriptor).size;
      try {
        appendFileSync(descriptor, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
      } catch (error) {
        if (fstatSync(descriptor).size > whole) ftruncateSync(descriptor, whole);
        throw asWriteError(error, file);
      }
    },
    close: () => closeSync(descriptor),
  };
}

/**
 * Reads `trials.jsonl`.
 *
 * @throws UserError where there is none, or a line is not of this format; the message tells which.
 */
export async function readTrialsLog(file: string): Promise<TrialLine[]> {
  const text = await readText(file, "the trials of a run");
  const lines = text.split("\n");
  if (lines.at(-1) !== "") {
    throw new UserError(`Expected a whole last line in ${file} but it is cut off`, {
      hint: "The run was stopped while it wrote; the same command goes on, and mends it.",
    });
  }
  return lines.slice(0, -1).map((line, i) => parseLine(line, `line ${i + 1} of ${file}`));
}

function parseLine(line: string, where: string): TrialLine {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (error) {
    throw new UserError(`Expected JSON for ${where} but received text that does not parse`, { cause: error });
  }
  return checked(trialLineSchema, parsed, where);
}

/** Bytes of the whole lines of the first rungs. */
function lengthOf(text: string, rungs: number, file: string): number {
  let bytes = 0;
  for (const [i, line] of text.split("\n").slice(0, -1).entries()) {
    if (parseLine(line, `line ${i + 1} of ${file}`).rung >= rungs) break;
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
