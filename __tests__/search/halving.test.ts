import { type CandidateScore, halve, promoted } from "../../lib/search/halving.js";
import { planHalving } from "../../lib/search/rungs.js";
import type { SearchTrial } from "../../lib/search/space.js";

const score = (value: number, loss = 1, diverged = false): CandidateScore => ({ score: value, loss, diverged });

/** Each of its own rate, ten times the one before. */
const trial = (lr: number, weightDecay = 0): SearchTrial => ({
  lr,
  weightDecay,
  optimizer: { kind: "sgd", momentum: 0.9, nesterov: false },
  schedule: { kind: "constant" },
  batchSize: 32,
});
const apart = (count: number) => Array.from({ length: count }, (_, i) => trial(10 ** (i - count)));

describe("promoted", () => {
  const keepOf = (scores: CandidateScore[], keep: number, candidates = apart(scores.length), rateFactor = 1) =>
    promoted({
      scores: new Map(scores.entries()),
      candidates,
      before: { trials: scores.length, epochs: 1, rateFactor },
      next: { trials: keep, epochs: rateFactor ** (1 / 0.7), rateFactor: 1 },
    });

  test("takes the highest scores, and of equal ones the lower loss", () => {
    expect(keepOf([score(0.5), score(0.7), score(0.6, 2), score(0.6, 1)], 2)).toEqual([1, 3]);
  });

  test("takes the best of three learning rates first where there are no others near, then of these the best whose decay is a decade off", () => {
    const candidates = [
      trial(0.1),
      trial(0.1, 1e-4),
      trial(0.11, 5e-4),
      trial(0.1, 1e-3),
      trial(0.3),
      trial(1),
      trial(3),
    ];
    const scores = [0.8, 0.82, 0.81, 0.7, 0.6, 0.5, 0.4].map((value) => score(value));
    expect(keepOf(scores, 2, candidates)).toEqual([1, 4]);
    expect(keepOf(scores, 3, candidates)).toEqual([1, 4, 5]);
    expect(keepOf(scores, 4, candidates)).toEqual([0, 1, 4, 5]);
    expect(keepOf(scores, 5, candidates)).toEqual([0, 1, 2, 4, 5]);
  });

  test("equal decays are not apart, nor are those within a decade", () => {
    const candidates = [trial(0.1, 1e-3), trial(0.11, 1e-3), trial(0.1, 2e-4), trial(0.1, 1e-4), trial(0.3)];
    const scores = [0.9, 0.8, 0.7, 0.6, 0.5].map((value) => score(value));
    expect(keepOf(scores, 3, candidates)).toEqual([0, 3, 4]);
  });

  test("candidates that differ in more than rate and decay are no kin", () => {
    const candidates = [trial(0.1), { ...trial(0.1), batchSize: 64 }, trial(0.3)];
    expect(keepOf([score(0.8), score(0.7), score(0.6)], 2, candidates)).toEqual([0, 1]);
  });

  test("takes the rates above and below the best one, as far as rates were multiplied", () => {
    const candidates = [0.01, 0.03, 0.1, 0.3, 1].map((lr) => trial(lr, 1e-4));
    // The lowest loss is that of the highest rate, which has none above it.
    const falling = (values: number[]) => values.map((value, i) => score(value, 5 - i));
    const scores = falling([0.3, 0.5, 0.2, 0.35, 0.4]);
    expect(keepOf(scores, 3, candidates)).toEqual([1, 3, 4]);
    expect(keepOf(scores, 3, candidates, 4)).toEqual([0, 1, 2]);
    expect(keepOf(scores, 2, candidates, 4)).toEqual([0, 1]);
    // 0.3 is within ten times 0.03, and better than 0.1.
    expect(keepOf(scores, 3, candidates, 11)).toEqual([0, 1, 3]);
    // The best of a rate goes on, whatever its decay.
    const decayed = [...candidates, trial(0.1, 1e-3), trial(0.01, 1e-2)];
    expect(keepOf([...scores, score(0.4, 9), score(0.45, 9)], 3, decayed, 4)).toEqual([1, 5, 6]);
    // At the end of the grid the next best rate takes the place.
    expect(keepOf(falling([0.9, 0.1, 0.2, 0.4, 0.3]), 3, candidates, 4)).toEqual([0, 1, 3]);
    const other = candidates.map((each, i) => (i === 2 ? { ...each, batchSize: 64 } : each));
    expect(keepOf(scores, 3, other, 4)).toEqual([0, 1, 4]);
  });

  test("takes the rates above that of the lowest loss: half the way to the ratio of epochs, and all of it", () => {
    // All rates beyond the third leap: accuracy is alike, and loss grows with the rate.
    const candidates = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1].flatMap((lr) => [trial(lr), trial(lr, 1e-2)]);
    const scores = [0.3, 0.3, 0.8, 0.81, 0.8, 0.82, 0.83, 0.81, 0.82, 0.8, 0.83, 0.81, 0.84, 0.8];
    const losses = [2, 2.1, 0.8, 0.7, 1.8, 1.9, 5, 4, 20, 18, 60, 50, 200, 150];
    const judged = scores.map((value, i) => score(value, losses[i]));
    const tenTimesBriefer = 10 ** 0.7;
    // 0.003 has the lowest loss: the better decay at 0.01, that of the lower loss at 0.03.
    expect(keepOf(judged, 4, candidates, tenTimesBriefer)).toEqual([5, 7, 10, 12]);
    // With four times the epochs twice 0.003 is wanted, and 0.01 is the nearest; nothing is as near to the best.
    expect(keepOf(judged, 2, candidates, 4 ** 0.7)).toEqual([5, 12]);
    // Of a fine grid the nearest to 0.003 · √10, or the better of its like (9); then to √10 times that (13), or its like.
    const fine = Array.from({ length: 25 }, (_, i) => trial(0.001 * 10 ** (i / 8)));
    const calm = fine.map((_, i) => score(0.5 + i / 100, Math.abs(i - 4)));
    expect(keepOf(calm, 4, fine, tenTimesBriefer)).toEqual([9, 12, 22, 24]);
    // Not as far where the brief training is as long, and no other kin.
    expect(keepOf(judged, 2, candidates, 1)).not.toContain(5);
    const other = candidates.map((each, i) => (i > 3 ? { ...each, batchSize: 64 } : each));
    expect(keepOf(judged, 4, other, tenTimesBriefer)).not.toContain(5);
    // Nor where hardly anything was learned.
    const collapsed = judged.map((each, i) => (i === 4 || i === 5 ? { ...each, score: 0.4 } : each));
    expect(keepOf(collapsed, 3, candidates, tenTimesBriefer)).toEqual([7, 10, 12]);
  });

  test("takes what diverged last, and of that the smallest rates", () => {
    const lost = score(0, NaN, true);
    expect(
      keepOf(
        [lost, score(0.1), lost, lost],
        2,
        [3, 1, 2, 4].map((lr) => trial(lr)),
      ),
    ).toEqual([1, 2]);
    expect(
      keepOf(
        [lost, lost, lost],
        2,
        [3, 1, 2].map((lr) => trial(lr)),
      ),
    ).toEqual([1, 2]);
  });
});

describe("halve", () => {
  test("each head keeps its own best, and every rung trains its survivors from the plan", async () => {
    const { rungs } = planHalving({ candidates: 40, epochs: 28, overhead: 2 });
    const peaks = [5, 31];
    const trained: number[][][] = [];
    const { chosen, scores } = await halve({
      heads: 2,
      candidates: apart(40),
      rungs,
      evaluate: async (survivors, rung, index) => {
        expect(rung).toBe(rungs[index]);
        trained.push(survivors);
        return survivors.map((candidates, head) =>
          candidates.map((candidate) => score(1 - Math.abs(candidate - peaks[head]!) / 40)),
        );
      },
    });
    expect(chosen).toEqual(peaks);
    trained.forEach((survivors, index) => {
      for (const candidates of survivors) expect(candidates).toHaveLength(rungs[index]!.trials);
    });
    expect(trained.at(-1)![0]).toContain(5);
    expect(trained.at(-1)![1]).toContain(31);
    const count = (head: number) => scores[head]!.reduce((sum, ofCandidate) => sum + ofCandidate.length, 0);
    expect(count(0)).toBe(rungs.reduce((sum, { trials }) => sum + trials, 0));
  });

  test("chooses the first of equal scores in the last rung, and none that diverged", async () => {
    const scores = [score(0.9, 1, true), score(0.5, 3), score(0.5, 1)];
    const rungs = [{ trials: 3, epochs: 4, rateFactor: 1 }];
    const evaluate = async () => [scores];
    const { chosen } = await halve({ heads: 1, candidates: apart(3), rungs, evaluate });
    expect(chosen).toEqual([1]);
  });
});
