import path from "node:path";

import { UserError, expected } from "../errors.js";
import { readText } from "../files.js";
import { readNpy } from "../features/npy-file.js";
import { npyTargets } from "../features/npy-targets.js";
import { toIntegers } from "../features/npy.js";
import type { NpyArray } from "../features/npy.js";
import type { Dataset, SplitName, Targets } from "./dataset.js";
import { checkClasses, checkTargets, classesOf, encodeLabels, numbered, separator } from "./labels.js";
import { datasetName, fileSplit, splitNamed, uniqueIds } from "./listing.js";
import type { FormatOptions } from "./open.js";

interface ListedSplit {
  imagesFile: string;
  labelsFile: string;
  images: string[];
  /** Class indices, or names that are still to be numbered. */
  labels: Targets | string[];
}

const usage = "Write list:IMAGES,LABELS, or list:train=IMAGES,LABELS,val=IMAGES,LABELS.";

/**
 * File lists, as VISSL's `disk_filelist` has them: a list of image paths (`.npy` of strings, or text with one a line;
 * relative to the list's folder) and one of labels: `.npy` of class indices [n] or [n, 1], of names [n], or multi-label
 * [n, classes] with 1, 0 and −1 (ignored); or text with an index, a name or `a|b` a line.
 *
 * `list:IMAGES,LABELS` is one split, `all`; `list:train=IMAGES,LABELS,val=IMAGES,LABELS` names them.
 */
export async function openList({ spec, place, classes, progress }: FormatOptions): Promise<Dataset> {
  const splits = new Map<SplitName, ListedSplit>();
  for (const [name, { images, labels }] of placesOf(place)) {
    splits.set(name, await readSplit(images, labels));
  }
  const listed = [...splits.values()];
  const names = classes ?? classNames(listed, place);
  checkClasses(names, `list:${place}`);

  const multiLabel = listed.some(({ labels }) => isMulti(labels));
  if (multiLabel && listed.some(({ labels }) => !Array.isArray(labels) && labels.kind === "single")) {
    throw new UserError(`Expected one label an image, or several, in all splits of ${spec} but received both`);
  }

  const first = listed[0]!;
  const name = datasetName(path.dirname(path.resolve(first.imagesFile)));
  const dataset: Dataset = { spec, name, classes: names, multiLabel, splits: {} };
  for (const [split, { imagesFile, labelsFile, images, labels }] of splits) {
    const root = path.dirname(path.resolve(imagesFile));
    const where = (index: number) => `entry ${index + 1} of ${labelsFile}`;
    const targets = Array.isArray(labels) ? encodeLabels({ labels, classes: names, multiLabel, where }) : labels;
    checkTargets({ targets, classes: names, where });
    dataset.splits[split] = await fileSplit({
      format: "list",
      name: split,
      root,
      files: images,
      ids: uniqueIds(images, imagesFile),
      targets,
      classes: names,
      missing: (index) =>
        new UserError(
          `Expected the image of entry ${index + 1} of ${imagesFile} but there is no file ${path.resolve(root, images[index]!)}`,
          { hint: "Paths are relative to the folder of the list." },
        ),
      progress,
    });
  }
  return dataset;
}

function isMulti(labels: ListedSplit["labels"]): boolean {
  return Array.isArray(labels) ? labels.some((label) => label.includes(separator)) : labels.kind === "multi";
}

function placesOf(place: string): Map<SplitName, { images: string; labels: string }> {
  const places = new Map<SplitName, { images: string; labels: string }>();
  const parts = place.split(",");
  for (let i = 0; i < parts.length; i += 2) {
    const [, word, rest] = /^(\w+)=(.*)$/.exec(parts[i]!) ?? [undefined, undefined, parts[i]!];
    const split = word === undefined ? "all" : splitNamed(word);
    const labels = parts[i + 1];
    if (!split) throw expected("train, val or test", `a split of list:${place}`, word, usage);
    if (!rest || !labels || places.has(split) || (split === "all" && parts.length > 2) || /^\w+=/.test(labels)) {
      throw new UserError(`Expected a list of images and a list of labels a split but received list:${place}`, {
        hint: usage,
      });
    }
    places.set(split, { images: rest, labels });
  }
  return places;
}

async function readSplit(imagesFile: string, labelsFile: string): Promise<ListedSplit> {
  const images = await readImages(imagesFile);
  const labels = labelsFile.endsWith(".npy")
    ? fromArray(await readNpy({ file: labelsFile }), labelsFile)
    : fromText(await readLines(labelsFile, "a list of labels"), labelsFile);
  if (images.length === 0) throw new UserError(`Expected image paths in ${imagesFile} but there are none`);
  const count = Array.isArray(labels)
    ? labels.length
    : labels.labels.length / (labels.kind === "multi" ? labels.classes : 1);
  if (count !== images.length) {
    throw new UserError(
      `Expected ${images.length} labels in ${labelsFile}, one an image of ${imagesFile}, but received ${count}`,
    );
  }
  return { imagesFile, labelsFile, images, labels };
}

async function readImages(file: string): Promise<string[]> {
  if (!file.endsWith(".npy")) return readLines(file, "a list of images");
  const { dtype, data } = await readNpy({ file });
  if (Array.isArray(data)) return data;
  throw new UserError(`Expected an array of strings, the paths of images, for ${file} but received dtype ${dtype}`);
}

function fromArray(array: NpyArray, file: string): Targets | string[] {
  return Array.isArray(array.data) && array.shape.length === 1 ? array.data : npyTargets(array, file);
}

function fromText(lines: string[], file: string): Targets | string[] {
  if (!lines.every((line) => /^-?\d+$/.test(line))) return lines;
  const labels = { dtype: "float64", shape: [lines.length], data: Float64Array.from(lines, Number) } as const;
  return { kind: "single", labels: toIntegers({ ...labels, shape: [...labels.shape] }, file) };
}

/** Lines without the spaces around them; empty ones at the end do not count. */
async function readLines(file: string, what: string): Promise<string[]> {
  const lines = (await readText(file, what))
    .replace(/^\uFEFF/, "")
    .split("\n")
    .map((line) => line.trim());
  while (lines.at(-1) === "") lines.pop();
  const empty = lines.indexOf("");
  if (empty >= 0) throw new UserError(`Expected ${what} in ${file} but line ${empty + 1} is empty`);
  return lines;
}

/** Names that were written, or `0` … largest index, over all splits. */
function classNames(splits: ListedSplit[], place: string): string[] {
  const named = splits.flatMap(({ labels }) => (Array.isArray(labels) ? [labels] : []));
  if (named.length === splits.length) return classesOf(named.flat());
  if (named.length > 0) {
    throw new UserError(`Expected class indices or class names in all splits of list:${place} but received both`);
  }
  let count = 0;
  for (const { labels } of splits) {
    if (Array.isArray(labels)) continue;
    if (labels.kind === "multi") count = Math.max(count, labels.classes);
    else for (const label of labels.labels) count = Math.max(count, label + 1);
  }
  return numbered(count);
}
