import os from "node:os";

import { currentBackend } from "../../backend/backend.js";
import type { SvmObjective, SvmRows, SvmSolver } from "../../svm/problem.js";
import { openSvmSolver } from "../../svm/solver.js";
import { openProcessSolver } from "./process-solver.js";

/** Products with all rows that a problem takes at a cost, roughly, and such arithmetic in a second on one core. */
const work = { products: 25, perSecond: 5e10 };

/** Seconds of work below which processes cost more than they save: each starts, and prepares the rows for itself. */
const leastSeconds = 6;

/**
 * Solvers on the same rows, for units that are solved side by side: the one of this process, or where there is much to
 * do one a core, each in a process of its own: much of the work has one thread only. Who solves, and with how many
 * threads, depends on nothing but all the work, so that a run which is taken up gives the same bits.
 *
 * @param options.left units that are still to be solved, of all `units`.
 * @param options.problems at all costs, of all units.
 */
export async function openSolvers(options: {
  rows: SvmRows;
  objective: SvmObjective;
  units: number;
  left: number;
  problems: number;
}): Promise<SvmSolver[]> {
  const { rows, objective, left } = options;
  const backend = currentBackend();
  const processes = processCount(options);
  if (processes === 1 || !backend) return [await openSvmSolver({ rows, objective })];
  const threads = Math.max(1, Math.floor(backend.threads / processes));
  const { device } = backend;
  const opening = Array.from({ length: Math.min(processes, left) }, () =>
    openProcessSolver({ rows, objective, device, threads }),
  );
  const opened = await Promise.allSettled(opening);
  const failed = opened.find(({ status }) => status === "rejected");
  const solvers = opened.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  if (failed?.status !== "rejected") return solvers;
  solvers.forEach((solver) => solver.dispose());
  throw failed.reason;
}

function processCount({ rows, units, problems }: { rows: SvmRows; units: number; problems: number }): number {
  const { count, width } = rows;
  const backend = currentBackend();
  if (!backend || backend.device === "cuda") return 1;
  const product = 4 * count * Math.min(width, count / 2);
  if ((problems * work.products * product) / work.perSecond < leastSeconds) return 1;
  const cores = backend.device === "native" ? backend.threads : os.availableParallelism();
  // The rows and their Gram matrix, in the process and in its TensorFlow.
  const bytes = 8 * count * width + 8 * count * Math.min(count, 10_000) + 4e8;
  return Math.max(1, Math.min(units, cores, Math.floor(os.totalmem() / 2 / bytes)));
}
