import { appendFileSync, closeSync, fstatSync, ftruncateSync, openSync, readFileSync } from "node:fs";

import { asWriteError } from "../files.js";

/** A file of JSON lines that grows as a run goes; `tail -f` shows it. NaN and infinity are written as null. */
export interface JsonLines<T> {
  /** All lines of one call stay, or none. */
  append(lines: readonly T[]): void;
  close(): void;
}

export interface JsonLinesOptions<T> {
  file: string;
  /**
   * Of a run that goes on: whether a line that is there stays. The first that does not is cut off with all that
   * follows, and so is a line that a killed run left half-written. Without it the file begins anew.
   */
  stays?: (line: T) => boolean;
}

/** @throws UserError where the file cannot be written; on a full disk the lines before stay whole. */
export function openJsonLines<T>({ file, stays }: JsonLinesOptions<T>): JsonLines<T> {
  let descriptor: number;
  try {
    descriptor = openSync(file, stays ? "a+" : "w");
    if (stays) ftruncateSync(descriptor, lengthOf(readFileSync(descriptor, "utf8"), stays));
  } catch (error) {
    throw asWriteError(error, file);
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

/** Bytes of the whole lines before the first that does not stay. */
function lengthOf<T>(text: string, stays: (line: T) => boolean): number {
  let bytes = 0;
  for (const line of text.split("\n").slice(0, -1)) {
    if (!stays(JSON.parse(line) as T)) break;
    bytes += Buffer.byteLength(line) + 1;
  }
  return bytes;
}
