import path from "node:path";

import { UserError, messageOf, show } from "../errors.js";
import { exists, readText } from "../files.js";
import { silent } from "../progress.js";
import type { Dataset, SplitName } from "./dataset.js";
import { classesOfValues, encodeValues, labelValue, type LabelValue } from "./label-values.js";
import { checkClasses } from "./labels.js";
import { datasetName } from "./listing.js";
import type { FormatOptions } from "./open.js";
import { findShards, shardedSplit, type Shard } from "./shards.js";
import { tarEntries, type TarEntry } from "./tar.js";

/** The images of one split, in the order of the archives. */
interface Samples {
  shards: Shard[];
  ids: string[];
  labels: LabelValue[];
  places: { path: string; offset: number; length: number }[];
}

const imageEndings = ["jpg", "jpeg", "png", "webp"];

/** What a label may stand in; the first that a sample has counts. */
const labelEndings = ["cls", "json", "txt"];

/**
 * Tar archives as WebDataset writes them: files that follow one another and have the same name up to the first dot are
 * one sample. An image is `.jpg`, `.jpeg`, `.png` or `.webp`; its label `.cls` or else the `label` of `.json` or else
 * `.txt`: a class index, a class name, or (JSON) a list of either. Names of classes may stand in `classnames.txt`
 * beside the archives or above.
 *
 * Opening reads the headers and labels once; images are read by their place in the archive, which is not unpacked.
 */
export async function openWebdataset({ spec, place, classes, progress = silent }: FormatOptions): Promise<Dataset> {
  const { splits } = await findShards({ spec, place, extension: ".tar" });
  const read = new Map<SplitName, Samples>();
  for (const [name, shards] of splits) {
    const samples: Samples = { shards, ids: [], labels: [], places: [] };
    const task = progress.task({ label: `listing ${name}`, total: shards.length, unit: "archives" });
    try {
      for (const { file } of shards) {
        await readShard(file, samples);
        task.advance(1);
      }
    } finally {
      task.end();
    }
    read.set(name, samples);
  }

  const all = [...read.values()].flatMap(({ labels }) => labels);
  const first = [...splits.values()][0]![0]!.file;
  const names = classes ?? (await classNames(path.dirname(first))) ?? classesOfValues(all, spec);
  checkClasses(names, spec);
  const multiLabel = all.some((label) => Array.isArray(label));
  const name = datasetName(path.dirname(first));
  const dataset: Dataset = { spec, name, classes: names, multiLabel, splits: {} };
  for (const [split, { shards, ids, labels, places }] of read) {
    dataset.splits[split] = shardedSplit({
      format: "webdataset",
      name: split,
      ids,
      targets: encodeValues({
        values: labels,
        classes: names,
        multiLabel,
        where: (index) => `sample ${ids[index]!} of ${places[index]!.path}`,
      }),
      classes: names,
      shards,
      source: (index) => ({ kind: "range", ...places[index]! }),
    });
  }
  return dataset;
}

interface Sample {
  key: string;
  image?: TarEntry;
  label?: { value: LabelValue; rank: number };
  endings: Set<string>;
}

async function readShard(file: string, samples: Samples): Promise<void> {
  const shard = path.basename(file, path.extname(file));
  const keys = new Set<string>();
  let sample: Sample | undefined;
  const finish = () => {
    if (!sample) return;
    const { key, image, label } = sample;
    // A file of its own, such as a licence, is no sample.
    if (!image && !label) return;
    if (!image) throw new UserError(`Expected an image (${imageEndings.join(", ")}) for ${key} in ${file}`);
    if (!label) {
      throw new UserError(`Expected a label (${labelEndings.join(", ")}) for ${key} in ${file} but there is none`);
    }
    samples.ids.push(`${shard}/${key}`);
    samples.labels.push(label.value);
    samples.places.push({ path: file, offset: image.offset, length: image.size });
  };
  for await (const entry of tarEntries(file)) {
    const [, key, written] = /^(?:\.\/)?((?:.*\/)?[^./][^./]*)\.([^/]*)$/.exec(entry.name) ?? [];
    if (key === undefined || written === undefined) continue;
    const ending = written.toLowerCase();
    if (sample?.key !== key) {
      finish();
      if (keys.has(key)) {
        throw new UserError(`Expected the files of each sample side by side in ${file} but ${key} comes again`, {
          hint: "Names up to the first dot are samples; make the archive with its files in order (tar --sort=name).",
        });
      }
      keys.add(key);
      sample = { key, endings: new Set() };
    }
    if (sample.endings.has(ending))
      throw new UserError(`Expected each file once in ${file} but ${entry.name} comes twice`);
    sample.endings.add(ending);
    if (imageEndings.includes(ending)) {
      if (sample.image) throw new UserError(`Expected one image for ${key} in ${file} but there are several`);
      sample.image = entry;
    }
    const rank = labelEndings.indexOf(ending);
    if (rank >= 0 && rank < (sample.label?.rank ?? Infinity)) {
      const value = await readLabel(entry, ending, file);
      if (value !== undefined) sample.label = { value, rank };
    }
  }
  finish();
}

/** undefined where a JSON file says nothing of a label. */
async function readLabel(entry: TarEntry, ending: string, file: string): Promise<LabelValue | undefined> {
  const where = `${entry.name} in ${file}`;
  const text = (await entry.read()).toString("utf8");
  if (ending !== "json") {
    if (text.trim() === "") throw new UserError(`Expected a label for ${where} but it is empty`);
    return labelValue(text);
  }
  const label = labelOf(parse(text, where));
  if (label === undefined) return undefined;
  if (isLabel(label)) return label;
  throw new UserError(
    `Expected a class index, a class name or a list of these for "label" of ${where} but received ${show(label)}`,
  );
}

function parse(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UserError(`Expected JSON for ${where} but it does not parse: ${messageOf(error)}`, { cause: error });
  }
}

function labelOf(value: unknown): unknown {
  return typeof value === "object" && value !== null && "label" in value ? value.label : undefined;
}

function isLabel(value: unknown): value is LabelValue {
  if (Array.isArray(value)) return value.every((one) => !Array.isArray(one) && isLabel(one));
  return typeof value === "string" ? value.trim() !== "" : Number.isInteger(value) && Number(value) >= 0;
}

/** A line a class. */
async function classNames(folder: string): Promise<string[] | undefined> {
  for (const file of [path.join(folder, "classnames.txt"), path.join(folder, "..", "classnames.txt")]) {
    if (!(await exists(file))) continue;
    return (await readText(file, "class names"))
      .trimEnd()
      .split("\n")
      .map((line) => line.trim());
  }
  return undefined;
}
