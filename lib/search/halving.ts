import { expected } from "../errors.js";
import type { ScheduleMoment } from "../optim/schedule.js";
import type { SearchTrial } from "./space.js";

/**
 * Successive halving (Jamieson and Talwalkar 2016) for heads: all candidates are trained briefly, half of each head's
 * longer, and few for all epochs. What comes out of the last rung was trained as the full sweep would have.
 *
 * A brief training is judged for what the long one would come to, which takes three things:
 *
 * - The schedule is whole in every rung, compressed to its epochs ({@link fullMoment}): one that is cut off leaves every
 *   rate high.
 * - Learning rate and weight decay are multiplied by √(all epochs/the rung's). With the rates as they are the largest
 *   win a brief training, for the small ones have not arrived; with rates multiplied by the whole ratio all arrive, but
 *   the large ones are beyond their limit. The root stands in the middle, and leaves the sum of rate × decay over the
 *   steps as it is in the long training.
 * - *Kin* are candidates of nearly one rate that differ in weight decay. The first rung tells hopeless rates but nothing
 *   of decays, which need time: kin go on together. Into the last rung the best of each kin goes first, for the guess of
 *   the best rate may be wrong by a step of the grid; otherwise a single rate under three decays fills it.
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

/** Of three candidates in the last rung the winner of the full sweep is one, or another that is as good. */
const finalists = { share: 1 / 16, least: 3, most: 8 };

/** Part of the candidates that the second rung trains, and part of the epochs: at least, where time allows, at most. */
const second = { trials: 1 / 2, least: 1 / 10, usual: 1 / 5, most: 1 / 4 };

/**
 * Steps that a rung takes at least. Momentum of 0.9 remembers ten: a schedule of four rates that passes in fewer steps
 * says nothing of the same schedule in a thousand. Measured on sets of 2,400 images: first rungs of 10 steps drop the
 * best rates, second ones of 40 prefer rates that lose in the end (up to 37 points).
 */
const leastSteps = { first: 30, second: 75 };

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
  const { candidates, epochs, stepsPerEpoch = Infinity, overhead, share = 0.22 } = options;
  if (!(Number.isInteger(candidates) && candidates >= 1))
    throw expected("at least one candidate", "halving", candidates);
  if (!(Number.isInteger(epochs) && epochs >= 1)) throw expected("at least one epoch", "halving", epochs);
  const work = (rungs: Rung[]) =>
    rungs.reduce((sum, { trials, epochs: times }) => sum + times * (trials + overhead), 0);
  const rung = (trials: number, times: number): Rung => {
    return { trials, epochs: times, rateFactor: Math.sqrt(epochs / times) };
  };
  const full = rung(candidates, epochs);
  const atLeast = (steps: number) => Math.ceil(steps / stepsPerEpoch);
  const first = rung(candidates, Math.max(1, atLeast(leastSteps.first), Math.floor(epochs / 20)));
  const planOf = (last: number, times: number): Rung[] => {
    return [first, rung(Math.max(last + 1, Math.round(second.trials * candidates)), times), rung(last, epochs)];
  };
  const most = Math.max(finalists.least, Math.min(finalists.most, Math.round(finalists.share * candidates)));
  const briefest = Math.max(Math.ceil(second.least * epochs), atLeast(leastSteps.second));
  const longest = Math.max(Math.floor(second.most * epochs), briefest);
  const fits = (rungs: Rung[]) => work(rungs) <= share * work([full]);
  for (let last = most; last >= finalists.least; last--) {
    for (let times = longest; times >= briefest; times--) {
      const rungs = planOf(last, times);
      if (rises(rungs) && fits(rungs)) return { rungs, cost: work(rungs) / work([full]) };
    }
  }
  const usual = planOf(finalists.least, Math.max(Math.ceil(second.usual * epochs), briefest));
  const cost = work(usual) / work([full]);
  return rises(usual) && cost < tooDear ? { rungs: usual, cost } : { rungs: [full], cost: 1 };
}

/** Whether each rung trains fewer than the one before, for longer. */
function rises(rungs: Rung[]): boolean {
  return rungs.every(({ trials, epochs }, i) => {
    const before = rungs[i - 1];
    return !before || (trials < before.trials && epochs > before.epochs);
  });
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
        return promoted({ scores: last, candidates, keep: rung.trials, kin: index === 1 ? "together" : "apart" });
      });
    }
    const judged = await evaluate(survivors, rung, index);
    survivors.forEach((own, head) => own.forEach((candidate, i) => scores[head]![candidate]!.push(judged[head]![i]!)));
  }
  return { scores, chosen: survivors.map((own, head) => bestOf(own, scores[head]!)) };
}

/** Learning rates whose ratio is below this are nearly one. */
const nearby = 1.5;

/**
 * The candidates of one head that go on, rising. Those that diverged come last, and of them those of the smallest rates
 * first.
 *
 * @param options.kin `together`: those of the best rate, whatever their decay, then those of the second best.
 * `apart`: the best of each rate, then the others by score.
 */
export function promoted(options: {
  scores: ReadonlyMap<number, CandidateScore>;
  candidates: readonly SearchTrial[];
  keep: number;
  kin: "together" | "apart";
}): number[] {
  const { scores, candidates, keep, kin } = options;
  const all = [...scores].sort(([a], [b]) => a - b);
  const sound = all.filter(([, { diverged, loss }]) => !diverged && Number.isFinite(loss));
  const lost = all.filter((each) => !sound.includes(each)).map(([candidate]) => candidate);
  sound.sort(([, a], [, b]) => b.score - a.score || a.loss - b.loss);
  const families: number[][] = [];
  for (const [each] of sound) {
    const own = families.find(([best]) => areKin(candidates[best!]!, candidates[each]!));
    if (own) own.push(each);
    else families.push([each]);
  }
  const first = kin === "together" ? families.flat() : families.map(([best]) => best!);
  const others = sound.map(([candidate]) => candidate).filter((candidate) => !first.includes(candidate));
  lost.sort((a, b) => candidates[a]!.lr - candidates[b]!.lr);
  return [...first, ...others, ...lost].slice(0, keep).sort((a, b) => a - b);
}

function areKin(a: SearchTrial, b: SearchTrial): boolean {
  const rest = (trial: SearchTrial) => JSON.stringify({ ...trial, lr: undefined, weightDecay: undefined });
  return Math.max(a.lr, b.lr) < nearby * Math.min(a.lr, b.lr) && rest(a) === rest(b);
}

function bestOf(candidates: number[], scores: CandidateScore[][]): number {
  const valueOf = (candidate: number) => {
    const { score, diverged } = scores[candidate]!.at(-1)!;
    return diverged ? -Infinity : score;
  };
  return candidates.reduce((best, each) => (valueOf(each) > valueOf(best) ? each : best));
}
