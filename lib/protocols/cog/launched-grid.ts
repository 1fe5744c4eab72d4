import fs from "node:fs/promises";
import path from "node:path";

import type { Device } from "../../backend/backend.js";
import { digestOf, exists } from "../../files.js";
import type { Job } from "../../launch/job.js";
import { launch, type LaunchOptions } from "../../launch/launch.js";
import type { LevelResult } from "../../results/levels.js";
import { type GridOptions, type GridRun, nameOfRun, runGrid, withFeatures } from "./grid.js";
import { finishedSeeds, runArguments } from "./grid-jobs.js";
import { finishedLogreg } from "./logreg.js";
import { logregDefaults } from "./protocol.js";

export interface LaunchGridOptions
  extends Omit<GridOptions, "execute">, Pick<LaunchOptions, "place" | "slurm" | "threads" | "every"> {
  /** What computes in the jobs. Default: the first that works. */
  device?: Device | "auto";
}

/**
 * The grid, its missing runs done by jobs side by side: each is a command `eval-logreg`. The table and the figures are
 * those of `runGrid`. What belongs to the jobs is in `launch-<digest>/` in `out`.
 *
 * @throws UserError as `runGrid` and `launch`.
 */
export async function launchGrid(options: LaunchGridOptions): Promise<LevelResult[]> {
  const execute = async (runs: GridRun[]) => {
    const jobs: Job[] = [];
    for (const run of runs) jobs.push(await jobOf(run, options));
    const folder = path.join(options.out, `launch-${digestOf(jobs.map(({ argv }) => argv)).slice(0, 8)}`);
    await launch({ ...options, folder, jobs, unit: "seeds" });
  };
  return runGrid({ ...options, execute });
}

async function jobOf(run: GridRun, options: LaunchGridOptions): Promise<Job> {
  const { protocol, device = "auto", signal } = options;
  signal?.throwIfAborted();
  const { seeds } = { ...logregDefaults, ...protocol };
  const argv = await withFeatures(run, options, async (given) => {
    const record = path.join(run.out, "result.json");
    const there = await exists(record);
    const finished = await finishedLogreg(given);
    // One of other images is not this run's: the job makes it anew. One that came while we looked a job at work has
    // made.
    if (there && !finished) await fs.rm(record);
    return [...(await runArguments(run, { protocol, layer: given.layers[0] })), "--device", device];
  });
  return { label: nameOfRun(run), argv, total: seeds.length, done: () => finishedSeeds(run, options) };
}
