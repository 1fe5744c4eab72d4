import path from "node:path";

import { UserError } from "../errors.js";
import { digestOf, exists } from "../files.js";
import { random } from "../random.js";
import type { Dataset, DatasetSplit } from "./dataset.js";
import { checkClasses } from "./labels.js";
import { openFolder } from "./folder.js";
import type { FormatOptions } from "./open.js";

const background = "BACKGROUND_Google";

/** Training images of each class (VTAB, and VISSL after it). */
const trainingImages = 30;

/** What asks for the objects alone. */
const withoutBackground = ",no-background";

/**
 * Caltech-101: `101_ObjectCategories` with a folder a class. As in VISSL's `create_caltech101_data_files.py`, the
 * background counts as a class (102 classes), and 30 images of each are drawn for training, the others being the test
 * part. VISSL draws in the order in which the disk gives the folders, which no other machine repeats; here the draw is
 * the same everywhere. `caltech101:DIR,no-background` leaves the 101 objects.
 */
export async function openCaltech101({ spec, place, classes, progress }: FormatOptions): Promise<Dataset> {
  const bare = place.endsWith(withoutBackground);
  const root = path.resolve(bare ? place.slice(0, -withoutBackground.length) : place);
  const unpacked = path.join(root, "101_ObjectCategories");
  const folder = (await exists(unpacked)) ? unpacked : root;
  const hasBackground = bare && (await exists(path.join(folder, background)));
  const whole = await openFolder({
    spec,
    place: folder,
    classes: classes && hasBackground ? [background, ...classes] : classes,
    progress,
  });
  const { all } = whole.splits;
  if (!all) {
    throw new UserError(`Expected the class folders of Caltech-101 in ${folder} but they are in splits already`, {
      hint: `Write folder:${folder}.`,
    });
  }
  const dropped = hasBackground ? whole.classes.indexOf(background) : -1;
  const kept = whole.classes.filter((_, index) => index !== dropped);
  checkClasses(kept, folder);
  const labels = Array.from(all.targets.labels, (label) =>
    label === dropped ? -1 : label - Number(dropped >= 0 && label > dropped),
  );
  const parts = draw(labels, kept, folder);
  return {
    spec,
    name: bare ? "caltech101-objects" : "caltech101",
    classes: kept,
    multiLabel: false,
    splits: {
      train: partOf(all, "train", parts.train, labels, kept),
      test: partOf(all, "test", parts.test, labels, kept),
    },
  };
}

function draw(labels: number[], classes: string[], folder: string): { train: number[]; test: number[] } {
  const rowsOf: number[][] = classes.map(() => []);
  labels.forEach((label, row) => rowsOf[label]?.push(row));
  const train: number[] = [];
  const test: number[] = [];
  rowsOf.forEach((rows, label) => {
    if (rows.length <= trainingImages) {
      throw new UserError(
        `Expected more than ${trainingImages} images, ${trainingImages} to train on and others to test on, in ` +
          `${path.join(folder, classes[label]!)} but received ${rows.length}`,
      );
    }
    const drawn = new Set(
      random(0, "caltech101", classes[label]!).permutation(rows.length).subarray(0, trainingImages),
    );
    rows.forEach((row, index) => (drawn.has(index) ? train : test).push(row));
  });
  return { train, test };
}

function partOf(
  all: DatasetSplit,
  name: "train" | "test",
  rows: number[],
  labels: number[],
  classes: string[],
): DatasetSplit {
  return {
    name,
    size: rows.length,
    ids: rows.map((row) => all.ids[row]!),
    targets: { kind: "single", labels: Int32Array.from(rows, (row) => labels[row]!) },
    source: (index) => all.source(rows[index]!),
    digest: digestOf({ format: "caltech101", whole: all.digest, classes, rows }),
  };
}
