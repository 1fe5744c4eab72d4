import { headParameters } from "../../heads/head.js";
import { type LayerResult, type ResultRecord, type Setting, spread } from "../../results/record.js";
import { numberText, percent } from "../../results/wording.js";
import { provenance } from "../provenance.js";
import type { FoundLogreg, LogregRun, SeedFit } from "./logreg.js";
import type { LogregMethod } from "./method.js";
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
  const { features, plan, settings, resolved } = run;
  const { reportedOn } = plan.selection;
  const chose = found.some(({ fits }) => fits.some(({ selection }) => selection !== null));
  const percent = Number((100 * settings.valFraction).toFixed(2));
  const ofWhat = settings.shots === undefined || settings.asPublished ? "train" : "the drawn images";
  return {
    ...provenance({
      protocol: logregProtocol,
      resolved,
      features,
      classes: features.classes,
      splits: { train: found[0]!.fits[0]!.images, [reportedOn]: plan.report.rows.length, how: plan.how },
      startedAt,
      trainSeconds,
    }),
    seeds: settings.seeds,
    selection: {
      on: chose ? `held-out ${percent} % of ${ofWhat}` : null,
      metric: "top1",
      reportedOn,
      selectedOnReported: false,
    },
    results: run.layers.flatMap((layer) =>
      compared(found.filter((one) => one.layer === layer).map((one) => layerResult(run, one))),
    ),
  };
}

function layerResult({ features, settings, notes }: LogregRun, { layer, method, fits }: FoundLogreg): LayerResult {
  const { shots, normalize } = settings;
  const classes = features.classes.length;
  const selections = fits.map(({ selection }) => selection);
  return {
    layer: layer.name,
    shape: layer.shape,
    width: layer.width,
    head: headName(method, settings),
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
      seeds: fits.map(({ seed, images, chosen, trials, solution }) => ({ seed, images, chosen, trials, solution })),
    },
    notes: [...(method.searches(settings) ? notes : []), ...convergenceOf(fits)],
  };
}

/** Says of the methods of a layer which is the better one on the images of the choice: never on those that are reported. */
function compared(results: LayerResult[]): LayerResult[] {
  const means = results.map(({ selection }) => selection?.mean);
  if (results.length < 2 || !means.every((mean) => mean !== undefined)) return results;
  const best = means.indexOf(Math.max(...means));
  return results.map((result, i) => {
    const others = means.filter((_, j) => j !== i).map((mean) => percent(mean, 1));
    const note = `By validation the better method, ${percent(means[i]!, 1)} % to ${others.join(", ")} %`;
    return {
      ...result,
      logreg: { ...result.logreg!, better: i === best },
      notes: i === best ? [...result.notes, note] : result.notes,
    };
  });
}

/** How near to its least the loss came. */
function convergenceOf(fits: SeedFit[]): string[] {
  const solutions = fits.flatMap(({ solution }) => solution ?? []);
  if (solutions.length === 0) return [];
  const gap = Math.max(...solutions.map((one) => one.gap));
  const passes = solutions.map((one) => one.passes);
  const range = [...new Set([Math.min(...passes), Math.max(...passes)])].join(" to ");
  return [
    `L-BFGS took ${range} passes over the images; a further step would gain ${numberText(gap)} of the loss at most`,
  ];
}

/** What the record calls a method's head: with its number of shots. */
export function headName({ head }: LogregMethod, { shots }: Pick<LogregProtocol, "shots">): string {
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
