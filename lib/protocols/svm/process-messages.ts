import type { Device } from "../../backend/backend.js";
import type { SvmObjective, SvmProblem, SvmRows, SvmSolution } from "../../svm/problem.js";

/** What a process that solves SVMs is asked. */
export type Question =
  | { ask: "open"; device: Device; threads: number; rows: SvmRows; objective: SvmObjective }
  | { ask: "solve"; problems: SvmProblem[]; costs: number[] }
  | { ask: "abort" };

/** What it tells meanwhile. */
export type SolvingNews = { kind: "solved"; solution: SvmSolution } | { kind: "progress"; solved: number };
