import { show, UserError } from "../errors.js";
import { firstDifference } from "./difference.js";
import type { ResultRecord } from "./record.js";

/** A record and the file that it stands in. */
export interface RecordFile {
  file: string;
  record: ResultRecord;
}

/**
 * Settings that two runs of a comparison need not share. All others must be equal, those of later versions too: what
 * changes the meaning of a number is refused unless it is known not to.
 */
const mayDiffer = [
  // What is compared: a backbone, its layers and transform, the heads on them.
  "backbone",
  "layers",
  "heads",
  "methods",
  "transform",
  "precision",
  "computePrecision",
  // What is tried for each head, of which the best is chosen on images that are not reported.
  "optimizer",
  "penalties",
  "search",
  // The record tells what came of these: the digest of the data, the splits, the selection, the seeds.
  "data",
  "testFeatures",
  "seeds",
  "valFraction",
  "testFraction",
  "splitSeed",
  "selectOn",
  "reportOn",
  "onBadImage",
];

/**
 * What two runs must have in common, under the names that the record gives. In this order it is compared, so that the
 * first difference is the one that explains the others.
 */
function commonGround({
  record,
  ownFeatures,
}: {
  record: ResultRecord;
  ownFeatures: boolean;
}): Record<string, unknown> {
  const { protocol, settings, data, selection, seeds } = record;
  const { features, ...others } = settings;
  const { count, names } = data.classes;
  const common: Record<string, unknown> = {
    "protocol.id": protocol.id,
    "protocol.version": protocol.version,
    "settings.protocol": others.protocol,
    // The digest of features of one's own is theirs, not that of the images: see `ownFeatures` in compare.ts.
    ...(ownFeatures ? {} : { "data.digest": data.digest }),
    "data.classes.count": count,
    "data.classes.names": names,
    "selection.reportedOn": selection.reportedOn,
    "selection.on": selection.on,
    "selection.metric": selection.metric,
    "selection.selectedOnReported": selection.selectedOnReported,
    "data.splits": data.splits,
    seeds: [...seeds].sort((a, b) => a - b),
  };
  // Stores are places; features drawn anew in each epoch are another protocol.
  common["settings.features"] = features === "live" ? features : "stored";
  for (const name of Object.keys(others)
    .filter((name) => name !== "protocol" && !mayDiffer.includes(name))
    .sort()) {
    common[`settings.${name}`] = others[name];
  }
  return common;
}

/** Whether both are of features of one's own, of which nothing is known but what they are. */
export function haveOwnFeatures(a: ResultRecord, b: ResultRecord): boolean {
  return a.backbone === null && b.backbone === null;
}

/**
 * @throws UserError that names the first thing that differs, with both values and files, where the numbers of two runs
 * cannot stand side by side.
 */
export function refuseIncomparable(a: RecordFile, b: RecordFile): void {
  const ownFeatures = haveOwnFeatures(a.record, b.record);
  const common = [a, b].map(({ record }) => commonGround({ record, ownFeatures }));
  const difference = firstDifference(plain(common[0]!), plain(common[1]!));
  if (difference) throw incomparable({ what: difference.key, a: [difference.a, a.file], b: [difference.b, b.file] });
}

/** The sentence in which a comparison is refused. */
export function incomparable(options: {
  what: string;
  a: [value: unknown, file: string];
  b: [value: unknown, file: string];
}): UserError {
  const { what, a, b } = options;
  return new UserError(
    `Expected the same ${what} in all runs of a comparison but received ${show(a[0])} in ${a[1]} and ${show(b[0])} in ${b[1]}`,
    { hint: hintOn(what) },
  );
}

function hintOn(what: string): string {
  if (what === "data.digest") {
    return "The runs are of different data. Names, labels, sizes and times of all files count: a copied or touched data set is another one.";
  }
  if (what.startsWith("data.splits") || what.startsWith("selection")) {
    return "Numbers on other images, or with settings chosen elsewhere, do not compare; run again with the same splits and selection.";
  }
  if (what === "seeds") return "Run again with the same --seeds: the spread and the pairs are taken over them.";
  return "Only runs of one protocol on the same images compare; backbones, layers, heads and the sweep may differ.";
}

function plain(value: Record<string, unknown>): Record<string, unknown> {
  return JSON.parse(JSON.stringify(value)) as Record<string, unknown>;
}
