import { expected } from "../errors.js";

/**
 * How the learning rate moves: a factor on each trial's base rate, so that one schedule serves a whole bank.
 *
 * With `where`, the part of training that is done (in [0, 1)), e = ⌊where · epochs⌋, the factor is
 *
 * - `constant`: `factor`, 1 where undefined.
 * - `multistep`: gamma to the number of milestones (epochs, counted from 0) up to e; or the factor of that number.
 * - `step`: the factors one after the other, each for an equal share of training.
 * - `step_with_fixed_gamma`: gamma to the number of decays so far, `decays` in all, at equal distances.
 * - `cosine`: end + ½(start − end)(1 + cos(π·where)); from 1 to 0 where undefined.
 * - `linear`: start + (end − start)·where.
 * - `inverse_sqrt`: √(warmup / where), √warmup at the start; 1 / √where without warm-up; times `factor`.
 * - `composite`: parts one after the other, each for its share of training (`length`). A part that is `rescaled` runs
 *   from 0 to 1 over its share; one that is `fixed` is what it would be without the others.
 *
 * `per` tells whether `where` moves at each step or between epochs only. A composite's parts are as the composite where
 * they do not say.
 *
 * Sources: VISSL's schedulers (fvcore's param_scheduler.py, ClassyVision's wrappers, VISSL's inverse_sqrt_decay.py);
 * PyTorch's MultiStepLR and CosineAnnealingLR are `multistep` and `cosine`.
 */
export type Schedule =
  | { kind: "constant"; factor?: number }
  | { kind: "multistep"; milestones: number[]; gamma: number }
  | { kind: "multistep"; milestones: number[]; factors: number[] }
  | { kind: "step"; factors: number[]; per?: Interval }
  | { kind: "step_with_fixed_gamma"; gamma: number; decays: number; per?: Interval }
  | { kind: "cosine"; start?: number; end?: number; per?: Interval }
  | { kind: "linear"; start: number; end: number; per?: Interval }
  | { kind: "inverse_sqrt"; warmup: number; factor?: number; per?: Interval }
  | { kind: "composite"; parts: SchedulePart[]; per?: Interval };

/** × 0.1 where VISSL's 8, 16 and 24 of 28 epochs (and 24, 48, 72 of 84) stand, in proportion. */
export function visslSchedule(epochs: number, gamma = 0.1): Schedule {
  const milestones = [2, 4, 6].map((sevenths) => Math.round((epochs * sevenths) / 7));
  const within = milestones.filter((epoch, i) => epoch > 0 && epoch < epochs && milestones.indexOf(epoch) === i);
  return { kind: "multistep", milestones: within, gamma };
}

export type Interval = "epoch" | "step";

export interface SchedulePart {
  schedule: Schedule;
  /** Share of training, in (0, 1]. */
  length: number;
  /** `rescaled` where undefined. */
  scaling?: "rescaled" | "fixed";
}

export interface ScheduleMoment {
  /** From 0. */
  epoch: number;
  epochs: number;
  /** Step within the epoch, from 0. */
  step: number;
  stepsPerEpoch: number;
}

/** How far past a border counts as past it, in parts of training; fvcore's. */
const slack = 1e-6;

/** How far off 1 the sum of a composite's lengths may be; the last one makes up for it. fvcore's. */
const lengthTolerance = 1e-3;

/** @returns the factor on the base learning rate at a step, at least 0. */
export function learningRateFactor(schedule: Schedule, moment: ScheduleMoment): number {
  const { epoch, epochs, step, stepsPerEpoch } = moment;
  const positions = { epoch: epoch / epochs, step: (epoch + step / stepsPerEpoch) / epochs };
  return factorAt(schedule, positions, epochs, defaultInterval(schedule));
}

/** ClassyVision's. */
function defaultInterval({ kind }: Schedule): Interval {
  return kind === "multistep" || kind === "step" || kind === "constant" ? "epoch" : "step";
}

function factorAt(schedule: Schedule, positions: Record<Interval, number>, epochs: number, interval: Interval): number {
  const per = ("per" in schedule ? schedule.per : undefined) ?? interval;
  const where = positions[per];
  switch (schedule.kind) {
    case "constant":
      return schedule.factor ?? 1;
    case "multistep": {
      const epoch = Math.floor((where + slack) * epochs);
      const reached = schedule.milestones.filter((milestone) => milestone <= epoch).length;
      return "factors" in schedule ? schedule.factors[reached]! : schedule.gamma ** reached;
    }
    case "step":
      return schedule.factors[shareAt(where, schedule.factors.length)]!;
    case "step_with_fixed_gamma":
      return schedule.gamma ** shareAt(where, schedule.decays + 1);
    case "cosine": {
      const { start = 1, end = 0 } = schedule;
      return end + 0.5 * (start - end) * (1 + Math.cos(Math.PI * where));
    }
    case "linear":
      return schedule.end * where + schedule.start * (1 - where);
    case "inverse_sqrt": {
      const factor = (schedule.factor ?? 1) * (schedule.warmup > 0 ? Math.sqrt(schedule.warmup) : 1);
      return where > 0 ? factor / Math.sqrt(where) : factor;
    }
    case "composite": {
      const { part, start, length } = partAt(schedule.parts, where);
      const own = part.scaling === "fixed" ? (x: number) => x : (x: number) => Math.max(0, x - start) / length;
      const ofPart = { epoch: own(positions.epoch), step: own(per === "epoch" ? positions.epoch : positions.step) };
      return factorAt(part.schedule, ofPart, epochs, per);
    }
  }
}

/** Which of some equal shares of training it is. */
function shareAt(where: number, shares: number): number {
  return Math.min(Math.floor((where + slack) * shares), shares - 1);
}

function partAt(parts: SchedulePart[], where: number): { part: SchedulePart; start: number; length: number } {
  let start = 0;
  for (const part of parts.slice(0, -1)) {
    if (where + slack <= start + part.length) return { part, start, length: part.length };
    start += part.length;
  }
  return { part: parts.at(-1)!, start, length: 1 - start };
}

/**
 * @param epochs of the training.
 * @throws UserError where milestones do not rise or are not below `epochs`, a factor is below 0 or gamma not in (0, 1],
 * there are too few or too many factors, or the parts of a composite do not fill the training.
 */
export function checkSchedule(schedule: Schedule, epochs: number, name = "schedule"): void {
  const check = (holds: boolean, what: string, key: string, received: unknown, hint?: string) => {
    if (!holds) throw expected(what, `${name}.${key}`, received, hint);
  };
  const checkGamma = (gamma: number) => check(gamma > 0 && gamma <= 1, "a number in (0, 1]", "gamma", gamma);
  const isFactor = (factor: number) => factor >= 0 && isFinite(factor);
  const checkFactor = (key: string, factor: number) => check(isFactor(factor), "a number of at least 0", key, factor);
  switch (schedule.kind) {
    case "constant":
      return checkFactor("factor", schedule.factor ?? 1);
    case "multistep": {
      const { milestones } = schedule;
      const rising = milestones.every((milestone, i) => milestone > (milestones[i - 1] ?? 0));
      check(rising, "rising epochs above 0", "milestones", milestones);
      const late = milestones.filter((milestone) => milestone >= epochs);
      const hint = "The rate would never fall there; leave it out, or train longer.";
      check(late.length === 0, `epochs below ${epochs}, that of the end`, "milestones", late, hint);
      if ("gamma" in schedule) return checkGamma(schedule.gamma);
      const { factors } = schedule;
      check(factors.every(isFactor), "numbers of at least 0", "factors", factors);
      const wanted = milestones.length + 1;
      return check(factors.length === wanted, `one factor more than milestones, ${wanted}`, "factors", factors);
    }
    case "step": {
      const { factors } = schedule;
      return check(factors.length > 0 && factors.every(isFactor), "numbers of at least 0", "factors", factors);
    }
    case "step_with_fixed_gamma": {
      const { gamma, decays } = schedule;
      checkGamma(gamma);
      return check(Number.isInteger(decays) && decays > 0, "a whole number above 0", "decays", decays);
    }
    case "cosine":
      checkFactor("start", schedule.start ?? 1);
      return checkFactor("end", schedule.end ?? 0);
    case "linear":
      checkFactor("start", schedule.start);
      return checkFactor("end", schedule.end);
    case "inverse_sqrt":
      checkFactor("factor", schedule.factor ?? 1);
      return check(schedule.warmup >= 0 && schedule.warmup <= 1, "a number in [0, 1]", "warmup", schedule.warmup);
    case "composite": {
      const lengths = schedule.parts.map(({ length }) => length);
      const positive = lengths.length > 0 && lengths.every((length) => length > 0);
      const sum = lengths.reduce((total, length) => total + length, 0);
      check(positive && Math.abs(sum - 1) < lengthTolerance, "lengths above 0 that sum to 1", "parts", lengths);
      schedule.parts.forEach((part, i) => checkSchedule(part.schedule, epochs, `${name}.parts[${i}]`));
    }
  }
}
