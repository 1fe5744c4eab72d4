import { execFile } from "node:child_process";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { messageOf, UserError } from "../errors.js";
import { errorCode, sha256, writeFileAtomic } from "../files.js";
import { counted } from "../progress.js";
import type { Progress } from "../progress.js";
import { unfinished } from "./job.js";
import type { Endings, NumberedJob } from "./job.js";
import { arrayScript } from "./slurm-script.js";
import type { SlurmSettings } from "./slurm-script.js";

export interface RunOnSlurmOptions {
  jobs: NumberedJob[];
  folder: string;
  settings: SlurmSettings;
  /** Tasks of the array that run at once at most. */
  atOnce?: number;
  /** Threads of each job; by default its cores. */
  threads?: number;
  /** Told now and then in what state the jobs are. */
  look: (state: string) => Promise<void>;
  /** Milliseconds between two looks. */
  every: number;
  progress: Progress;
  /** Ends the following; the jobs go on. */
  signal?: AbortSignal;
}

/** A task of an array, as squeue tells it. */
interface Task {
  array: number;
  job: number;
  /** PENDING, RUNNING, COMPLETED, ... */
  state: string;
  /** Why it waits. */
  reason: string;
}

/**
 * Submits jobs as one job array and follows it to its end. Jobs that Slurm already has, from an earlier call, are
 * followed and not submitted again.
 *
 * @returns how those jobs ended that Slurm still knows of.
 * @throws UserError where Slurm is not there, or refuses the array.
 */
export async function runOnSlurm(options: RunOnSlurmOptions): Promise<Endings> {
  const { jobs, folder, settings, atOnce, threads, look, every, progress, signal } = options;
  const name = arrayName(folder);
  const known = await tasksOf(name);
  const under = new Set(known.filter(isActive).map(({ job }) => job));
  const absent = jobs.filter(({ number }) => !under.has(number));
  if (under.size > 0) progress.note(`with Slurm already: ${counted(under.size, "job")}`);
  if (absent.length > 0) {
    await writeFileAtomic(path.join(folder, "array.sh"), arrayScript({ name, settings, threads }));
    const array = await submit(folder, absent.map(({ number }) => number), atOnce); // prettier-ignore
    progress.note(
      `submitted ${counted(absent.length, "job")} to Slurm as array ${array}; their logs are in ${folder}/logs`,
    );
  }
  const endings: Endings = new Map();
  for (let silent = 0, idle = 0; ;) {
    if (signal?.aborted) {
      progress.note(`The jobs go on. scancel --name=${name} ends them.`);
      signal.throwIfAborted();
    }
    const tasks = await tasksOf(name).catch((error: unknown) => {
      // A controller that restarts is away for a while.
      if (!(error instanceof SlurmError) || ++silent > mostSilent) throw error;
      return undefined;
    });
    if (tasks) {
      silent = 0;
      const active = tasks.filter(isActive);
      for (const { job, state } of tasks) endings.set(job, state);
      await look(inWords(active));
      // A task that queues again may be away for a moment, and a shared file system may show late what a job has
      // written.
      idle = active.length === 0 ? idle + 1 : 0;
      if (idle > 0 && (idle === surelyIdle || (await unfinished(jobs)).length === 0)) return endings;
    }
    await sleep(every, undefined, { signal }).catch(() => {});
  }
}

/** Looks at which Slurm has none of the jobs, though not all are done, until they have failed. */
const surelyIdle = 3;

/** Looks without an answer until the following is given up. */
const mostSilent = 60;

/** By which Slurm knows the jobs of a folder, whichever call has submitted them. */
function arrayName(folder: string): string {
  return `frozen-eval-${sha256(path.resolve(folder)).slice(0, 12)}`;
}

async function submit(folder: string, numbers: number[], atOnce?: number): Promise<string> {
  const array = `--array=${ranges(numbers)}${atOnce === undefined ? "" : `%${atOnce}`}`;
  try {
    const answer = await slurm("sbatch", ["--parsable", array, "array.sh"], folder);
    return answer.trim().split(";")[0]!;
  } catch (error) {
    if (!(error instanceof SlurmError)) throw error;
    throw new UserError(`Expected Slurm to take the job array ${path.join(folder, "array.sh")} but ${error.said}`, {
      hint: "Its partition, time, memory and so on are settings: --slurm-partition, --slurm-time, --slurm-memory, ...",
      cause: error,
    });
  }
}

/** `1-3,7` for 1, 2, 3, 7. */
export function ranges(numbers: number[]): string {
  const found: [number, number][] = [];
  for (const number of numbers) {
    const last = found.at(-1);
    if (last?.[1] === number - 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(",");
}

/** The tasks of all arrays of this name that Slurm remembers, oldest first: those that ended it forgets after minutes. */
async function tasksOf(name: string): Promise<Task[]> {
  const format = "%F|%K|%T|%r";
  const answer = await slurm("squeue", ["--noheader", "--array", "--states=all", `--name=${name}`, `--format=${format}`]); // prettier-ignore
  const tasks = answer.split("\n").flatMap((line) => {
    const [array, job, state, reason] = line.trim().split("|");
    return state === undefined ? [] : [{ array: Number(array), job: Number(job), state, reason: reason ?? "" }];
  });
  return tasks.sort((one, other) => one.array - other.array);
}

const ended = /^(COMPLETED|CANCELLED|FAILED|TIMEOUT|NODE_FAIL|BOOT_FAIL|DEADLINE|OUT_OF_MEMORY|REVOKED|PREEMPTED)/;

function isActive({ state }: Task): boolean {
  return !ended.test(state);
}

/** `3 running, 5 pending (Resources)`. */
function inWords(active: Task[]): string {
  const states = [...new Set(active.map(({ state }) => state))];
  return states
    .map((state) => {
      const those = active.filter((task) => task.state === state);
      const reasons = new Set(those.map(({ reason }) => reason).filter((reason) => reason !== "None" && reason !== ""));
      return `${those.length} ${state.toLowerCase()}${reasons.size === 0 ? "" : ` (${[...reasons].join(", ")})`}`;
    })
    .join(", ");
}

/** A program of Slurm's complained. */
class SlurmError extends UserError {
  constructor(
    readonly said: string,
    cause: unknown,
  ) {
    super(`Expected Slurm to answer but ${said}`, { cause });
  }
}

async function slurm(program: string, argv: string[], cwd?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, argv, { cwd, maxBuffer: 2 ** 28 }, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      if (errorCode(error) === "ENOENT") {
        return reject(
          new UserError(`Expected Slurm's program ${program} for --launch slurm but it is not on this machine`, {
            hint: "Run the command on a login node of the cluster, or with --launch local:N on this machine.",
          }),
        );
      }
      const said = stderr.trim().replace(/\s*\n\s*/g, " ");
      reject(new SlurmError(`${program} said: ${said === "" ? messageOf(error) : said}`, error));
    });
  });
}
