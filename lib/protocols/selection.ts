import { UserError } from "../errors.js";
import type { HeadBank } from "../heads/bank.js";
import { topKAccuracy } from "../metrics/top-k.js";
import type { Spread } from "../results/record.js";
import { spread } from "../results/record.js";
import { judge } from "./judging.js";
import type { Part } from "./splits.js";

/** The trial that a head is reported with. */
export interface Choice {
  trial: number;
  /** The selection metric of every trial over the seeds; null for one that diverged or where nothing was chosen. */
  selection: (Spread | null)[];
  diverged: boolean[];
}

/** Top-1 of every trial on a part: `[seed][head][trial]`. */
export async function everyTrial(options: {
  bank: HeadBank;
  part: Part;
  layers: string[];
  classes: number;
}): Promise<number[][][]> {
  const judged = await judge(options);
  return judged.map((ofSeed) => ofSeed.map((ofHead) => ofHead.map(({ ranks }) => topKAccuracy(ranks, 1))));
}

/**
 * Chooses the trial with the highest mean over the seeds; the first of equal ones.
 *
 * @param options.h position of the head in the bank.
 * @param options.scores as {@link everyTrial} gives them; undefined where there is one trial, and nothing to choose.
 * @throws UserError where every trial diverged for some seed.
 */
export function choose({ bank, h, scores }: { bank: HeadBank; h: number; scores?: number[][][] }): Choice {
  const { trials } = bank;
  const diverged = trials.map((_, t) => bank.diverged.some((ofSeed) => ofSeed[h]![t]!));
  if (!diverged.includes(false)) {
    const { layer, kind } = bank.heads[h]!;
    const rates = [...new Set(trials.map(({ lr }) => lr))].join(", ");
    throw new UserError(`Expected a setting under which ${layer} ${kind} trains, but all of them diverged`, {
      hint: `Try smaller learning rates than ${rates} (--lr), or normalised features.`,
    });
  }
  const measure = (t: number) => scores?.map((ofSeed) => ofSeed[h]![t]!);
  const selection = trials.map((_, t) => (scores && !diverged[t] ? spread(measure(t)!) : null));
  let trial = diverged.indexOf(false);
  selection.forEach((found, t) => {
    if (found && found.mean > selection[trial]!.mean) trial = t;
  });
  return { trial, selection, diverged };
}
