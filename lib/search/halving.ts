import { expected } from "../errors.js";
import type { ScheduleMoment } from "../optim/schedule.js";

/**
 * Successive halving (Jamieson and Talwalkar 2016) for heads: all candidates are trained briefly, the better part of each
 * head's longer, and few for all epochs. What comes out of the last rung was trained as the full sweep would have.
 *
 * A brief training is judged for what the long one would come to, which takes three things:
 *
 * - The schedule is whole in every rung, compressed to its epochs ({@link fullMoment}): one that is cut off leaves every
 *   rate high.
 * - Learning rate and weight decay are multiplied by √(all epochs/the rung's). With the rates as they are the largest
 *   win a brief training, for the small ones have not arrived; with rates multiplied by the whole ratio all arrive, but
 *   the large ones are beyond their limit. The root stands in the middle, and leaves the sum of rate × decay over the
 *   steps as it is in the long training.
 * - Of candidates that come out the same (*twins*: weight decays that have had no effect yet) one goes on, and the others
 *   only where there is room. Otherwise a single learning rate, four times, fills the last rung.
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
  /** The last is for all epochs. */
  rungs: Rung[];
  /** Work beside that of the full sweep, by the cost that was told: at most `share`, where that can be had. */
  cost: number;
}

/** Of three candidates in the last rung the winner of the full sweep is one, or another that is as good. */
const finalists = { share: 1 / 10, least: 2, most: 8 };

/** Part of the candidates of a rung that goes on. */
const eta = 4;

/**
 * Rungs within a share of the full sweep's work.
 *
 * @param options.candidates trials of the full sweep.
 * @param options.epochs of the full sweep.
 * @param options.overhead what a step costs beside its trials, in trials: a step of n costs n + overhead.
 * @param options.share of the full sweep's work, in (0, 1]. With few candidates, few epochs or much overhead the cheapest
 * plan costs more, and `cost` says so.
 */
export function planHalving(options: {
  candidates: number;
  epochs: number;
  overhead?: number;
  share?: number;
}): HalvingPlan {
  const { candidates, epochs, overhead = 2, share = 1 / 4 } = options;
  if (!(Number.isInteger(candidates) && candidates >= 1))
    throw expected("at least one candidate", "halving", candidates);
  if (!(Number.isInteger(epochs) && epochs >= 1)) throw expected("at least one epoch", "halving", epochs);
  const work = (trials: number, times: number) => times * (trials + overhead);
  const full = work(candidates, epochs);
  const rung = (trials: number, times: number): Rung => {
    return { trials, epochs: times, rateFactor: Math.sqrt(epochs / times) };
  };
  const planOf = (rungs: Rung[]): HalvingPlan => ({
    rungs,
    cost: rungs.reduce((sum, { trials, epochs: times }) => sum + work(trials, times), 0) / full,
  });
  const brief = Math.max(1, Math.floor(epochs / 20));
  const wanted = Math.min(finalists.most, Math.max(finalists.least + 1, Math.round(finalists.share * candidates)));
  for (let last = wanted; last >= finalists.least; last--) {
    const rest = share * full - work(last, epochs) - work(candidates, brief);
    if (rest < 0) continue;
    const between = betweenRungs({ candidates, epochs, brief, last, overhead, rest });
    return planOf([
      rung(candidates, brief),
      ...between.map(([trials, times]) => rung(trials, times)),
      rung(last, epochs),
    ]);
  }
  const cheapest = planOf([rung(candidates, 1), rung(Math.min(candidates, finalists.least), epochs)]);
  return cheapest.cost < 1 ? cheapest : planOf([rung(candidates, epochs)]);
}

/** Rungs of a quarter each, [trials, epochs], the work that is left divided evenly among them. */
function betweenRungs(options: {
  candidates: number;
  epochs: number;
  brief: number;
  last: number;
  overhead: number;
  rest: number;
}): [number, number][] {
  const { candidates, epochs, brief, last, overhead, rest } = options;
  const sizes: number[] = [];
  for (let size = Math.round(candidates / eta); size > 1.5 * last; size = Math.round(size / eta)) sizes.push(size);
  const each = rest / sizes.length;
  const rungs = sizes.map((size): [number, number] => {
    return [size, Math.min(Math.floor(each / (size + overhead)), Math.floor(epochs / 2))];
  });
  return rungs.filter(([, times], i) => times > (rungs[i - 1]?.[1] ?? brief));
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
  /** Learning rates of the candidates. Where all diverge in a brief rung, the smallest go on. */
  rates: number[];
  rungs: Rung[];
  /** Images that scores are of: a difference of one of them is none. */
  images: number;
  /**
   * Trains candidates from their beginning and judges them.
   *
   * @param survivors for each head the candidates, rising.
   * @returns scores in the same order.
   */
  evaluate: (survivors: number[][], rung: Rung, index: number) => Promise<CandidateScore[][]>;
}

/** Rung by rung: what is trained next is what was best before. */
export async function halve({ heads, rates, rungs, images, evaluate }: HalvingOptions): Promise<Halving> {
  const scores: CandidateScore[][][] = Array.from({ length: heads }, () => rates.map(() => []));
  let survivors = Array.from({ length: heads }, () => rates.map((_, candidate) => candidate));
  for (const [index, rung] of rungs.entries()) {
    if (index > 0) {
      survivors = survivors.map((candidates, head) => {
        const last = new Map(candidates.map((candidate) => [candidate, scores[head]![candidate]!.at(-1)!]));
        return promoted({ scores: last, rates, keep: rung.trials, images });
      });
    }
    const judged = await evaluate(survivors, rung, index);
    survivors.forEach((candidates, head) =>
      candidates.forEach((candidate, i) => scores[head]![candidate]!.push(judged[head]![i]!)),
    );
  }
  return { scores, chosen: survivors.map((candidates, head) => bestOf(candidates, scores[head]!)) };
}

/** Relative difference in loss below which two candidates of equal score are twins. */
const twinLoss = 0.02;

/**
 * The candidates of one head that go on, rising: by score, then by loss; twins of better ones after all others, and those
 * that diverged last.
 */
export function promoted(options: {
  scores: ReadonlyMap<number, CandidateScore>;
  rates: readonly number[];
  keep: number;
  images: number;
}): number[] {
  const { scores, rates, keep, images } = options;
  const all = [...scores].sort(([a], [b]) => a - b);
  const sound = all.filter(([, { diverged, loss }]) => !diverged && Number.isFinite(loss));
  const lost = all.filter((each) => !sound.includes(each)).sort(([a], [b]) => rates[a]! - rates[b]!);
  sound.sort(([, a], [, b]) => b.score - a.score || a.loss - b.loss);
  const distinct: typeof sound = [];
  const twins: typeof sound = [];
  for (const each of sound) {
    const isTwin = distinct.some(([, better]) => areTwins(better, each[1], images));
    (isTwin ? twins : distinct).push(each);
  }
  const order = [...distinct, ...twins, ...lost].map(([candidate]) => candidate);
  return order.slice(0, keep).sort((a, b) => a - b);
}

function areTwins(a: CandidateScore, b: CandidateScore, images: number): boolean {
  // Half an image more, for scores are fractions and their differences are rounded.
  return Math.abs(a.score - b.score) * images < 1.5 && Math.abs(a.loss - b.loss) <= twinLoss * Math.min(a.loss, b.loss);
}

function bestOf(candidates: number[], scores: CandidateScore[][]): number {
  const valueOf = (candidate: number) => {
    const { score, diverged } = scores[candidate]!.at(-1)!;
    return diverged ? -Infinity : score;
  };
  return candidates.reduce((best, each) => (valueOf(each) > valueOf(best) ? each : best));
}
