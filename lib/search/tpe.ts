import { random } from "../random.js";
import { drawPoint, logDensity, parzenEstimator, type ParzenEstimator } from "./parzen-estimator.js";
import { between, shareOf } from "./range.js";
import { type Goal, ranked, type StudySpace, type StudyTrial } from "./study-trial.js";

/** Complete trials from which on it is not chance alone that draws. */
export const startup = 10;
/** Points of which the most promising is taken. */
const candidates = 24;

/** How many of n complete trials are good: a tenth, at most 25. */
const goodOf = (n: number) => Math.min(Math.ceil(n / 10), 25);

export interface TpeOptions {
  space: StudySpace;
  goal: Goal;
  seed: number;
  /** All before the one that is suggested, in their order. */
  trials: readonly StudyTrial[];
}

/**
 * The parameters of a study's next trial, by the tree-structured Parzen estimator in its multivariate form: of the good
 * trials' density 24 points are drawn, and the one is taken where it stands highest above the others' density. Before
 * ten trials are complete, parameters are drawn as a random search draws them.
 *
 * Trials that run count as bad ones (the "constant liar"), so that trials which are asked for together lie apart.
 * Seed and number of the trial decide what is drawn, so a study that goes on draws what it would have drawn.
 *
 * Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization (2011); Falkner et al., BOHB (2018), for one
 * density over all parameters; numbers and rules of Optuna 5.0's `TPESampler(multivariate=True, constant_liar=True)`.
 *
 * @returns a value for each name in the space, rounded to ten digits.
 */
export function suggest({ space, goal, seed, trials }: TpeOptions): Record<string, number> {
  const number = trials.length;
  const ranges = Object.entries(space);
  const complete = ranked(trials, goal);
  if (complete.length < startup) {
    const drawn = ranges.map(([name, range]) => [name, between(range, random(seed, "search", number, name).uniform())]);
    return Object.fromEntries(drawn) as Record<string, number>;
  }
  const { good, bad } = goodAndBad({ space, goal, trials });
  const stream = random(seed, "tpe", number);
  const points = Array.from({ length: candidates }, () => drawPoint(good, stream));
  const gains = points.map((point) => logDensity(good, point) - logDensity(bad, point));
  const chosen = points[gains.indexOf(Math.max(...gains))]!;
  return Object.fromEntries(ranges.map(([name, range], d) => [name, between(range, chosen[d]!)]));
}

/** The densities of the good and of all other trials, the dimensions in the order of the space. */
export function goodAndBad({ space, goal, trials }: Omit<TpeOptions, "seed">): {
  good: ParzenEstimator;
  bad: ParzenEstimator;
} {
  const complete = ranked(trials, goal);
  const best = new Set<StudyTrial>(complete.slice(0, goodOf(complete.length)));
  const ranges = Object.entries(space);
  const estimate = (some: StudyTrial[]) => {
    const points = some.map(({ parameters }) => ranges.map(([name, range]) => shareOf(range, parameters[name]!)));
    return parzenEstimator(points, ranges.length);
  };
  return {
    good: estimate(trials.filter((trial) => best.has(trial))),
    bad: estimate(trials.filter((trial) => trial.state !== "failed" && !best.has(trial))),
  };
}
