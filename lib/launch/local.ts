import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import fs from "node:fs/promises";
import os from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import { visibleGpus } from "../backend/gpu.js";
import type { Endings, NumberedJob } from "./job.js";

export interface RunLocallyOptions {
  jobs: NumberedJob[];
  /** Jobs that run at once. */
  processes: number;
  /** Threads of each; by default they share the cores. */
  threads?: number;
  /** Told now and then in what state the jobs are. */
  look: (state: string) => Promise<void>;
  /** Milliseconds between two looks. */
  every: number;
  signal?: AbortSignal;
}

/**
 * Runs jobs in processes of this machine, so many at a time. One that fails does not stop the others. Where there are
 * several GPUs, each process sees one.
 */
export async function runLocally(options: RunLocallyOptions): Promise<Endings> {
  const { jobs, processes, look, every, signal } = options;
  const threads = options.threads ?? Math.max(1, Math.floor(os.availableParallelism() / processes));
  const endings: Endings = new Map();
  const gpus = await visibleGpus();
  const waiting = [...jobs];
  const running = new Set<ChildProcess>();
  const work = async (place: number) => {
    const environment = gpus.length > 1 ? { CUDA_VISIBLE_DEVICES: gpus[place % gpus.length]! } : {};
    for (let job = waiting.shift(); job && !signal?.aborted; job = waiting.shift()) {
      const ending = await run({ job, threads, environment, running });
      if (ending !== undefined) endings.set(job.number, ending);
    }
  };
  const stop = () => running.forEach((child) => child.kill("SIGTERM"));
  signal?.addEventListener("abort", stop, { once: true });
  const over = new AbortController();
  const looking = (async () => {
    while (!over.signal.aborted) {
      await look(`${running.size} running${waiting.length > 0 ? `, ${waiting.length} waiting` : ""}`);
      await sleep(every, undefined, { signal: over.signal }).catch(() => {});
    }
  })();
  try {
    await Promise.all(Array.from({ length: Math.min(processes, jobs.length) }, (_, place) => work(place)));
  } finally {
    over.abort();
    signal?.removeEventListener("abort", stop);
    await looking;
  }
  signal?.throwIfAborted();
  return endings;
}

/** @returns how it ended, where not with exit code 0. */
async function run(options: {
  job: NumberedJob;
  threads: number;
  environment: NodeJS.ProcessEnv;
  running: Set<ChildProcess>;
}): Promise<string | undefined> {
  const { job, threads, environment, running } = options;
  const log = await fs.open(job.log, "a");
  try {
    // A process group of its own: Ctrl-C reaches it once, through us, for a second one would end it at once. Over the
    // channel nothing is said: where it breaks, we have been killed, and the job stops as by SIGTERM.
    const child = spawn("sh", [job.script, "--threads", String(threads), "--workers", String(threads)], {
      detached: true,
      env: { ...process.env, ...environment },
      stdio: ["ignore", log.fd, log.fd, "ipc"],
    });
    running.add(child);
    try {
      return await new Promise((resolve, reject) => {
        child.on("error", reject);
        child.on("exit", (code, signal) => resolve(code === 0 ? undefined : (signal ?? `exit code ${code}`)));
      });
    } finally {
      running.delete(child);
    }
  } finally {
    await log.close();
  }
}
