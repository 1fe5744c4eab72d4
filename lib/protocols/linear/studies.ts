import fs from "node:fs/promises";
import path from "node:path";

import { openStudyJournal } from "../../results/study-journal.js";
import type { CandidateScore, HalvingOptions } from "../../search/halving.js";
import type { Rung } from "../../search/rungs.js";
import { openStudy, type Study } from "../../search/study.js";
import type { LinearRun } from "./linear.js";
import { linearStudySpace } from "./trials.js";

/**
 * Asks a study of each head for its trials, round by round, and tells it their scores. A diverged trial has a score of
 * 0, so that what is near it is not tried again. A run that goes on asks the studies that the run before has kept.
 *
 * @param options.run its `trials` are added to.
 * @param options.rungs one a round.
 */
export async function askStudies({
  run,
  rungs,
  evaluate,
}: {
  run: LinearRun;
  rungs: Rung[];
  evaluate: HalvingOptions["evaluate"];
}): Promise<void> {
  const space = linearStudySpace(run.settings);
  const options = { space: space.ranges, goal: "maximize", seed: run.settings.searchSeed ?? 0 } as const;
  const studies: (Study & { close?: () => void })[] = [];
  try {
    for (const { layer, name: head } of run.heads) {
      const file = run.writer?.studyFile({ layer, head });
      if (file !== undefined) await fs.mkdir(path.dirname(file), { recursive: true });
      const kept = file !== undefined && openStudyJournal({ ...options, file, name: `${layer} ${head}` });
      studies.push(kept || openStudy(options));
    }
    for (const [index, rung] of rungs.entries()) {
      const asked = studies.map((study, h) => {
        const own = run.trials[h]!;
        const until = own.length + rung.trials;
        while (study.trials.length < until) study.ask(until - study.trials.length);
        const added = study.trials.slice(own.length, until);
        own.push(...added.map(({ parameters }) => space.trial(parameters)));
        return added.map(({ number }) => number);
      });
      const scores = await evaluate(asked, rung, index);
      studies.forEach((study, h) => {
        const outcomes = asked[h]!.map((number, i) => ({ number, value: valueOf(scores[h]![i]!) }));
        study.tell(outcomes.filter(({ number }) => study.trials[number]!.state === "running"));
      });
    }
  } finally {
    for (const study of studies) study.close?.();
  }
}

function valueOf({ score, diverged }: CandidateScore): number {
  return diverged ? 0 : score;
}
