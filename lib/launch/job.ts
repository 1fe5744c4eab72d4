import fs from "node:fs/promises";
import path from "node:path";

import { asWriteError, errorCode, writeFileAtomic } from "../files.js";
import { packageRoot } from "../package.js";

/**
 * A command of this program that may be run again at any time: what it has done it does not do again, and what was
 * killed half-way goes on.
 */
export interface Job {
  /** What it does, for people, e.g. `photos 3/8`. */
  label: string;
  /** The command, e.g. `["extract-features", "--shard", "3/8"]`. It takes `--threads` and `--workers` too. */
  argv: string[];
  /** Units of work: images, runs. At least 1. */
  total: number;
  /** How many of them are on the disk now, as what the job writes there says. */
  done(): Promise<number>;
}

/** A job with its number, from 1 on, and its files. */
export interface NumberedJob extends Job {
  number: number;
  /** The shell script that runs it; arguments are handed on to the program. */
  script: string;
  /** What it said, in all its runs. */
  log: string;
}

/** How jobs ended, by their number, in words: `exit code 2`, `OUT_OF_MEMORY`. */
export type Endings = Map<number, string>;

/**
 * Writes `jobs/<number>.sh` for each job into a folder: a shell script that does the job from where the user stands
 * now, by hand too.
 */
export async function writeJobs(folder: string, jobs: Job[]): Promise<NumberedJob[]> {
  const numbered = jobs.map((job, i) => ({ ...job, number: i + 1, ...jobFiles(folder, i + 1) }));
  const program = [process.execPath, path.join(packageRoot, "cli", "bin", "frozen-eval.cjs")];
  await fs.mkdir(path.join(folder, "logs"), { recursive: true }).catch((error: unknown) => {
    throw asWriteError(error, folder);
  });
  for (const { label, argv, number, script } of numbered) {
    const command = [...program, ...argv].map(quoted).join(" ");
    const lines = ["#!/bin/sh", `# Job ${number} of ${jobs.length}: ${label.replace(/\s+/g, " ")}`, `cd ${quoted(process.cwd())} || exit 1`]; // prettier-ignore
    await writeFileAtomic(script, `${lines.join("\n")}\nexec ${command} "$@"\n`);
  }
  return numbered;
}

/** Those that have something left to do. */
export async function unfinished(jobs: NumberedJob[]): Promise<NumberedJob[]> {
  const done = await Promise.all(jobs.map((job) => job.done()));
  return jobs.filter((job, i) => done[i]! < job.total);
}

function jobFiles(folder: string, number: number): { script: string; log: string } {
  return { script: path.join(folder, "jobs", `${number}.sh`), log: path.join(folder, "logs", `${number}.log`) };
}

/** The last lines of a job's log that are not empty; "" where it has none. */
export async function lastLines(file: string, count = 8): Promise<string> {
  const handle = await fs.open(file).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  });
  if (!handle) return "";
  try {
    const { size } = await handle.stat();
    const piece = Buffer.alloc(Math.min(size, 16_384));
    await handle.read(piece, 0, piece.length, size - piece.length);
    const lines = piece.toString("utf8").split("\n").filter((line) => line.trim() !== ""); // prettier-ignore
    return lines.slice(-count).join("\n");
  } finally {
    await handle.close();
  }
}

/** An argument as the shell takes it for itself. */
function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
