import { expected } from "../errors.js";

/**
 * How the learning rate falls: a factor on each trial's base rate, so that one schedule serves a whole bank.
 *
 * - `constant`: 1.
 * - `multistep`: gamma to the number of milestones (epochs, counted from 0) that are reached.
 * - `cosine`: ½(1 + cos(π t/T)), t counted in epochs or in steps.
 *
 * Source: PyTorch's MultiStepLR and CosineAnnealingLR (η_min = 0); VISSL's multistep and cosine schedulers.
 */
export type Schedule =
  | { kind: "constant" }
  | { kind: "multistep"; milestones: number[]; gamma: number }
  | { kind: "cosine"; per: "epoch" | "step" };

export interface ScheduleMoment {
  /** From 0. */
  epoch: number;
  epochs: number;
  /** Step within the epoch, from 0. */
  step: number;
  stepsPerEpoch: number;
}

/** @returns the factor on the base learning rate at a step, in [0, 1] for the kinds here with gamma ≤ 1. */
export function learningRateFactor(schedule: Schedule, moment: ScheduleMoment): number {
  switch (schedule.kind) {
    case "constant":
      return 1;
    case "multistep":
      return schedule.gamma ** schedule.milestones.filter((milestone) => milestone <= moment.epoch).length;
    case "cosine": {
      const { epoch, epochs, step, stepsPerEpoch } = moment;
      const passed = schedule.per === "epoch" ? epoch / epochs : (epoch + step / stepsPerEpoch) / epochs;
      return 0.5 * (1 + Math.cos(Math.PI * passed));
    }
  }
}

/** @throws UserError where milestones do not rise or gamma is not in (0, 1]. */
export function checkSchedule(schedule: Schedule): void {
  if (schedule.kind !== "multistep") return;
  const { milestones, gamma } = schedule;
  if (milestones.some((milestone, i) => milestone <= (milestones[i - 1] ?? 0))) {
    throw expected("rising epochs above 0", "schedule.milestones", milestones);
  }
  if (!(gamma > 0 && gamma <= 1)) throw expected("a number in (0, 1]", "schedule.gamma", gamma);
}
