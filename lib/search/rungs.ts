import { expected } from "../errors.js";
import type { ScheduleMoment } from "../optim/schedule.js";

/**
 * Successive halving (Jamieson and Talwalkar 2016) for heads: all candidates are trained briefly, few of each head for
 * all epochs. What comes out of the last rung was trained as the full sweep would have.
 *
 * A brief training is judged for what the long one would come to, which takes three things:
 *
 * - The schedule is whole in every rung, compressed to its epochs ({@link fullMoment}): one that is cut off leaves
 *   every rate high.
 * - Learning rate and weight decay are multiplied by (all epochs/the rung's)^0.7. With the rates as they are the
 *   largest win a brief training, for the small ones have not arrived; with rates multiplied by the whole ratio all
 *   arrive, but the large ones are beyond their limit. Between them 0.7 chooses best: at most 0.1 points off on nine
 *   sets of four kinds, where the root was off by up to 0.7.
 * - The brief training tells good rates, though its best may be a step or two of the grid beside the best of the long
 *   one: below it where the long one overfits, above it where rates pass their limit only because they are multiplied.
 *   It tells little of decays, which need time. Which of them go on, and why, `halving.ts` says.
 *
 * More rungs between, which train some of the candidates longer, chose no better for the same work: the first and
 * briefest of them lost the best rate.
 */
export interface Rung {
  /** Candidates of a head that are trained. */
  trials: number;
  /** Each from its beginning, for so many epochs. */
  epochs: number;
  /** What learning rate and weight decay are multiplied by; 1 in the last rung. Not for L-BFGS, whose rate is a step of 1. */
  rateFactor: number;
}

export interface HalvingPlan {
  /** The last is for all epochs. One alone where halving saves too little. */
  rungs: Rung[];
  /** Work beside that of the full sweep, by the cost that was told: at most `share`, where that can be had. */
  cost: number;
}

/** Candidates in the last rung: part of all, and how few. */
const finalists = { share: 1 / 8, least: 4 };

/** Part of the epochs that the first rung trains. */
const brief = 1 / 10;

/** Power of the ratio of epochs by which a brief training's rates are larger. */
const haste = 0.7;

/**
 * Steps that a rung takes at least. Momentum of 0.9 remembers ten: a schedule of four rates that passes in a few of
 * them says nothing of the same schedule in a thousand. Measured on sets of 2,400 images: rungs of 10 steps drop the
 * best rates, those of 40 prefer rates that lose in the end (up to 37 points).
 */
const leastSteps = 60;

/** Part of the full sweep's work from which on the full sweep is the better choice. */
const tooDear = 1 / 2;

/**
 * Rungs within a share of the full sweep's work, where that can be had; else what chooses well. Where this
 * comes to half the full sweep or more, the plan is the full sweep.
 *
 * @param options.candidates trials of the full sweep.
 * @param options.epochs of the full sweep.
 * @param options.stepsPerEpoch of the largest batch size. Default: an epoch is as good as many steps (L-BFGS).
 * @param options.overhead what a step costs beside its trials, in trials: a step of n costs n + overhead.
 * @param options.share of the full sweep's work, in (0, 1]. Default: less than a quarter, for rungs are judged, too.
 */
export function planHalving(options: {
  candidates: number;
  epochs: number;
  stepsPerEpoch?: number;
  overhead: number;
  share?: number;
}): HalvingPlan {
  const { candidates, epochs, stepsPerEpoch = Infinity, overhead, share = 0.225 } = options;
  if (!(Number.isInteger(candidates) && candidates >= 1))
    throw expected("at least one candidate", "halving", candidates);
  if (!(Number.isInteger(epochs) && epochs >= 1)) throw expected("at least one epoch", "halving", epochs);
  const rung = (trials: number, times: number): Rung => {
    return { trials, epochs: times, rateFactor: (epochs / times) ** haste };
  };
  const full = epochs * (candidates + overhead);
  const first = rung(candidates, Math.max(Math.ceil(brief * epochs), Math.ceil(leastSteps / stepsPerEpoch)));
  const cost = (last: number) => (first.epochs * (candidates + overhead) + epochs * (last + overhead)) / full;
  let last = Math.max(finalists.least, Math.round(finalists.share * candidates));
  while (last > finalists.least && cost(last) > share) last--;
  const pays = last < candidates && first.epochs < epochs && cost(last) < tooDear;
  return pays
    ? { rungs: [first, rung(last, epochs)], cost: cost(last) }
    : { rungs: [rung(candidates, epochs)], cost: 1 };
}

/**
 * Where a training of all epochs would be when a rung's is at `moment`: what its learning rate is taken from.
 *
 * @param epochs of the last rung.
 */
export function fullMoment(moment: ScheduleMoment, epochs: number): ScheduleMoment {
  if (moment.epochs === epochs) return moment;
  const done = moment.epoch * moment.stepsPerEpoch + moment.step;
  // Whole numbers up to the last division, so that a milestone is not missed by a rounding.
  const position = done * epochs;
  const stepsPerEpoch = moment.epochs * moment.stepsPerEpoch;
  return { epoch: Math.floor(position / stepsPerEpoch), epochs, step: position % stepsPerEpoch, stepsPerEpoch };
}
