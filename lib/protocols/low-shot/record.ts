import type { FeatureLayer } from "../../features/source.js";
import { spread, type LayerResult, type ResultRecord } from "../../results/record.js";
import { provenance } from "../provenance.js";
import { meanAps } from "./files.js";
import type { LayerShots, ShotResult } from "./layer.js";
import type { LowShotRun } from "./low-shot-svm.js";

/** The version changes whenever the same settings would give other numbers. */
export const lowShotProtocol = { id: "svm-low-shot", version: 1 };

/** All that a run found, as one record. */
export function lowShotRecord(options: {
  run: LowShotRun;
  found: LayerShots[];
  startedAt: Date;
  trainSeconds: number;
}): ResultRecord {
  const { run, found, startedAt, trainSeconds } = options;
  const { features, plan, settings, resolved, classNames, ks } = run;
  const { reportedOn } = plan.selection;
  return {
    ...provenance({
      protocol: lowShotProtocol,
      resolved,
      features,
      classes: classNames,
      splits: { train: plan.train.rows.length, [reportedOn]: plan.report.rows.length, how: plan.how },
      startedAt,
      trainSeconds,
    }),
    seeds: Array.from({ length: settings.samples }, (_, i) => i + 1),
    selection: { on: "folds of the drawn images", metric: "stepAp", reportedOn, selectedOnReported: false },
    results: found.flatMap(({ layer, shots }) =>
      ks.map((k) => {
        const ofK = shots.filter((shot) => shot.k === k);
        return layerResult(run, layer, ofK);
      }),
    ),
  };
}

function layerResult({ costs, classes, notes }: LowShotRun, layer: FeatureLayer, shots: ShotResult[]): LayerResult {
  const { k } = shots[0]!;
  const aps = shots.map(meanAps);
  const chosen = shots.map(({ crossval }) => (crossval ? firstHighest(crossval) : nearestToOne(costs)));
  const crossval = shots.every((shot) => shot.crossval !== null);
  const byCost = costs.map((_, i) => spread(aps.map((ofSample) => ofSample[i]!)));
  const oracle = firstHighest(byCost.map(({ mean }) => mean));
  const selectionAt = (i: (sample: number) => number) =>
    crossval ? spread(shots.map((shot, s) => shot.crossval![i(s)]!)) : null;
  return {
    layer: layer.name,
    shape: layer.shape,
    width: layer.width,
    head: `svm_k${k}`,
    parameters: classes.length * (layer.width + 1),
    // Each sample has its own.
    chosen: {},
    metrics: { meanAp: spread(chosen.map((i, s) => aps[s]![i]!)) },
    selection: selectionAt((s) => chosen[s]!),
    trials: costs.map((cost, i) => ({ setting: { cost }, selection: selectionAt(() => i), diverged: false })),
    converged: shots.every(({ converged }) => converged),
    lowShot: {
      k,
      images: shots.map(({ images }) => images),
      costs: chosen.map((i) => costs[i]!),
      byCost,
      oracle: { cost: costs[oracle]!, meanAp: byCost[oracle]! },
      gap: Math.max(...shots.map(({ gap }) => gap)),
    },
    notes: [
      ...notes,
      ...(crossval ? [] : [`Of so few images none can be held out: the cost is ${costs[chosen[0]!]!}`]),
    ],
  };
}

/** The first of equal ones, as NumPy's argmax. */
function firstHighest(values: number[]): number {
  return values.indexOf(Math.max(...values));
}

/** What a cost is where nothing tells it: scikit-learn's and LIBLINEAR's default, or the nearest to it by factor. */
function nearestToOne(costs: number[]): number {
  const distances = costs.map((cost) => Math.abs(Math.log(cost)));
  return distances.indexOf(Math.min(...distances));
}
