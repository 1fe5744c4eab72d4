import { z } from "zod";

import { UserError } from "../errors.js";
import { parseLaunch } from "../launch/place.js";
import { slurmField } from "./slurm.js";

/** Settings of commands whose work can be done by jobs: in processes of this machine, or on a cluster. */
export const launchFields = {
  launch: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Do the work as jobs, and put together what they made: local:4 runs four at once in processes here, slurm a job " +
        "array, slurm:16 one of which 16 run at once",
    )
    .meta({ group: "Several machines", placeholder: "local:N|slurm[:N]", expected: "local:N, slurm or slurm:N" }),
  slurm: slurmField,
};

/** Rules between `launchFields` and a dry run. */
export function checkLaunch(settings: { launch?: string; slurm?: object; dryRun: boolean }): void {
  const { launch, slurm = {}, dryRun } = settings;
  const kind = launch === undefined ? undefined : parseLaunch(launch).kind;
  const lone = Object.keys(slurm)[0];
  if (kind !== "slurm" && lone !== undefined) {
    throw new UserError(`Expected --slurm-${lone} with --launch slurm but received it without`);
  }
  if (kind !== undefined && dryRun) {
    throw new UserError("Expected either --launch or --dry-run but received both", {
      hint: "A dry run measures on this machine.",
    });
  }
}
