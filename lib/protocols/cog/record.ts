import { headParameters } from "../../heads/head.js";
import { type LayerResult, type ResultRecord, type Setting, spread } from "../../results/record.js";
import { provenance } from "../provenance.js";
import type { FoundLogreg, LogregRun, SeedFit } from "./logreg.js";
import type { LogregProtocol } from "./protocol.js";
import { logregHead } from "./training.js";

/** The version changes whenever the same settings would give other numbers. */
export const logregProtocol = { id: "logreg", version: 1 };

/** All that a run found, as one record. */
export function logregRecord(options: {
  run: LogregRun;
  found: FoundLogreg[];
  startedAt: Date;
  trainSeconds: number;
}): ResultRecord {
  const { run, found, startedAt, trainSeconds } = options;
  const { features, plan, settings } = run;
  const { classes } = features;
  const { reportedOn } = plan.selection;
  const chose = found.some(({ fits }) => fits.some(({ selection }) => selection !== null));
  const percent = Number((100 * settings.valFraction).toFixed(2));
  const ofWhat = settings.shots === undefined || settings.asPublished ? "train" : "the drawn images";
  return {
    format: 1,
    protocol: logregProtocol,
    settings: JSON.parse(JSON.stringify(run.resolved)) as ResultRecord["settings"],
    backbone: features.backbone,
    data: {
      ...features.data,
      classes: { count: classes.length, names: classes.length <= 1000 ? classes : undefined },
      splits: { train: found[0]!.fits[0]!.images, [reportedOn]: plan.report.rows.length, how: plan.how },
    },
    seeds: settings.seeds,
    selection: {
      on: chose ? `held-out ${percent} % of ${ofWhat}` : null,
      metric: "top1",
      reportedOn,
      selectedOnReported: false,
    },
    results: found.map((one) => layerResult(run, one)),
    ...provenance({ features, startedAt, trainSeconds }),
  };
}

function layerResult({ features, settings, notes }: LogregRun, { layer, head, fits }: FoundLogreg): LayerResult {
  const { shots, normalize } = settings;
  const classes = features.classes.length;
  const selections = fits.map(({ selection }) => selection);
  return {
    layer: layer.name,
    shape: layer.shape,
    width: layer.width,
    head: headName(head, settings),
    parameters: headParameters(logregHead(layer, normalize), classes),
    chosen: common(fits.map(({ chosen }) => chosen)),
    metrics: {
      top1: spread(fits.map(({ top1 }) => top1)),
      ...(classes > 5 && { top5: spread(fits.map(({ top5 }) => top5)) }),
    },
    selection: selections.every((value) => value !== null) ? spread(selections) : null,
    trials: trialsOf(fits),
    converged: fits.every(({ converged }) => converged),
    logreg: {
      shots: shots ?? null,
      seeds: fits.map(({ seed, images, chosen, trials }) => ({ seed, images, chosen, trials })),
    },
    notes,
  };
}

/** What the record calls a method's head: with its number of shots. */
export function headName(head: string, { shots }: Pick<LogregProtocol, "shots">): string {
  return shots === undefined ? head : `${head}_n${shots}`;
}

/** What all seeds chose; each may have its own. */
function common(settings: Setting[]): Setting {
  const same = Object.entries(settings[0]!).filter(([name, value]) => settings.every((one) => one[name] === value));
  return Object.fromEntries(same);
}

/** Trial by trial over the seeds; of most searches each seed has settings of its own, which `logreg` tells. */
function trialsOf(fits: SeedFit[]): LayerResult["trials"] {
  const count = Math.min(...fits.map(({ trials }) => trials.length));
  if (count === 0) return [{ setting: common(fits.map(({ chosen }) => chosen)), selection: null, diverged: false }];
  return Array.from({ length: count }, (_, i) => {
    const own = fits.map(({ trials }) => trials[i]!);
    const values = own.flatMap(({ selection }) => selection ?? []);
    const diverged = values.length < own.length;
    return {
      setting: { trial: i, ...common(own.map(({ setting }) => setting)) },
      selection: diverged ? null : spread(values),
      diverged,
    };
  });
}
