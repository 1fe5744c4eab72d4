import { expected } from "../errors.js";

/** Where jobs run: in processes of this machine, or in a job array of Slurm's. */
export type LaunchPlace =
  | { kind: "local"; processes: number }
  /** `jobs`: how many run at once at most; work that is divided anyhow is divided into so many. */
  | { kind: "slurm"; jobs?: number };

/**
 * `local:4`, `slurm` or `slurm:16`.
 *
 * @throws UserError where it is none of them.
 */
export function parseLaunch(text: string, flag = "--launch"): LaunchPlace {
  const [, kind, digits] = /^(local|slurm)(?::([1-9]\d{0,5}))?$/.exec(text) ?? [];
  const count = digits === undefined ? undefined : Number(digits);
  if (kind === "slurm") return { kind, jobs: count };
  if (kind === "local" && count !== undefined) return { kind, processes: count };
  throw expected("local:N, slurm or slurm:N", flag, text, "For example local:4 for four processes on this machine.");
}
