import type { HeadBank } from "../heads/bank.js";
import { headWidths } from "../heads/head.js";
import type { Candidate, TrainingPlan } from "./open-trainer.js";

/** Multiplications and additions a second, about what a core does. */
const perSecond = 5e10;

/**
 * Seconds of a core that a step of a head takes beside the products of its trials: calls, the batch, its normalisation.
 * Measured: 3 to 5 ms for fc of 64 to 2048 numbers, 10 for bn_fc of 512.
 */
const perStep = 4e-3;

type Work = Pick<TrainingPlan, "heads" | "seeds" | "classes">;

/** Seconds that the products of one pass over the images take on one core. */
export function productSeconds(plan: Work, images: number): number {
  const products = plan.heads.flat().reduce((sum, candidate) => sum + weights(candidate, plan.classes), 0);
  return (4 * products * plan.seeds.length * images) / perSecond;
}

/** Seconds of a core that a step of a bank takes, roughly. */
export function stepSeconds({ parts }: HeadBank, batchSize: number): number {
  const parameters = parts.flatMap(({ blocks }) => blocks.flatMap(({ block }) => block.body.parameters));
  const size = parameters.reduce((sum, { parameter }) => sum + parameter.value.size, 0);
  return perStep * parts.length + (4 * size * batchSize) / perSecond;
}

/**
 * What a step costs beside its trials, in trials: 1 for a head of 2048 numbers and 100 classes, hundreds for one of 64
 * numbers and 10 classes. None for L-BFGS, which goes through all images for each few trials.
 */
export function stepOverhead(plan: Work, images: number): number {
  const trials = plan.heads[0]!.length;
  const batchSizes = [...new Set(plan.heads.flat().map(({ batchSize }) => batchSize))];
  const steps = batchSizes.reduce<number>((sum, size) => sum + (size === undefined ? 0 : Math.ceil(images / size)), 0);
  return (steps * plan.heads.length * perStep * trials) / productSeconds(plan, images);
}

function weights({ spec }: Candidate, classes: number): number {
  const widths = headWidths(spec, classes);
  return widths.slice(1).reduce((sum, width, i) => sum + (widths[i]! + 1) * width, 0);
}
