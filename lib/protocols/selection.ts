import { UserError } from "../errors.js";
import type { Trial } from "../heads/block.js";
import type { HeadSpec } from "../heads/head.js";
import { topKAccuracy } from "../metrics/top-k.js";
import type { Spread } from "../results/record.js";
import { spread } from "../results/record.js";
import { judge } from "./judging.js";
import type { Part } from "./splits.js";
import type { SeededBank } from "./training.js";

/** The trial that a head is reported with. */
export interface Choice {
  trial: number;
  /** The selection metric of every trial over the seeds; null for one that diverged or where nothing was chosen. */
  selection: (Spread | null)[];
  diverged: boolean[];
}

/** Top-1 of every trial on a part: `[seed][head][trial]`. */
export async function everyTrial(options: {
  banks: SeededBank[];
  part: Part;
  layers: string[];
  classes: number;
}): Promise<number[][][]> {
  const { banks, ...rest } = options;
  const scores: number[][][] = [];
  for (const { bank } of banks) {
    const judged = await judge({ bank, ...rest });
    scores.push(judged.map((ofHead) => ofHead.map(({ ranks }) => topKAccuracy(ranks, 1))));
  }
  return scores;
}

/**
 * Chooses the trial with the highest mean over the seeds; the first of equal ones.
 *
 * @param scores as {@link everyTrial} gives them; undefined where there is one trial, and nothing to choose.
 * @throws UserError where every trial diverged for some seed.
 */
export function choose(options: {
  head: HeadSpec;
  /** Position of the head in the banks. */
  h: number;
  trials: Trial[];
  banks: SeededBank[];
  scores?: number[][][];
}): Choice {
  const { head, h, trials, banks, scores } = options;
  const diverged = trials.map((_, t) => banks.some(({ bank }) => bank.diverged[h]![t]!));
  if (!diverged.includes(false)) {
    const rates = [...new Set(trials.map(({ lr }) => lr))].join(", ");
    throw new UserError(`Expected a setting under which ${head.layer} ${head.kind} trains, but all of them diverged`, {
      hint: `Try smaller learning rates than ${rates} (--lr), or normalised features.`,
    });
  }
  const selection = trials.map((_, t) =>
    scores && !diverged[t] ? spread(scores.map((ofSeed) => ofSeed[h]![t]!)) : null,
  );
  let trial = diverged.indexOf(false);
  selection.forEach((found, t) => {
    if (found && found.mean > selection[trial]!.mean) trial = t;
  });
  return { trial, selection, diverged };
}
