import type { HeadSpec } from "../../heads/head.js";
import { headParameters, headWidth } from "../../heads/head.js";
import { topKAccuracy } from "../../metrics/top-k.js";
import type { LayerResult, ResultRecord } from "../../results/record.js";
import { spread } from "../../results/record.js";
import { trialSettings } from "../../search/setting.js";
import type { SearchTrial } from "../../search/space.js";
import type { Judgement } from "../../training/judging.js";
import { scoreOf } from "../../training/judging.js";
import { targetsOf } from "../../training/passes.js";
import type { LinearRun } from "./linear.js";
import { withWidth } from "./heads.js";
import type { Outcome } from "./finished-rung.js";
import { provenance } from "../provenance.js";
import type { Choice } from "./selection.js";

/** The version changes whenever the same settings would give other numbers. */
export const linearProtocol = { id: "linear", version: 1 };

/** The entry of one layer under one head. */
export function layerResult(options: {
  run: LinearRun;
  head: HeadSpec;
  /** Of this head. */
  trials: SearchTrial[];
  choice: Choice;
  /** What the chosen trial said of the reported images, one a seed. */
  bySeed: Judgement[];
  outcomes: Outcome[];
}): LayerResult {
  const { run, head, trials, choice, bySeed, outcomes } = options;
  const { classes } = run;
  const settings = trialSettings(trials);
  const chosen = withWidth(head, trials[choice.trial]!.headWidth);
  return {
    layer: head.layer,
    shape: head.shape,
    width: headWidth(head),
    head: head.name,
    parameters: headParameters(chosen, classes.length),
    chosen: { ...settings[choice.trial]! },
    metrics: metricsOf(run, bySeed),
    selection: choice.selection[choice.trial] ?? null,
    trials: trials.map((_, t) => ({
      setting: { ...settings[t]! },
      selection: choice.selection[t]!,
      diverged: outcomes[t]!.diverged,
      epochsRun: outcomes[t]!.epochsRun,
    })),
    converged: outcomes[choice.trial]!.settled,
    notes: notesOn(trials, choice, outcomes),
  };
}

function metricsOf({ classes, plan }: LinearRun, bySeed: Judgement[]): LayerResult["metrics"] {
  const ranks = bySeed.flatMap((judgement) => (judgement.kind === "single" ? [judgement.ranks] : []));
  if (ranks.length === 0) {
    return { meanAp: spread(bySeed.map((judgement) => scoreOf(judgement, plan.report, classes.length).metric)) };
  }
  const accuracy = (k: number) => spread(ranks.map((ofSeed) => topKAccuracy(ofSeed, k)));
  return { top1: accuracy(1), ...(classes.length > 5 ? { top5: accuracy(5) } : {}) };
}

function notesOn(trials: SearchTrial[], { trial, selection }: Choice, outcomes: Outcome[]): string[] {
  const rates = trials.map(({ lr }) => lr);
  const { lr } = trials[trial]!;
  // Where another rate does as well, the edge of the grid says nothing.
  const alone = trials.every(
    (other, t) => other.lr === lr || (selection[t]?.mean ?? 0) < (selection[trial]?.mean ?? 0),
  );
  const notes: string[] = [];
  if (alone && new Set(rates).size > 1) {
    if (lr === Math.max(...rates)) notes.push("The largest learning rate tried was the best: try larger ones.");
    if (lr === Math.min(...rates)) notes.push("The smallest learning rate tried was the best: try smaller ones.");
  }
  const { solved } = outcomes[trial]!;
  if (solved !== undefined) notes.push(`L-BFGS reached its tolerance after ${solved} iterations.`);
  const lost = outcomes.filter(({ diverged }) => diverged).length;
  if (lost > 0) notes.push(`${lost} of ${trials.length} settings diverged.`);
  return notes;
}

/** All that the evaluation found, as one record. */
export function linearRecord(options: {
  run: LinearRun;
  results: LayerResult[];
  startedAt: Date;
  trainSeconds: number;
}): ResultRecord {
  const { run, results, startedAt, trainSeconds } = options;
  const { features, plan, settings, resolved, classes } = run;
  const common = provenance({
    protocol: linearProtocol,
    resolved,
    features,
    classes,
    splits: {
      train: plan.train.rows.length,
      // Where the choice and the report are on one split, there is one entry.
      ...(plan.select ? { val: plan.select.rows.length } : {}),
      [plan.selection.reportedOn]: plan.report.rows.length,
      how: plan.how,
    },
    startedAt,
    trainSeconds,
  });
  return {
    ...common,
    data: { ...common.data, majorityRate: majorityRate(run) },
    seeds: settings.seeds,
    selection: { ...plan.selection, metric: run.loss.kind === "binary_cross_entropy" ? "meanAp" : "top1" },
    results,
  };
}

/** Share of the most frequent class among the reported images; of data with several labels nothing. */
function majorityRate({ plan, classes }: LinearRun): number | undefined {
  const { source, rows } = plan.report;
  if (source.targets.kind === "multi") return undefined;
  const labels = targetsOf(source, rows);
  const counts = new Int32Array(classes.length);
  for (const label of labels) counts[label]!++;
  return Math.max(...counts) / labels.length;
}
