import type { Range } from "./range.js";

/** What a study searches: a range for each parameter. */
export type StudySpace = Record<string, Range>;

export type Goal = "maximize" | "minimize";

/** One point of a study's space, and what came of it. */
export interface StudyTrial {
  /** 0, 1, … in the order in which trials were asked for. */
  number: number;
  /** Of each name in the space a value in its range. */
  parameters: Record<string, number>;
  /** `failed`: its value was no number. Nothing is learnt from it. */
  state: "running" | "complete" | "failed";
  /** Of a complete trial. */
  value?: number;
}

export interface CompleteTrial extends StudyTrial {
  state: "complete";
  value: number;
}

export function isComplete(trial: StudyTrial): trial is CompleteTrial {
  return trial.state === "complete";
}

/** Complete trials, the best first, the earlier of equals. */
export function ranked(trials: readonly StudyTrial[], goal: Goal): CompleteTrial[] {
  const sign = goal === "maximize" ? 1 : -1;
  return trials.filter(isComplete).sort((a, b) => sign * (b.value - a.value));
}
