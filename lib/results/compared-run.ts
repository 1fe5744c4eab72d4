import { realpath } from "node:fs/promises";
import path from "node:path";

import { expected, UserError } from "../errors.js";
import { wilsonInterval } from "../metrics/paired.js";
import type { ComparedRun } from "./comparison.js";
import { type LayerResult, readRecord, type ResultRecord, type Spread } from "./record.js";

/** A run that is whole, and where it stands. */
export interface Run {
  name: string;
  folder: string;
  file: string;
  record: ResultRecord;
}

/** @throws UserError where there are fewer than two, one has no result, or one comes twice. */
export async function openRuns(places: string[]): Promise<Run[]> {
  if (places.length < 2) throw expected("two runs or more", "a comparison", places);
  const folders = places.map((place) => (path.basename(place) === "result.json" ? path.dirname(place) : place));
  const records: ResultRecord[] = [];
  const real: string[] = [];
  for (const folder of folders) {
    records.push(await readRecord(path.join(folder, "result.json")));
    const one = await realpath(folder);
    if (real.includes(one)) {
      throw new UserError(`Expected each run once in a comparison but received ${folder} twice`, {
        hint: `It is the same folder as ${folders[real.indexOf(one)]}.`,
      });
    }
    real.push(one);
  }
  const names = tellingNames(folders);
  return folders.map((folder, i) => {
    return { name: names[i]!, folder, file: path.join(folder, "result.json"), record: records[i]! };
  });
}

/** Of paths what they do not all begin and end with: `runs/a-photos/linear`, `runs/b-photos/linear` → `a-photos`, `b-photos`. */
function tellingNames(folders: string[]): string[] {
  let parts = folders.map((folder) => path.resolve(folder).split(path.sep));
  const common = (place: number) => parts.every((own) => own.length > 1 && own.at(place) === parts[0]!.at(place));
  while (common(-1)) parts = parts.map((own) => own.slice(0, -1));
  while (common(0)) parts = parts.map((own) => own.slice(1));
  return parts.map((own) => own.join("/"));
}

/** The metric that settings are chosen by, where it is reported too. */
export function metricOf({ selection, results }: ResultRecord): string {
  const reported = Object.keys(results[0]!.metrics);
  return reported.includes(selection.metric) ? selection.metric : reported[0]!;
}

/** The metrics that are there, whatever the task. */
export function metricsOf({ metrics }: LayerResult): Record<string, Spread> {
  return Object.fromEntries(Object.entries(metrics).filter(([, measured]) => measured !== undefined));
}

/** Whether an image is either right or wrong, so that paired tests have a meaning. */
export function isSingleLabel(entry: LayerResult): boolean {
  return metricsOf(entry).top1 !== undefined;
}

/** The entry that was the best where settings were chosen; undefined where there are several and nothing was chosen. */
export function bestBySelection({ results }: ResultRecord): LayerResult | undefined {
  if (results.length === 1) return results[0];
  if (results.some(({ selection }) => selection === null)) return undefined;
  return results.reduce((best, each) => (each.selection!.mean > best.selection!.mean ? each : best));
}

/** A run as the comparison tells it. */
export function comparedRun({ name, folder, record }: Run): ComparedRun {
  const images = record.data.splits[record.selection.reportedOn]!;
  const best = bestBySelection(record);
  return {
    name,
    folder,
    backbone: record.backbone,
    entries: record.results.map((entry) => {
      const { layer, head, selection, chosen } = entry;
      const metrics = metricsOf(entry);
      const share = metrics.top1?.mean;
      const interval = share === undefined ? null : wilsonInterval({ share, n: images });
      return { layer, head, metrics, interval, selection, chosen };
    }),
    best: best ? { layer: best.layer, head: best.head } : null,
  };
}
