import { haveOwnFeatures } from "./comparability.js";
import { bestBySelection, isSingleLabel, metricOf, type Run } from "./compared-run.js";
import { firstDifference } from "./difference.js";
import type { ResultRecord } from "./record.js";
import { metricTitle } from "./wording.js";

/** What a reader of these runs side by side should know. */
export function notesOn(runs: Run[]): string[] {
  const notes: string[] = [];
  const [first, ...others] = runs as [Run, ...Run[]];
  const metric = metricTitle(metricOf(first.record));
  if (runs.some(({ record }) => !record.results.every(isSingleLabel))) {
    notes.push(
      `No paired tests: they need one label an image, which is right or wrong, and these runs are told by ${metric}. ` +
        "That they report the same images is known from the digest of the data and the splits.",
    );
  }
  if (runs.some(({ record }) => bestBySelection(record) === undefined)) {
    notes.push(
      "The best of a run is not told where one setting was trained and nothing held out: it could only be chosen on the reported images.",
    );
  }
  if (first.record.selection.selectedOnReported) {
    notes.push("TOO GOOD: settings were chosen on the images reported here; the tests do not correct for that.");
  }
  const differing = others.find(({ record }) => firstDifference(sweepOf(first.record), sweepOf(record)));
  if (differing) {
    const { key, a, b } = firstDifference(sweepOf(first.record), sweepOf(differing.record))!;
    const values = [a, b].map((value) => JSON.stringify(value) ?? "nothing");
    notes.push(`The sweeps differ: ${key} is ${values[0]} in ${first.name} and ${values[1]} in ${differing.name}.`);
  }
  if (others.some(({ record }) => haveOwnFeatures(first.record, record))) {
    notes.push("Features of one's own: that their rows are the same images is known from their labels alone.");
  }
  return notes;
}

function sweepOf({ settings }: ResultRecord): Record<string, unknown> {
  const { optimizer = null, search = null } = settings;
  return { optimizer, search };
}
