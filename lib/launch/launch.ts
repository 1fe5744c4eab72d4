import path from "node:path";

import { UserError } from "../errors.js";
import { exists } from "../files.js";
import { withLock } from "../lock.js";
import { counted, silent } from "../progress.js";
import type { Progress } from "../progress.js";
import { lastLines, unfinished, writeJobs } from "./job.js";
import type { Endings, Job, NumberedJob } from "./job.js";
import { runLocally } from "./local.js";
import type { LaunchPlace } from "./place.js";
import { runOnSlurm } from "./slurm.js";
import type { SlurmSettings } from "./slurm-script.js";

export interface LaunchOptions {
  jobs: Job[];
  /** Takes the jobs' scripts and logs, and Slurm's script. */
  folder: string;
  place: LaunchPlace;
  slurm?: SlurmSettings;
  /** Threads of each job. Default: this machine's cores divided among local processes; what Slurm gives. */
  threads?: number;
  /** What the jobs count, e.g. `images`. */
  unit: string;
  progress?: Progress;
  /** Local jobs stop after the step in hand; those of Slurm go on. */
  signal?: AbortSignal;
  /** Milliseconds between two looks at the jobs. */
  every?: number;
}

/**
 * Runs those of the jobs that are not done, and follows them to their end. Whether a job is done is asked of the job,
 * so another call does what is missing.
 *
 * @throws UserError where a job did not finish, with the last lines of its log.
 */
export async function launch(options: LaunchOptions): Promise<void> {
  const { folder, signal } = options;
  signal?.throwIfAborted();
  const busy = (holder: string) => {
    throw new UserError(`Expected to launch the jobs of ${folder} alone but ${holder} launches and follows them now`, {
      hint: "Wait until it is done, or stop it first.",
    });
  };
  await withLock({ file: path.join(folder, "lock"), waiting: busy }, async () => {
    const jobs = await writeJobs(folder, options.jobs);
    const missing = await unfinished(jobs);
    if (missing.length === 0) return;
    const endings = await followed(options, jobs, missing);
    const failed = await unfinished(missing);
    if (failed.length > 0) throw await failure(failed, jobs, endings);
  });
}

/** Runs jobs while a bar tells what all of them have done. */
async function followed(options: LaunchOptions, jobs: NumberedJob[], missing: NumberedJob[]): Promise<Endings> {
  const { place, folder, slurm, threads, unit, progress = silent, signal, every } = options;
  const total = jobs.reduce((sum, job) => sum + job.total, 0);
  const counts = async () => (await Promise.all(jobs.map((job) => job.done()))).reduce((sum, done) => sum + done, 0);
  const task = progress.task({ label: counted(jobs.length, "job"), total, unit });
  let told = 0;
  const look = async (state: string) => {
    const done = await counts();
    task.advance(Math.max(0, done - told), state);
    told = Math.max(told, done);
  };
  try {
    const running = { jobs: missing, folder, threads, look, signal };
    return place.kind === "local"
      ? await runLocally({ ...running, processes: place.processes, every: every ?? 1000 })
      : await runOnSlurm({ ...running, atOnce: place.jobs, settings: slurm ?? {}, progress, every: every ?? 3000 });
  } finally {
    await look("");
    task.end();
  }
}

async function failure(failed: NumberedJob[], jobs: NumberedJob[], endings: Endings): Promise<UserError> {
  const [first] = failed as [NumberedJob, ...NumberedJob[]];
  const ending = endings.get(first.number) ?? "without a word";
  const others = failed.length === 1 ? "" : `, and ${failed.length - 1} more did not finish either`;
  const log = path.resolve(first.log);
  const said = (await exists(log)) ? `${log} ends:\n${await lastLines(log)}` : `it has no log at ${log}`;
  return new UserError(
    `Expected ${counted(jobs.length, "job")} to finish but job ${first.number} (${first.label}) ended: ${ending}${others}; ${said}`,
    { hint: "The same command does only what is missing." },
  );
}
