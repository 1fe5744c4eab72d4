import { expected } from "../errors.js";
import type { ScheduleMoment } from "../optim/schedule.js";
import type { SearchTrial } from "./space.js";

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
 * - The brief training tells good rates, though its best may be a step of the grid beside the best of the long one:
 *   below it where the long one overfits, above it where rates pass their limit only because they are multiplied. It
 *   tells little of decays, which need time. So the best goes on first, then its like at the rates a step above and a
 *   step below; then under each of these the best decay that is a decade off. See {@link promoted}.
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
const finalists = { share: 1 / 8, least: 3 };

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

/** What the images of the choice say of one candidate of a head, over the seeds. */
export interface CandidateScore {
  /** The selection metric, a fraction; the higher the better. */
  score: number;
  /** On the same images. It decides between equal scores. */
  loss: number;
  /** For some seed. */
  diverged: boolean;
}

export interface Halving {
  /** For each head and candidate its score in each rung that it was trained in: `[head][candidate][rung]`. */
  scores: CandidateScore[][][];
  /** For each head the candidate of the highest score in the last rung, the first of equals. */
  chosen: number[];
}

export interface HalvingOptions {
  /** How many heads: each keeps candidates of its own. */
  heads: number;
  candidates: SearchTrial[];
  rungs: Rung[];
  /**
   * Trains candidates from their beginning and judges them.
   *
   * @param survivors for each head the candidates, rising.
   * @returns scores in the same order.
   */
  evaluate: (survivors: number[][], rung: Rung, index: number) => Promise<CandidateScore[][]>;
}

/** Rung by rung: what is trained next is what was best before. */
export async function halve({ heads, candidates, rungs, evaluate }: HalvingOptions): Promise<Halving> {
  const scores: CandidateScore[][][] = Array.from({ length: heads }, () => candidates.map(() => []));
  let survivors = Array.from({ length: heads }, () => candidates.map((_, candidate) => candidate));
  for (const [index, rung] of rungs.entries()) {
    if (index > 0) {
      survivors = survivors.map((own, head) => {
        const last = new Map(own.map((candidate) => [candidate, scores[head]![candidate]!.at(-1)!]));
        return promoted({ scores: last, candidates, keep: rung.trials, rateFactor: rungs[index - 1]!.rateFactor });
      });
    }
    const judged = await evaluate(survivors, rung, index);
    survivors.forEach((own, head) => own.forEach((candidate, i) => scores[head]![candidate]!.push(judged[head]![i]!)));
  }
  return { scores, chosen: survivors.map((own, head) => bestOf(own, scores[head]!)) };
}

/** Learning rates whose ratio is below this are nearly one. */
const nearby = 1.5;

/** Rates of which the best goes on before any other of theirs. */
const rates = 3;

/**
 * The candidates of one head that go on, rising: the best; the rates above and below it, as far as rates were
 * multiplied, with its decay where that was tried, for beyond their limit rates say nothing of decays; or the best of
 * other rates, until there are three; under each of these the best whose decay is a decade off; then the others by
 * score. Those that diverged come last, and of them those of the smallest rates first.
 *
 * The next best rates by score are a worse choice. Of a skewed set, rates of 0.03 came to 52 % in the brief training,
 * where they were multiplied to 0.14, those of 3 to 39 % and those of 0.1, at 0.48, to 35 %; in full those of 0.1
 * reached 77 %, and the others 72 and 67.
 *
 * @param options.rateFactor by which rates were multiplied.
 */
export function promoted(options: {
  scores: ReadonlyMap<number, CandidateScore>;
  candidates: readonly SearchTrial[];
  keep: number;
  rateFactor: number;
}): number[] {
  const { scores, candidates, keep, rateFactor } = options;
  const all = [...scores].sort(([a], [b]) => a - b);
  const sound = all.filter(([, { diverged, loss }]) => !diverged && Number.isFinite(loss));
  const lost = all.filter((each) => !sound.includes(each)).map(([candidate]) => candidate);
  sound.sort(([, a], [, b]) => b.score - a.score || a.loss - b.loss);
  const byScore = sound.map(([candidate]) => candidate);
  const trial = (candidate: number) => candidates[candidate]!;

  const neighbours = (best: number): number[] => {
    const kin = byScore.filter((other) => isKin(trial(best), trial(other)));
    const sides = [
      (other: number) => trial(other).lr / trial(best).lr,
      (other: number) => trial(best).lr / trial(other).lr,
    ];
    return sides.flatMap((ratio) => {
      const side = kin.filter((other) => ratio(other) > nearby && ratio(other) <= rateFactor);
      const ofSameDecay = side.find((other) => trial(other).weightDecay === trial(best).weightDecay);
      return ofSameDecay ?? side[0] ?? [];
    });
  };
  const first = byScore.slice(0, 1).flatMap((best) => [best, ...neighbours(best)]);
  for (const other of byScore) {
    if (first.length < rates && !first.some((one) => areOfOneRate(trial(one), trial(other)))) first.push(other);
  }
  const second = first.flatMap((one) => {
    return (
      byScore.find((other) => areOfOneRate(trial(one), trial(other)) && areDecayedApart(trial(one), trial(other))) ?? []
    );
  });
  lost.sort((a, b) => trial(a).lr - trial(b).lr);
  return [...new Set([...first, ...second, ...byScore, ...lost])].slice(0, keep).sort((a, b) => a - b);
}

/** *Kin* are candidates that differ in learning rate and weight decay alone. */
function isKin(a: SearchTrial, b: SearchTrial): boolean {
  const rest = (trial: SearchTrial) => JSON.stringify({ ...trial, lr: undefined, weightDecay: undefined });
  return rest(a) === rest(b);
}

/** Kin of nearly one rate. */
function areOfOneRate(a: SearchTrial, b: SearchTrial): boolean {
  return Math.max(a.lr, b.lr) < nearby * Math.min(a.lr, b.lr) && isKin(a, b);
}

function areDecayedApart(a: SearchTrial, b: SearchTrial): boolean {
  const [small, large] = [a.weightDecay, b.weightDecay].sort((one, other) => one - other) as [number, number];
  return large > small && large >= 10 * small;
}

function bestOf(candidates: number[], scores: CandidateScore[][]): number {
  const valueOf = (candidate: number) => {
    const { score, diverged } = scores[candidate]!.at(-1)!;
    return diverged ? -Infinity : score;
  };
  return candidates.reduce((best, each) => (valueOf(each) > valueOf(best) ? each : best));
}
