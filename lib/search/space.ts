import { didYouMean, expected } from "../errors.js";
import type { Optimizer } from "../optim/optimizer.js";
import type { Schedule } from "../optim/schedule.js";
import type { Random } from "../random.js";
import { random } from "../random.js";
import { between, checkNumbers, gridPoints, type Numbers, type Range } from "./range.js";
import type { StudySpace } from "./study-trial.js";

/**
 * What a sweep goes over. Each of its dimensions is a list of values or, for numbers, a range. A dimension that an
 * optimizer does not have (momentum of Adam, batch size of L-BFGS) is left out of its trials.
 */
export interface SearchSpace {
  /** Base learning rates, above 0. */
  lr: Numbers;
  /** At least 0. */
  weightDecay: Numbers;
  /** A name stands for PyTorch's defaults, of LARS for VISSL's. */
  optimizer: (Optimizer | Optimizer["kind"])[];
  /** In [0, 1); takes the place of the optimizers' own where they have one. */
  momentum?: Numbers;
  /** Of optimizers given by name, where their momentum is above 0. Default false. */
  nesterov?: boolean;
  schedule: Schedule[];
  /** Images a step, at least 2. */
  batchSize: Numbers;
  /** Width of the hidden layers of heads that have some. */
  headWidth?: Numbers;
}

/** One point of a space: everything that one head is trained with. */
export interface SearchTrial {
  lr: number;
  weightDecay: number;
  optimizer: Optimizer;
  schedule: Schedule;
  /** undefined where the optimizer sees all images in every step. */
  batchSize?: number;
  headWidth?: number;
}

/**
 * - `grid`: every combination.
 * - `random`: so many independent draws, uniform in lists and linear ranges, log-uniform in logarithmic ones
 *   (Bergstra and Bengio 2012).
 */
export type Search = "grid" | "random";

const defaults: Record<Optimizer["kind"], Optimizer> = {
  sgd: { kind: "sgd", momentum: 0, nesterov: false },
  adam: { kind: "adam", beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
  adamw: { kind: "adamw", beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
  lars: { kind: "lars", momentum: 0.9, nesterov: false, trust: 0.001, epsilon: 1e-8 },
  lbfgs: { kind: "lbfgs", history: 100, lineSearch: "none" },
};

/** An optimizer by its name. @throws UserError where there is none of that name. */
export function optimizerOf(name: string): Optimizer {
  const found = Object.entries(defaults).find(([kind]) => kind === name);
  if (!found) throw expected("an optimizer", "--optimizer", name, didYouMean(name, Object.keys(defaults)));
  return { ...found[1] };
}

/**
 * The trials of a sweep, each once.
 *
 * @param options.count how many are drawn, of `random` alone. The first draws of a larger count are those of a smaller.
 * @returns the trials in order, and a sentence where combinations were the same trial.
 * @throws UserError where a dimension is empty or out of its bounds, or `count` and `search` do not fit.
 */
export function trialsOf(options: { space: SearchSpace; search: Search; count?: number; seed: number }): {
  trials: SearchTrial[];
  notes: string[];
} {
  const { space, search, count, seed } = options;
  checkSpace(space);
  if (search === "grid" && count !== undefined) {
    throw expected(
      "no number of trials",
      "a grid",
      count,
      "The lists tell how many they are; --search random draws so many.",
    );
  }
  if (search === "random" && !(count !== undefined && Number.isInteger(count) && count >= 1)) {
    throw expected("a number of trials of at least 1", "a random search", count);
  }
  const points = search === "grid" ? grid(space) : draws(space, count!, seed);
  const byText = new Map<string, SearchTrial>();
  for (const point of points) {
    const trial = trialOf(point, space);
    const text = JSON.stringify(trial);
    if (!byText.has(text)) byText.set(text, trial);
  }
  const repeated = points.length - byText.size;
  const what = search === "grid" ? "combinations" : "draws";
  const notes =
    repeated > 0 ? [`${repeated} of ${points.length} ${what} were the same as others, and are left out`] : [];
  return { trials: [...byText.values()], notes };
}

/**
 * A space as a study searches it: each range is a parameter, and all else is one value.
 *
 * @returns the ranges by their dimensions' names, and what makes a trial of a value for each.
 * @throws UserError where a dimension has several values, none has a range, or one is out of its bounds.
 */
export function studySpaceOf(space: SearchSpace): {
  ranges: StudySpace;
  trial: (parameters: Record<string, number>) => SearchTrial;
} {
  checkSpace(space);
  const given = dimensions.filter((name) => space[name] !== undefined);
  const ranges: StudySpace = {};
  const fixed: Record<string, unknown> = {};
  for (const name of given) {
    const values = space[name]!;
    if (!Array.isArray(values)) ranges[name] = { from: values.from, to: values.to, scale: values.scale };
    else if (values.length === 1) [fixed[name]] = values;
    else throw expected("one value or a range such as log(1e-4,1)", flagOf(name), values, "TPE searches ranges alone.");
  }
  if (Object.keys(ranges).length === 0) {
    throw expected("a range such as log(1e-4,1)", "--lr or --weight-decay", space.lr, "TPE searches ranges alone.");
  }
  return { ranges, trial: (parameters) => trialOf({ ...fixed, ...parameters } as unknown as Point, space) };
}

/** A value of every dimension, before what does not belong together is dropped. */
interface Point {
  optimizer: SearchSpace["optimizer"][number];
  momentum?: number;
  schedule: Schedule;
  batchSize: number;
  headWidth?: number;
  lr: number;
  weightDecay: number;
}

/** In this order, so that what trains together stands together; learning rate and weight decay run fastest. */
const dimensions = ["optimizer", "momentum", "schedule", "batchSize", "headWidth", "lr", "weightDecay"] as const;

type Dimension = (typeof dimensions)[number];

const numeric = ["lr", "weightDecay", "momentum", "batchSize", "headWidth"] as const;

function grid(space: SearchSpace): Point[] {
  return dimensions.reduce<Partial<Point>[]>(
    (partial, name) => {
      const values = space[name];
      if (values === undefined) return partial;
      const points: unknown[] = Array.isArray(values) ? values : gridPoints(values, flagOf(name));
      return partial.flatMap((point) => points.map((value) => ({ ...point, [name]: value })));
    },
    [{}],
  ) as Point[];
}

function draws(space: SearchSpace, count: number, seed: number): Point[] {
  const given = dimensions.filter((name) => space[name] !== undefined);
  return Array.from({ length: count }, (_, i) => {
    // A stream a dimension: to add one leaves the draws of the others as they were.
    const drawn = given.map((name) => [name, draw(space[name]!, random(seed, "search", i, name))] as const);
    return Object.fromEntries(drawn) as unknown as Point;
  });
}

function draw(values: readonly unknown[] | Range, stream: Random): unknown {
  if ("length" in values) return values[stream.integer(values.length)];
  return between(values, stream.uniform());
}

function trialOf(point: Point, { momentum, nesterov = false }: SearchSpace): SearchTrial {
  const { lr, weightDecay, schedule, headWidth } = point;
  const optimizer = momentumOf(point, momentum !== undefined, nesterov);
  return {
    lr,
    weightDecay,
    optimizer,
    schedule,
    ...(optimizer.kind !== "lbfgs" && { batchSize: Math.round(point.batchSize) }),
    ...(headWidth !== undefined && { headWidth: Math.round(headWidth) }),
  };
}

/** The optimizer with the point's momentum, if it has one. Nesterov's form needs some. */
function momentumOf({ optimizer: given, momentum }: Point, swept: boolean, nesterov: boolean): Optimizer {
  const optimizer = typeof given === "string" ? optimizerOf(given) : given;
  if (!("momentum" in optimizer)) return optimizer;
  const own = swept ? momentum! : optimizer.momentum;
  const wanted = typeof given === "string" ? nesterov : optimizer.nesterov;
  return { ...optimizer, momentum: own, nesterov: wanted && own > 0 };
}

function checkSpace(space: SearchSpace): void {
  for (const name of ["optimizer", "schedule"] as const) {
    if (space[name].length === 0) throw expected("at least one", flagOf(name), space[name]);
  }
  for (const name of numeric) if (space[name] !== undefined) checkNumbers(space[name], flagOf(name));
  const within = (name: (typeof numeric)[number], what: string, holds: (value: number) => boolean) => {
    const numbers = space[name];
    if (numbers === undefined) return;
    const wrong = (Array.isArray(numbers) ? numbers : [numbers.from, numbers.to]).find((value) => !holds(value));
    if (wrong !== undefined) throw expected(what, flagOf(name), wrong);
  };
  within("lr", "numbers above 0", (value) => value > 0);
  within("weightDecay", "numbers of at least 0", (value) => value >= 0);
  within("momentum", "numbers in [0, 1)", (value) => value >= 0 && value < 1);
  within("batchSize", "whole numbers of at least 2", (value) => Number.isInteger(value) && value >= 2);
  within("headWidth", "whole numbers of at least 1", (value) => Number.isInteger(value) && value >= 1);
  for (const optimizer of space.optimizer) if (typeof optimizer === "string") optimizerOf(optimizer);
  const without = space.optimizer.every((one) => !("momentum" in (typeof one === "string" ? optimizerOf(one) : one)));
  if (without && space.momentum !== undefined && !(Array.isArray(space.momentum) && space.momentum.length === 1)) {
    throw expected("an optimizer with momentum (sgd, lars)", "a sweep of --momentum", space.optimizer);
  }
}

function flagOf(name: Dimension): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
