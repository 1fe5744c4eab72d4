import { expected } from "../errors.js";
import { checkNumbers } from "./range.js";
import { type CompleteTrial, type Goal, ranked, type StudySpace, type StudyTrial } from "./study-trial.js";
import { startup, suggest } from "./tpe.js";

/** A search by TPE ({@link suggest}) that whoever trains asks for trials and tells their values. */
export interface Study {
  /** All that were asked for, in their order. */
  readonly trials: readonly StudyTrial[];
  /**
   * The next trials. Those that a stopped study had asked for and not been told of come first and by themselves, so
   * that a study which goes on asks in the same order as one that never stopped.
   *
   * @param count at least 1, at most so many are returned.
   */
  ask(count: number): StudyTrial[];
  /**
   * Ends trials, in one go.
   *
   * @param outcomes for each trial by its number its value. One that is not finite makes the trial a failed one.
   */
  tell(outcomes: { number: number; value: number }[]): void;
  /** The best of the complete trials, the first of equals; undefined before there is one. */
  best(): CompleteTrial | undefined;
}

export interface StudyOptions {
  space: StudySpace;
  goal: Goal;
  seed: number;
  /** Of a study that goes on: its trials, numbered from 0. */
  trials?: readonly StudyTrial[];
  /** Keeps trials that begin or end, before they are returned or count. */
  keep?: (trials: readonly StudyTrial[]) => void;
}

/**
 * How many trials to ask for together, where they train side by side: those that chance alone draws do not wait for
 * each other; of later ones, which are learnt, none knows the values of its round.
 *
 * @param asked how many were asked for before.
 * @param learnt later ones at once.
 */
export function roundSize(asked: number, learnt = 5): number {
  return asked < startup ? startup - asked : learnt;
}

/** The sizes of all rounds of a study of so many trials. */
export function roundSizes(trials: number): number[] {
  const sizes: number[] = [];
  for (let asked = 0; asked < trials; asked += sizes.at(-1)!) sizes.push(Math.min(roundSize(asked), trials - asked));
  return sizes;
}

/** @throws UserError where the space has no parameter, or a range without extent. */
export function openStudy({ space, goal, seed, trials: before = [], keep }: StudyOptions): Study {
  if (Object.keys(space).length === 0) throw expected("at least one parameter", "a study's space", space);
  for (const [name, range] of Object.entries(space)) checkNumbers(range, name);
  const trials = [...before];
  let left = trials.filter(({ state }) => state === "running").map(({ number }) => number);
  return {
    trials,
    ask: (count) => {
      if (!(Number.isInteger(count) && count >= 1))
        throw expected("a whole number above 0", "trials to ask for", count);
      const again = left.map((number) => trials[number]!).filter(({ state }) => state === "running");
      left = again.slice(count).map(({ number }) => number);
      if (again.length > 0) return again.slice(0, count);
      const asked: StudyTrial[] = [];
      for (let i = 0; i < count; i++) {
        const all = [...trials, ...asked];
        asked.push({ number: all.length, parameters: suggest({ space, goal, seed, trials: all }), state: "running" });
      }
      keep?.(asked);
      trials.push(...asked);
      return asked;
    },
    tell: (outcomes) => {
      const told = outcomes.map(({ number, value }): StudyTrial => {
        const trial = trials[number];
        if (trial?.state !== "running") throw expected("a trial that runs", "a value", number);
        const { parameters } = trial;
        return Number.isFinite(value)
          ? { number, parameters, state: "complete", value }
          : { number, parameters, state: "failed" };
      });
      if (new Set(told.map(({ number }) => number)).size < told.length)
        throw expected("each trial once", "the values", outcomes);
      keep?.(told);
      for (const trial of told) trials[trial.number] = trial;
    },
    best: () => ranked(trials, goal)[0],
  };
}
