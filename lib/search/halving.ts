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

/** Rates of which the best goes on before any other of theirs. */
const rates = 3;

/**
 * The candidates of one head that go on, rising:
 *
 * - The best, and the rate below it, as far as rates were multiplied, with its decay where that was tried.
 * - Above the rate of the lowest loss, the best of a rate that is the root of the ratio of epochs higher, and of one that
 *   is as much higher again the one of the lowest loss. For scores tell little beyond the limit of stability, where a
 *   training leaps and its loss grows with the rate, while accuracy is nearly the same at all rates; and a brief
 *   training, its rates multiplied, is beyond it where the long one is at its best.
 * - The rate above the best, likewise; or the best of other rates, until there are three.
 * - Under each of these the best whose decay is a decade off; then the others by score. Those that diverged come last, and
 *   of them those of the smallest rates first.
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
  const { rateFactor } = before;
  const all = [...scores].sort(([a], [b]) => a - b);
  const sound = all.filter(([, { diverged, loss }]) => !diverged && Number.isFinite(loss));
  const lost = all.filter((each) => !sound.includes(each)).map(([candidate]) => candidate);
  const order = (compare: (a: CandidateScore, b: CandidateScore) => number) =>
    [...sound].sort(([, a], [, b]) => compare(a, b)).map(([candidate]) => candidate);
  const byScore = order((a, b) => b.score - a.score || a.loss - b.loss);
  const byLoss = order((a, b) => a.loss - b.loss || b.score - a.score);
  const trial = (candidate: number) => candidates[candidate]!;

  const aboveLimit = (calm: number): number[] => {
    const step = Math.sqrt(next.epochs / before.epochs);
    const distance = (candidate: number, lr: number) => Math.abs(Math.log(trial(candidate).lr / lr));
    let from = calm;
    return [byScore, byLoss].flatMap((sorted) => {
      const wanted = trial(from).lr * step;
      const above = sorted.filter(
        (other) => isKin(trial(calm), trial(other)) && trial(other).lr > nearby * trial(from).lr,
      );
      if (step <= nearby || above.length === 0) return [];
      const nearest = above.reduce((a, b) => (distance(b, wanted) < distance(a, wanted) ? b : a));
      from = above.find((other) => areOfOneRate(trial(nearest), trial(other)))!;
      return from;
    });
  };

  const beside = (best: number, ratioTo: (other: number) => number): number[] => {
    const side = byScore.filter((other) => {
      return isKin(trial(best), trial(other)) && ratioTo(other) > nearby && ratioTo(other) <= rateFactor;
    });
    const ofSameDecay = side.find((other) => trial(other).weightDecay === trial(best).weightDecay);
    return ofSameDecay === undefined ? side.slice(0, 1) : [ofSameDecay];
  };
  const below = (best: number) => beside(best, (other) => trial(best).lr / trial(other).lr);
  const above = (best: number) => beside(best, (other) => trial(other).lr / trial(best).lr);

  const best = byScore.slice(0, 1);
  const calmest = byLoss.slice(0, 1);
  const first = [...best, ...best.flatMap(below), ...best.flatMap(above)];
  for (const other of byScore) {
    if (first.length < rates && !first.some((one) => areOfOneRate(trial(one), trial(other)))) first.push(other);
  }
  const second = first.flatMap((one) => {
    return (
      byScore.find((other) => areOfOneRate(trial(one), trial(other)) && areDecayedApart(trial(one), trial(other))) ?? []
    );
  });
  lost.sort((a, b) => trial(a).lr - trial(b).lr);
  return [
    ...new Set([
      ...best,
      ...best.flatMap(below),
      ...calmest.flatMap(aboveLimit),
      ...first,
      ...second,
      ...byScore,
      ...lost,
    ]),
  ]
    .slice(0, next.trials)
    .sort((a, b) => a - b);
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
