import os from "node:os";

import { currentBackend } from "../backend/backend.js";
import { productSeconds } from "./cost.js";
import type { TrainingParts } from "./job.js";
import { divideEvenly, type TrainingPlan } from "./open-trainer.js";
import { areStored } from "./process-trainer.js";

/**
 * Seconds that the products of a training take on one core, below which processes cost more than they save: each needs
 * more than a second to start, and makes for itself what all trials share, the input.
 */
const leastSeconds = 4;

/** How much longer the longest share may be than the mean, where processes are chosen for the user. */
const mostUneven = 1.25;

/**
 * How many processes should train side by side: one a core where the features are stored, the processor computes, and
 * the trials divide about evenly among them; else one, this one.
 *
 * @param options.requested what the user wants; then only what is impossible is refused.
 */
export function processCount(options: { plan: TrainingPlan; parts: TrainingParts; requested?: number }): number {
  const { plan, parts, requested } = options;
  const backend = currentBackend();
  if (!backend || backend.gpu !== undefined || !areStored(parts)) return 1;
  if (requested !== undefined) return requested;
  const cores = backend.device === "native" ? backend.threads : os.availableParallelism();
  if (plan.epochs * productSeconds(plan, parts.train.rows.length) < leastSeconds) return 1;
  return divideEvenly(plan, cores) <= mostUneven ? cores : 1;
}
