import fs from "node:fs/promises";
import path from "node:path";

import { z } from "zod";

import type { DescribedBackbone } from "../backbones/backbone.js";
import { parseLayers } from "../backbones/layers.js";
import type { LayerEntry } from "../backbones/layers.js";
import type { Dataset, DatasetSplit, SplitName } from "../datasets/dataset.js";
import { digestOf, exists, readJson, writeFileAtomic, writeJson } from "../files.js";
import { badImagesError } from "../images/pipeline.js";
import { parseTransform } from "../images/transform.js";
import type { Job } from "../launch/job.js";
import { launch } from "../launch/launch.js";
import type { LaunchOptions } from "../launch/launch.js";
import { silent } from "../progress.js";
import { addLayers } from "./add-layers.js";
import { checkSize, placeOf, splitsOf } from "./extract.js";
import { layerSpec } from "./fill-store.js";
import { mergeStores } from "./merge-stores.js";
import { findStore, mostRowsPerShard, readDescription, sameLayer, storeFolders } from "./store-format.js";
import type { LayerSpec, StorePlace } from "./store-format.js";
import { readJournal } from "./store-journal.js";
import { rowsOfPart } from "./store-part.js";
import type { StorePart } from "./store-part.js";
import { missingLayers, openStore } from "./store.js";
import type { FeatureStore } from "./store.js";

export interface LaunchedExtractionOptions extends Pick<
  LaunchOptions,
  "place" | "slurm" | "threads" | "progress" | "signal" | "every"
> {
  backbone: DescribedBackbone;
  dataset: Dataset;
  layers?: readonly LayerEntry[];
  splits?: SplitName[];
  transform?: string;
  root?: string;
  precision?: "float32" | "float16";
  onBadImage?: "stop" | "skip";
  /**
   * Settings of `extract-features` as YAML, for the jobs: those that were given here, and how images are read, with
   * what is missing in place of all that was asked for.
   */
  settings: (missing: { layers: string[]; splits: SplitName[] }) => string;
}

/** A split that is asked for, and where its store and those of its parts are. */
interface Wanted {
  split: DatasetSplit;
  /** Those of the layers asked for that its store lacks. */
  lacking: LayerSpec[];
  whole: StorePlace;
  part: (part: StorePart) => StorePlace;
}

/**
 * The features of a data set, extracted by jobs side by side: each extracts one part of every split, and the parts are
 * merged to the stores that an undivided run would have written. Does only what is missing.
 *
 * @throws UserError as `extractFeatures` and `launch`.
 */
export async function launchExtraction(options: LaunchedExtractionOptions): Promise<FeatureStore[]> {
  const { backbone, dataset, onBadImage = "stop", precision = "float32", place, progress = silent, signal } = options;
  const transform = parseTransform(options.transform ?? backbone.manifest.transform);
  checkSize(backbone, transform);
  const layers = parseLayers({ text: options.layers ?? "all", taps: backbone.taps }).map(layerSpec);
  const wanted: Wanted[] = [];
  for (const split of splitsOf(dataset, options.splits)) {
    const settings = { ...options, split, transform: transform.text, precision };
    const whole = placeOf(settings);
    const folder = await findStore(whole);
    const lacking = folder ? await missingLayers({ folder, layers }) : layers;
    wanted.push({ split, lacking, whole, part: (part) => placeOf({ ...settings, part }) });
  }
  const missing = wanted.filter(({ lacking }) => lacking.length > 0);
  if (missing.length > 0) {
    const lacking = layers.filter((layer) => missing.some((one) => one.lacking.includes(layer)));
    const digest = digestOf([wanted.map(({ whole }) => whole.key), layers]).slice(0, 8);
    const { whole } = wanted[0]!;
    const folder = path.join(path.dirname(storeFolders(whole).plain), `launch-${digest}`);
    const count = await partsOf(folder, missing, place, (line) => progress.note(line));
    const file = path.resolve(folder, "settings.yaml");
    const asked = { layers: lacking.map(({ name }) => name), splits: missing.map(({ split }) => split.name) };
    await writeFileAtomic(file, options.settings(asked));
    await launch({
      ...options,
      folder,
      jobs: jobsOf({ missing, layers: lacking, count, file, name: whole.dataset }),
      unit: "images",
    });
    for (const one of missing) await mergeParts(one, count, { progress, signal });
  }
  const stores: FeatureStore[] = [];
  for (const { whole, split } of wanted) {
    const store = await openStore({ folder: (await findStore(whole))!, key: whole.key });
    if (store.skipped.length > 0 && onBadImage === "stop") throw badImagesError(store.skipped, split.size);
    stores.push(store);
  }
  return stores;
}

/** Of the launch that was begun in this folder, or for a new one. */
async function partsOf(
  folder: string,
  missing: Wanted[],
  place: LaunchOptions["place"],
  note: (line: string) => void,
): Promise<number> {
  const most = Math.max(...missing.map(({ split }) => Math.ceil(split.size / mostRowsPerShard)));
  const asked =
    place.kind === "local" ? place.processes : (place.jobs ?? Math.ceil((most * mostRowsPerShard) / 50_000));
  const file = path.join(folder, "launch.json");
  if (await exists(file)) {
    const { parts } = z.strictObject({ parts: z.int().positive() }).parse(await readJson(file, "a launch"));
    if (parts !== Math.min(asked, most)) note(`goes on with the ${parts} parts in which it was begun`);
    return parts;
  }
  const parts = Math.min(asked, most);
  await writeJson(file, { parts });
  return parts;
}

function jobsOf(options: { missing: Wanted[]; layers: LayerSpec[]; count: number; file: string; name: string }): Job[] {
  const { missing, layers, count, file, name } = options;
  return Array.from({ length: count }, (_, i) => {
    const part = { index: i + 1, count };
    const rows = (split: DatasetSplit) => {
      const { from, to } = rowsOfPart(split.size, part);
      return to - from;
    };
    const shard = `${part.index}/${count}`;
    return {
      label: `${name} ${shard}`,
      argv: ["extract-features", "--config", file, "--shard", shard],
      total: missing.reduce((sum, { split }) => sum + rows(split), 0),
      done: async () => {
        let done = 0;
        for (const one of missing) done += await rowsDone(one.part(part), layers, rows(one.split));
        return done;
      },
    };
  });
}

/** How many of a part's rows are on the disk in all layers; less than all until its store is whole. */
async function rowsDone(place: StorePlace, layers: LayerSpec[], rows: number): Promise<number> {
  const folder = rows > 0 && (await findStore(place));
  if (!folder) return 0;
  const missing = await missingLayers({ folder, layers });
  if (missing.length === 0) return rows;
  const journal = await readJournal(folder);
  const covered = missing.map((layer) => {
    const begun = journal.layers.find((other) => sameLayer(layer, other));
    return begun ? begun.shards.length * begun.rowsPerShard : 0;
  });
  return Math.min(...covered, rows - 1);
}

/** Merges the parts, into the store where there is one, and removes them. */
async function mergeParts(
  { split, whole, part }: Wanted,
  count: number,
  rest: Pick<LaunchedExtractionOptions, "progress" | "signal">,
): Promise<void> {
  const places = Array.from({ length: count }, (_, i) => ({ index: i + 1, count }))
    .filter((one) => rowsOfPart(split.size, one).from < rowsOfPart(split.size, one).to)
    .map(part);
  const parts = await Promise.all(places.map(async (one) => (await findStore(one))!));
  const there = await findStore(whole);
  if (there) {
    const added = `${there}.added`;
    await fs.rm(added, { recursive: true, force: true });
    await mergeStores({ ...rest, out: added, parts });
    await addLayers({ from: added, to: there });
  } else {
    const { plain, keyed } = storeFolders(whole);
    await mergeStores({ ...rest, out: (await readDescription(plain)) ? keyed : plain, parts });
  }
  for (const folder of parts) await fs.rm(folder, { recursive: true });
}
