import { createReadStream } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";

import { UserError, show } from "../errors.js";
import { asReadError, exists } from "../files.js";
import type { Dataset } from "./dataset.js";
import { checkClasses, checkTargets } from "./labels.js";
import { fileSplit, uniqueIds } from "./listing.js";
import type { FormatOptions } from "./open.js";
import { checkFolder } from "./packed.js";

interface Variant {
  name: "places205" | "places365";
  classes: number;
  /** Where a list may be, and the folders that its images may be in; the first that is there counts. */
  splits: { name: "train" | "val"; lists: string[]; images: string[] }[];
  /** A list of classes with their indices, where the data set has one. */
  classList?: string;
}

interface Entry {
  text: string;
  label: number;
  line: number;
}

const deep = "data/vision/torralba/deeplearning";

/**
 * Places205: `trainvalsplit_places205/train_places205.csv` and `val_places205.csv` with lines `path label`, images
 * below `data/vision/torralba/deeplearning/images256`, as the archives unpack. Classes are in the order of the labels,
 * and have the names of their folders.
 */
export function openPlaces205(options: FormatOptions): Promise<Dataset> {
  const images = [`${deep}/images256`, "images256", "images", "."];
  const lists = (file: string) => [`trainvalsplit_places205/${file}`, file];
  return openPlaces(options, {
    name: "places205",
    classes: 205,
    splits: [
      { name: "train", lists: lists("train_places205.csv"), images },
      { name: "val", lists: lists("val_places205.csv"), images },
    ],
  });
}

/**
 * Places365: `places365_train_standard.txt` (or `…_challenge.txt`) and `places365_val.txt` with lines `path label`,
 * `categories_places365.txt`, and the images of 256 pixels (`data_256_standard`, `val_256`) or the large ones
 * (`data_large_standard`, `val_large`).
 */
export function openPlaces365(options: FormatOptions): Promise<Dataset> {
  const lists = (file: string) => [file, `filelist_places365-standard/${file}`, `filelist_places365-challenge/${file}`];
  return openPlaces(options, {
    name: "places365",
    classes: 365,
    splits: [
      {
        name: "train",
        lists: [...lists("places365_train_standard.txt"), ...lists("places365_train_challenge.txt")],
        images: ["data_256_standard", "data_256", "data_large_standard", "data_large"],
      },
      { name: "val", lists: lists("places365_val.txt"), images: ["val_256", "val_large"] },
    ],
    classList: "categories_places365.txt",
  });
}

async function openPlaces({ spec, place, classes, progress }: FormatOptions, variant: Variant): Promise<Dataset> {
  const root = path.resolve(place);
  await checkFolder(root, `the lists of ${variant.name}`);
  const found: { name: "train" | "val"; list: string; images: string; entries: Entry[] }[] = [];
  for (const { name, lists, images } of variant.splits) {
    const list = await firstThere(root, lists);
    if (!list) continue;
    const folder = await firstThere(root, images);
    if (!folder) {
      throw new UserError(`Expected a folder of ${variant.name}'s images in ${root} but there is none`, {
        hint: `It is called ${images.filter((image) => image !== ".").join(" or ")}.`,
      });
    }
    found.push({ name, list, images: folder, entries: await readEntries(list) });
  }
  if (found.length === 0) {
    const names = variant.splits.map(({ lists }) => lists[0]!).join(" or ");
    throw new UserError(`Expected ${names} in ${root} but there is no such file`);
  }

  const names = classes ?? (await classNames(root, variant, found));
  checkClasses(names, root);
  const dataset: Dataset = { spec, name: variant.name, classes: names, multiLabel: false, splits: {} };
  for (const { name, list, images, entries } of found) {
    const where = (index: number) => `line ${entries[index]!.line} of ${list}`;
    const targets = { kind: "single", labels: Int32Array.from(entries, ({ label }) => label) } as const;
    checkTargets({ targets, classes: names, where });
    const paths = entries.map(({ text }) => text.replace(/^\/+/, ""));
    dataset.splits[name] = await fileSplit({
      format: variant.name,
      name,
      root: images,
      files: paths,
      ids: uniqueIds(paths, list),
      targets,
      classes: names,
      missing: (index) =>
        new UserError(
          `Expected the image of ${where(index)} but there is no file ${path.resolve(images, paths[index]!)}`,
        ),
      progress,
    });
  }
  return dataset;
}

async function firstThere(root: string, names: string[]): Promise<string | undefined> {
  for (const name of names) {
    const file = path.join(root, name);
    if (await exists(file)) return file;
  }
  return undefined;
}

/** Line by line, for Places365's longest list has eight million. A comma may stand for the space. */
async function readEntries(file: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  const input = createReadStream(file, "utf8");
  let line = 0;
  try {
    for await (const text of createInterface({ input, crlfDelay: Infinity })) {
      line++;
      if (text.trim() === "") continue;
      const [, image, label] = /^\s*(.*?\S)\s*[\s,]\s*(\d+)\s*$/.exec(text) ?? [];
      if (image === undefined || label === undefined) {
        throw new UserError(`Expected a path and a class index in line ${line} of ${file} but received ${show(text)}`);
      }
      entries.push({ text: image, label: Number(label), line });
    }
  } catch (error) {
    throw asReadError(error, file, "a list of images");
  }
  if (entries.length === 0) throw new UserError(`Expected image paths in ${file} but there are none`);
  return entries;
}

/** Out of the list of classes or, where there is none, of the folders that the images are in. */
async function classNames(root: string, variant: Variant, found: { list: string; entries: Entry[] }[]) {
  const classList = variant.classList && (await firstThere(root, [variant.classList]));
  const named = classList ? await readEntries(classList) : undefined;
  if (named && named.length !== variant.classes) {
    throw new UserError(`Expected ${variant.classes} class names in ${classList} but received ${named.length}`);
  }
  const names: string[] = Array.from({ length: variant.classes }, (_, index) => String(index));
  const firstOf = new Map<number, { name: string; where: string }>();
  const sources = named ? [{ list: classList!, entries: named }] : found;
  for (const { list, entries } of sources) {
    for (const { text, label, line } of entries) {
      const folder = named ? text : path.posix.dirname(text);
      if (folder === ".") continue;
      // The first folder is the first letter of the name: a/abbey.
      const name = folder.replace(/^\/?[a-z]\//, "");
      const where = `line ${line} of ${list}`;
      const first = firstOf.get(label);
      if (first && first.name !== name) {
        throw new UserError(
          `Expected one class folder a label but label ${label} is ${show(first.name)} in ${first.where} ` +
            `and ${show(name)} in ${where}`,
        );
      }
      if (label >= variant.classes) {
        throw new UserError(`Expected a label in 0 … ${variant.classes - 1} in ${where} but received ${label}`);
      }
      if (!first) firstOf.set(label, { name, where });
      names[label] = name;
    }
  }
  return names;
}
