import fs from "node:fs/promises";
import path from "node:path";

import { UserError, show } from "../errors.js";
import { asReadError, exists, readText } from "../files.js";
import { silent } from "../progress.js";
import type { Dataset, Targets } from "./dataset.js";
import { checkClasses } from "./labels.js";
import { byCodePoint, fileSplit } from "./listing.js";
import type { FormatOptions } from "./open.js";
import { classesShown } from "./voc-annotation.js";

/** What each image shows of each class, as far as it is written. */
type Shown = Map<string, Map<string, Label>>;

interface LabelledSet {
  set: string;
  shown: Shown;
  /** What holds where nothing is written: nothing is known by the lists, but annotations are complete. */
  otherwise: Label;
}

/** 1 = present, 0 = absent, −1 = only difficult instances, which are ignored. */
type Label = 1 | 0 | -1;

/** Annotations that are open at a time. */
const batch = 64;

/**
 * PASCAL VOC 2007's devkit, several labels an image: `ImageSets/Main/<class>_<set>.txt` with 1 (present), −1 (absent),
 * 0 (only difficult instances: ignored), images in `JPEGImages`. As in VISSL's `create_voc_data_files.py`: the classes
 * are those that have a list, sorted; `trainval` is the training split and `test` the test split; without lists of
 * `test` (VOC 2012) they are `train` and `val`; an image that is in no list of a class is ignored for it.
 *
 * Where there are no lists of classes, labels are made of the XML files in `Annotations` for the images of
 * `ImageSets/Main/<set>.txt`. Where both are there, the lists count, and a difference is told.
 */
export async function openVoc07({ spec, place, classes, progress = silent }: FormatOptions): Promise<Dataset> {
  const root = await devkit(place);
  const sets = path.join(root, "ImageSets", "Main");
  const files = await fs.readdir(sets).catch((error: unknown) => {
    throw asReadError(error, sets, "the image sets of PASCAL VOC");
  });
  const splits = files.some((name) => /^([^_]+_)?test\.txt$/.test(name))
    ? ([
        ["train", "trainval"],
        ["test", "test"],
      ] as const)
    : ([
        ["train", "train"],
        ["val", "val"],
      ] as const);
  const read = new Map<"train" | "val" | "test", LabelledSet>();
  for (const [name, set] of splits) {
    const lists = files.filter((file) => new RegExp(`^[^_]+_${set}\\.txt$`).test(file)).sort(byCodePoint);
    if (lists.length > 0) {
      const shown = await readLists(sets, lists);
      read.set(name, { set, shown, otherwise: -1 });
      await compare({ root, shown, tell: (text) => progress.note(text) });
    } else if (files.includes(`${set}.txt`)) {
      const shown = await readAnnotations(root, await imagesOf(path.join(sets, `${set}.txt`)));
      read.set(name, { set, shown, otherwise: 0 });
    }
  }
  if (read.size === 0) {
    throw new UserError(`Expected lists such as aeroplane_trainval.txt in ${sets} but there are none`, {
      hint: "Unpack VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar.",
    });
  }

  const found = classesOf([...read.values()], sets);
  if (classes && [...classes].sort(byCodePoint).join("\n") !== found.join("\n")) {
    throw new UserError(`Expected the classes ${show(classes)} for ${root} but received ${show(found)}`);
  }
  const names = classes ?? found;
  checkClasses(names, root);
  const dataset: Dataset = {
    spec,
    name: path.basename(root).toLowerCase(),
    classes: names,
    multiLabel: true,
    splits: {},
  };
  for (const [name, labelled] of read) {
    const images = [...labelled.shown.keys()].sort(byCodePoint);
    const paths = images.map((image) => `JPEGImages/${image}.jpg`);
    dataset.splits[name] = await fileSplit({
      format: "voc07",
      name,
      root,
      files: paths,
      ids: images,
      targets: targetsOf(images, labelled, names),
      classes: names,
      missing: (index) => new UserError(`Expected an image at ${path.join(root, paths[index]!)} but there is no file`),
      progress,
    });
  }
  return dataset;
}

/** The folder with `ImageSets`: as given, or below as the archives unpack. */
async function devkit(place: string): Promise<string> {
  const root = path.resolve(place);
  for (const below of [".", "VOC2007", "VOCdevkit/VOC2007"]) {
    if (await exists(path.join(root, below, "ImageSets"))) return path.join(root, below);
  }
  throw new UserError(`Expected the folder ImageSets in ${root} but there is none`, {
    hint: "Give the folder VOCdevkit/VOC2007, or one above it.",
  });
}

async function readLists(folder: string, lists: string[]): Promise<Shown> {
  const shown: Shown = new Map();
  for (const list of lists) {
    const name = list.slice(0, list.lastIndexOf("_"));
    const lines = (await readText(path.join(folder, list), "a list of images")).split("\n");
    for (const [i, line] of lines.entries()) {
      if (line.trim() === "") continue;
      const where = `line ${i + 1} of ${path.join(folder, list)}`;
      const [, image, label] = /^\s*(\S+)\s+(1|-1|0)\s*$/.exec(line) ?? [];
      if (image === undefined || label === undefined) {
        throw new UserError(`Expected an image and 1, -1 or 0 in ${where} but received ${show(line)}`);
      }
      const labels = shown.get(image) ?? new Map<string, Label>();
      shown.set(image, labels);
      if (labels.has(name)) throw new UserError(`Expected each image once but ${where} repeats ${image}`);
      labels.set(name, label === "1" ? 1 : label === "0" ? -1 : 0);
    }
  }
  if (shown.size === 0) throw new UserError(`Expected images in ${lists.join(", ")} of ${folder} but there are none`);
  return shown;
}

async function imagesOf(file: string): Promise<string[]> {
  const images = (await readText(file, "a list of images")).split(/\s+/).filter((name) => name !== "");
  if (images.length > 0) return [...new Set(images)];
  throw new UserError(`Expected images in ${file} but there are none`);
}

/** By the XML files: a class is present where an instance of it is not difficult. */
async function readAnnotations(root: string, images: string[]): Promise<Shown> {
  const shown: Shown = new Map();
  for (let start = 0; start < images.length; start += batch) {
    const some = images.slice(start, start + batch);
    const read = await Promise.all(some.map((image) => classesShown(path.join(root, "Annotations", `${image}.xml`))));
    some.forEach((image, i) => shown.set(image, read[i]!));
  }
  return shown;
}

/** Tells where lists and annotations differ; images without an annotation are passed over. */
async function compare(options: { root: string; shown: Shown; tell: (text: string) => void }): Promise<void> {
  const { root, shown, tell } = options;
  const annotations = await fs.readdir(path.join(root, "Annotations")).catch(() => []);
  const there = new Set(annotations);
  const annotated = await readAnnotations(
    root,
    [...shown.keys()].filter((image) => there.has(`${image}.xml`)),
  );
  const different: string[] = [];
  for (const [image, labels] of annotated) {
    for (const [name, listed] of shown.get(image)!) {
      const seen = labels.get(name) ?? 0;
      if (seen !== listed) different.push(`${name} in ${image} (${listed} in the list, ${seen} by the annotation)`);
    }
  }
  if (different.length === 0) return;
  tell(
    `Lists and annotations of ${root} differ in ${different.length} labels, the first being ${different[0]!}; ` +
      "the lists count.",
  );
}

/** All that occur; each set of lists has to have them all. */
function classesOf(labelled: LabelledSet[], folder: string): string[] {
  const namesOf = (some: LabelledSet[]) => {
    const names = some.flatMap(({ shown }) => [...shown.values()].flatMap((labels) => [...labels.keys()]));
    return [...new Set(names)].sort(byCodePoint);
  };
  const all = namesOf(labelled);
  for (const one of labelled) {
    const names = namesOf([one]);
    if (one.otherwise === 0 || names.length === all.length) continue;
    throw new UserError(
      `Expected a list of each of ${show(all)} for ${path.join(folder, `*_${one.set}.txt`)} but received ${show(names)}`,
    );
  }
  return all;
}

function targetsOf(images: string[], { shown, otherwise }: LabelledSet, classes: string[]): Targets {
  const labels = new Int8Array(images.length * classes.length);
  images.forEach((image, row) => {
    classes.forEach((name, column) => {
      labels[row * classes.length + column] = shown.get(image)!.get(name) ?? otherwise;
    });
  });
  return { kind: "multi", labels, classes: classes.length };
}
