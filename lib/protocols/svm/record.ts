import { spread, type ClassResult, type LayerResult, type ResultRecord } from "../../results/record.js";
import { numberText } from "../../results/wording.js";
import { provenance } from "../provenance.js";
import type { SvmRun } from "./svm.js";
import { svmHead } from "./files.js";
import { countOf } from "./labels.js";
import { zeroRowsText, type LayerSvms } from "./layer.js";

/** The version changes whenever the same settings would give other numbers. */
export const svmProtocol = { id: "svm", version: 1 };

/** All that a run found, as one record. */
export function svmRecord(options: {
  run: SvmRun;
  found: LayerSvms[];
  startedAt: Date;
  trainSeconds: number;
}): ResultRecord {
  const { run, found, startedAt, trainSeconds } = options;
  const { features, plan, settings, resolved } = run;
  const { reportedOn } = plan.selection;
  return {
    ...provenance({
      protocol: svmProtocol,
      resolved,
      features,
      classes: features.classes,
      splits: { train: plan.train.rows.length, [reportedOn]: plan.report.rows.length, how: plan.how },
      startedAt,
      trainSeconds,
    }),
    // Nothing but the division of data without splits is drawn.
    seeds: [settings.splitSeed],
    selection: {
      on: `${settings.folds} folds of train`,
      metric: "stepAp",
      reportedOn,
      selectedOnReported: false,
    },
    results: found.map((layer) => layerResult(run, layer)),
  };
}

function layerResult(run: SvmRun, { layer, classes, zeroRows }: LayerSvms): LayerResult {
  const { costs } = run;
  const meanOf = (values: number[]) => spread([values.reduce((sum, value) => sum + value, 0) / values.length]);
  const told = classes.map((one, c): ClassResult => {
    const { name, sides, test } = run.labels[c]!;
    const { chosen, ap, ap11, crossval, gaps, converged } = one;
    const positives = { train: countOf(sides, 1), test: countOf(test, 1) };
    return { name, positives, cost: costs[chosen]!, ap, ap11, crossval, gaps, converged };
  });
  return {
    layer: layer.name,
    shape: layer.shape,
    width: layer.width,
    head: svmHead,
    parameters: classes.length * (layer.width + 1),
    // Each class has its own.
    chosen: {},
    metrics: { meanAp: meanOf(told.map(({ ap }) => ap)), meanAp11: meanOf(told.map(({ ap11 }) => ap11)) },
    selection: meanOf(classes.map(({ crossval, chosen }) => crossval[chosen]!)),
    trials: costs.map((cost, i) => ({
      setting: { cost },
      selection: meanOf(classes.map(({ crossval }) => crossval[i]!)),
      diverged: false,
    })),
    converged: told.every(({ converged }) => converged),
    classes: told,
    notes: notesOn(run, told, zeroRows),
  };
}

function notesOn({ costs, settings }: SvmRun, classes: ClassResult[], zeroRows: LayerSvms["zeroRows"]): string[] {
  const notes: string[] = [];
  const gaps = classes.flatMap((one) => one.gaps.flat());
  const short = gaps.filter((gap) => gap > settings.tolerance).length;
  if (short > 0) {
    const furthest = numberText(Math.max(...gaps));
    notes.push(
      `${short} of ${gaps.length} SVMs stopped before they reached the tolerance, the furthest at ${furthest}.`,
    );
  }
  const at = (cost: number) => classes.filter((one) => one.cost === cost).length;
  const [least, most] = [Math.min(...costs), Math.max(...costs)];
  if (costs.length > 1) {
    if (at(most) > classes.length / 2) notes.push("The largest cost was the best for most classes: try larger ones.");
    if (at(least) > classes.length / 2)
      notes.push("The smallest cost was the best for most classes: try smaller ones.");
  }
  if (zeroRows.train + zeroRows.test > 0) notes.push(`${zeroRowsText(zeroRows)}.`);
  return notes;
}
