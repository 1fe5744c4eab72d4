import type { Rung } from "./rungs.js";
import type { SearchTrial } from "./space.js";

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
        return promoted({ scores: last, candidates, before: rungs[index - 1]!, next: rung });
      });
    }
    const judged = await evaluate(survivors, rung, index);
    survivors.forEach((own, head) => own.forEach((candidate, i) => scores[head]![candidate]!.push(judged[head]![i]!)));
  }
  return { scores, chosen: survivors.map((own, head) => bestOf(own, scores[head]!)) };
}

/** Learning rates whose ratio is below this are nearly one. */
const nearby = 1.5;

/** Rates of which one goes on before any other of theirs. */
const leastRates = 3;

/** Of the best score: what a rate beyond the limit of stability reaches at least, if it may be the best in the end. */
const leaping = 1 / 2;

/**
 * The candidates of one head that go on, rising:
 *
 * - The best of all, of a rate below it and of a rate above it, as far as rates were multiplied.
 * - Above the rate of the lowest loss, the best of a rate that is the root of the ratio of epochs higher, and of one that
 *   is as much higher again the one of the lowest loss. For scores tell little beyond the limit of stability, where a
 *   training leaps and its loss grows with the rate while accuracy is nearly the same at all rates; and a brief
 *   training, its rates multiplied, is beyond it where the long one is at its best.
 * - The best of other rates, until there are three rates; under each of these the best whose decay is a decade off; then
 *   the others by score. Those that diverged come last, and of them those of the smallest rates first.
 *
 * Of 29 sets of features four such candidates lose at most 0.1 points of what all 48 reach on 28, and 0.3 on one; the
 * highest scores of three rates lose up to 5 (docs/benchmarks.md).
 *
 * @param options.before the rung of these scores.
 */
export function promoted(options: {
  scores: ReadonlyMap<number, CandidateScore>;
  candidates: readonly SearchTrial[];
  before: Rung;
  next: Rung;
}): number[] {
  const { scores, candidates, before, next } = options;
  const all = [...scores].sort(([a], [b]) => a - b);
  const sound = all.filter(([, { diverged, loss }]) => !diverged && Number.isFinite(loss));
  const lost = all.filter((each) => !sound.includes(each)).map(([candidate]) => candidate);
  const order = (compare: (a: CandidateScore, b: CandidateScore) => number) =>
    [...sound].sort(([, a], [, b]) => compare(a, b)).map(([candidate]) => candidate);
  const byScore = order((a, b) => b.score - a.score || a.loss - b.loss);
  const byLoss = order((a, b) => a.loss - b.loss || b.score - a.score);
  const trial = (candidate: number) => candidates[candidate]!;
  const scoreOf = (candidate: number) => scores.get(candidate)!.score;

  const beside = (best: number): number[] => {
    const kin = byScore.filter((other) => isKin(trial(best), trial(other)));
    const within = (ratio: number) => ratio > nearby && ratio <= before.rateFactor;
    const below = kin.find((other) => within(trial(best).lr / trial(other).lr));
    const above = kin.find((other) => within(trial(other).lr / trial(best).lr));
    return [below, above].filter((one) => one !== undefined);
  };
  const step = Math.sqrt(next.epochs / before.epochs);
  const aboveLimit = (calmest: number): number[] => {
    let from = calmest;
    const found = [byScore, byLoss].flatMap((sorted) => {
      const distance = (candidate: number) => Math.abs(Math.log(trial(candidate).lr / trial(from).lr / step));
      const above = sorted.filter(
        (other) => isKin(trial(from), trial(other)) && trial(other).lr > nearby * trial(from).lr,
      );
      if (above.length === 0) return [];
      const nearest = above.reduce((a, b) => (distance(b) < distance(a) ? b : a));
      from = above.find((other) => areOfOneRate(trial(nearest), trial(other)))!;
      return from;
    });
    return found.filter((one) => scoreOf(one) >= leaping * scoreOf(byScore[0]!));
  };

  const first = byScore.slice(0, 1).flatMap((best) => [best, ...beside(best)]);
  if (step > nearby) first.push(...byLoss.slice(0, 1).flatMap(aboveLimit));
  for (const other of byScore) {
    const rates = first.filter((one, i) => !first.slice(0, i).some((same) => areOfOneRate(trial(same), trial(one))));
    if (rates.length < leastRates && !rates.some((one) => areOfOneRate(trial(one), trial(other)))) first.push(other);
  }
  const second = first.flatMap((one) => {
    return (
      byScore.find((other) => areOfOneRate(trial(one), trial(other)) && areDecayedApart(trial(one), trial(other))) ?? []
    );
  });
  lost.sort((a, b) => trial(a).lr - trial(b).lr);
  return [...new Set([...first, ...second, ...byScore, ...lost])].slice(0, next.trials).sort((a, b) => a - b);
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
