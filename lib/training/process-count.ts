import os from "node:os";

import { currentBackend } from "../backend/backend.js";
import { headWidths } from "../heads/head.js";
import type { TrainingParts } from "./job.js";
import { divideEvenly, type TrainingPlan } from "./open-trainer.js";
import { areStored } from "./process-trainer.js";

/** Multiplications of a training below which starting processes costs more than they save. */
const leastWork = 1.5e11;

/** How much longer the longest share may be than the mean, where processes are chosen for the user. */
const mostUneven = 1.25;

/**
 * How many processes should train side by side: one a core where the features are stored, the processor computes, and the
 * trials divide about evenly among them; else one, this one.
 *
 * @param options.requested what the user wants; then only what is impossible is refused.
 */
export function processCount(options: { plan: TrainingPlan; parts: TrainingParts; requested?: number }): number {
  const { plan, parts, requested } = options;
  const backend = currentBackend();
  if (!backend || backend.device === "cuda" || !areStored(parts)) return 1;
  if (requested !== undefined) return requested;
  const cores = backend.device === "native" ? backend.threads : os.availableParallelism();
  const perStep = plan.heads.flat().reduce((sum, { spec }) => sum + weights(headWidths(spec, plan.classes)), 0);
  const work = 2 * perStep * plan.seeds.length * parts.train.rows.length * plan.epochs;
  if (work < leastWork) return 1;
  return divideEvenly(plan, cores) <= mostUneven ? cores : 1;
}

function weights(widths: number[]): number {
  return widths.slice(1).reduce((sum, width, i) => sum + (widths[i]! + 1) * width, 0);
}
