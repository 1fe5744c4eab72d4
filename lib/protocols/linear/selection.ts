import { UserError } from "../../errors.js";
import type { HeadSpec } from "../../heads/head.js";
import type { Spread } from "../../results/record.js";
import { spread } from "../../results/record.js";
import type { SearchTrial } from "../../search/space.js";
import type { Outcome } from "./finished-rung.js";

/** The trial that a head is reported with. */
export interface Choice {
  trial: number;
  /** The selection metric of every trial over the seeds; null for one that diverged or where nothing was chosen. */
  selection: (Spread | null)[];
}

/**
 * Chooses the trial with the highest mean over the seeds; the first of equal ones. Trials that were stopped before the
 * last epoch take no part.
 *
 * @throws UserError where every trial diverged for some seed.
 */
export function choose(options: { head: HeadSpec; trials: SearchTrial[]; outcomes: Outcome[] }): Choice {
  const { head, trials, outcomes } = options;
  const longest = Math.max(...outcomes.map(({ epochsRun }) => epochsRun));
  const finalists = outcomes.flatMap(({ diverged, epochsRun }, t) => (diverged || epochsRun < longest ? [] : [t]));
  if (finalists.length === 0) {
    const rates = [...new Set(trials.map(({ lr }) => lr))].join(", ");
    throw new UserError(`Expected a setting under which ${head.layer} ${head.name} trains, but all of them diverged`, {
      hint: `Try smaller learning rates than ${rates} (--lr), or normalised features.`,
    });
  }
  const selection = outcomes.map(({ scores, diverged }) => (scores && !diverged ? spread(scores) : null));
  const trial = finalists.reduce((best, t) => ((selection[t]?.mean ?? 0) > (selection[best]?.mean ?? 0) ? t : best));
  return { trial, selection };
}
