import path from "node:path";

import type { Targets } from "../../datasets/dataset.js";
import { expected, UserError } from "../../errors.js";
import { encodeNpy, toIntegers } from "../../features/npy.js";
import { readNpy } from "../../features/npy-file.js";
import { random } from "../../random.js";
import { layerFileName } from "../../results/wording.js";

/** One of the small training sets: k images of each class, drawn for the `sample`-th time. */
export interface Shot {
  k: number;
  /** From 1. */
  sample: number;
}

/**
 * How many images there are to draw from: the largest k that every class allows.
 *
 * @param targets of the training images.
 * @param classes names of all classes.
 */
export function mostShots(targets: Targets, classes: readonly string[]): { k: number; class: string } {
  const counts = classes.map((name, c) => {
    const { positives, negatives } = rowsOf(targets, c);
    const perShot = negativesPerShot(targets, classes.length);
    return { k: Math.min(positives.length, Math.floor(negatives.length / perShot)), class: name };
  });
  return counts.reduce((least, one) => (one.k < least.k ? one : least));
}

/**
 * A small training set, as the labels of all training images, with −1 for those that take no part.
 *
 * - Several labels an image: for each class by itself k images that show it and (classes − 1) · k that do not (of one
 *   class alone k). All others are ignored for that class.
 * - One label an image: k images of each class; all others are ignored.
 *
 * Source: VISSL, `create_low_shot_samples` (protocols.md 1.7), which draws without a seed.
 *
 * @param options.targets of the training images; each class has enough of them ({@link mostShots}).
 */
export function drawShots(options: { targets: Targets; classes: number; shot: Shot; seed: number }): Targets {
  const { targets, classes, shot, seed } = options;
  const { k, sample } = shot;
  const labels = targets.labels.slice().fill(-1);
  for (let c = 0; c < classes; c++) {
    const chance = random(seed, "low shot", sample, k, c);
    const draw = (rows: number[], count: number) => chance.permutation(rows.length).slice(0, count).map((at) => rows[at]!); // prettier-ignore
    const { positives, negatives } = rowsOf(targets, c);
    if (targets.kind === "single") {
      for (const row of draw(positives, k)) labels[row] = c;
    } else {
      for (const row of draw(positives, k)) labels[row * classes + c] = 1;
      for (const row of draw(negatives, k * negativesPerShot(targets, classes))) labels[row * classes + c] = 0;
    }
  }
  return { ...targets, labels } as Targets;
}

/** The name of the file of one small training set, VISSL's. */
export function shotFile(folder: string, layer: string, { k, sample }: Shot): string {
  return path.join(folder, `${layerFileName(layer)}_sample${sample}_k${k}.npy`);
}

/** int32 [images, classes], or [images, 1] where an image has one label. */
export function encodeShots(targets: Targets): Uint8Array {
  const columns = columnsOf(targets);
  const shape = [targets.labels.length / columns, columns];
  return encodeNpy({ dtype: "int32", shape, data: Int32Array.from(targets.labels) });
}

/**
 * A small training set that was drawn before, by this program or by VISSL's.
 *
 * @param options.targets of the training images.
 * @throws UserError where the file is missing, is of another shape, or says of an image what its labels do not.
 */
export async function readShots(options: { file: string; targets: Targets; classes: string[] }): Promise<Targets> {
  const { file, targets, classes } = options;
  const array = await readNpy({ file });
  const columns = columnsOf(targets);
  const rows = targets.labels.length / columns;
  if (array.shape[0] !== rows || (array.shape[1] ?? 1) !== columns || array.shape.length > 2) {
    throw expected(`labels of shape [${rows}, ${columns}], one row a training image,`, file, array.shape);
  }
  const labels = toIntegers(array, file);
  const other = labels.findIndex((label, i) => label !== -1 && label !== targets.labels[i]);
  if (other >= 0) {
    const of = targets.kind === "multi" ? ` for ${classes[other % columns]}` : "";
    throw new UserError(
      `Expected -1 or the label ${targets.labels[other]} of training image ${Math.floor(other / columns)}${of} in ${file} but received ${labels[other]}`,
      { hint: "It was drawn from other images, or from these in another order." },
    );
  }
  return targets.kind === "multi"
    ? { kind: "multi", labels: Int8Array.from(labels), classes: columns }
    : { kind: "single", labels };
}

/** The rows that show a class and those that do not; ignored ones are neither. */
function rowsOf(targets: Targets, c: number): { positives: number[]; negatives: number[] } {
  const { labels } = targets;
  const columns = columnsOf(targets);
  const positives: number[] = [];
  const negatives: number[] = [];
  for (let row = 0; row * columns < labels.length; row++) {
    const label =
      targets.kind === "multi" ? labels[row * columns + c]! : labels[row]! < 0 ? -1 : Number(labels[row] === c);
    if (label === 1) positives.push(row);
    else if (label === 0) negatives.push(row);
  }
  return { positives, negatives };
}

/** Images without a class for each image with it; none are drawn where the other classes are the negatives. */
function negativesPerShot(targets: Targets, classes: number): number {
  return targets.kind === "multi" ? Math.max(1, classes - 1) : 1;
}

function columnsOf(targets: Targets): number {
  return targets.kind === "multi" ? targets.classes : 1;
}
