import { didYouMean, expected, UserError } from "../../errors.js";
import { stratifiedFolds } from "../../svm/folds.js";
import type { Part } from "../splits.js";

/** One class against all others. */
export interface ClassLabels {
  /** Its number among all classes of the data. */
  index: number;
  name: string;
  /** Of each training row: 1, −1, or 0 where it takes no part. */
  sides: Int8Array;
  /** The fold that each training row is held out in; −1 where it takes no part. */
  folds: Int32Array;
  /** Of each reported row: 1 present, 0 absent, −1 ignored. */
  test: Int8Array;
}

export interface ClassLabelsOptions {
  /** Names of all classes. */
  classes: string[];
  /** Names, or numbers from 0, of those that are wanted; all where undefined. */
  wanted?: (string | number)[];
  train: Part;
  test: Part;
  folds: number;
  /** What becomes of ignored labels (−1) in training; of test images they are left out. */
  ignored: "negative" | "drop";
}

/**
 * The labels of each class by itself, with its folds.
 *
 * @throws UserError where a class is unknown or named twice, labels are none of 1, 0 and −1, or a class has too few
 * images to be in every fold, or none to be tested on.
 */
export function classLabels(options: ClassLabelsOptions): ClassLabels[] {
  const { classes, wanted, train, test, folds, ignored } = options;
  for (const [part, name] of [[train, "training"], [test, "test"]] as const) checkLabels(part, classes, name); // prettier-ignore
  const labels = wantedClasses(classes, wanted).map((index): ClassLabels => {
    const ofTrain = labelsOf(train, index);
    const sides = ofTrain.map((label) => (label === 1 ? 1 : label === 0 || ignored === "negative" ? -1 : 0));
    return { index, name: classes[index]!, sides, folds: foldsOf(sides, folds), test: labelsOf(test, index) };
  });
  refuse(labels, {
    what: `at least ${folds} training images of every class, one a fold,`,
    count: ({ sides }) => countOf(sides, 1),
    least: folds,
    hint: `${named}, or take fewer --folds.`,
  });
  refuse(labels, {
    what: `at least ${folds} training images without each class, one a fold,`,
    count: ({ sides }) => countOf(sides, -1),
    least: folds,
    hint: `${named}.`,
  });
  refuseUntested(labels);
  return labels;
}

const named = "Name the classes to train with --classes";

/** @throws UserError where a class has no test image. */
export function refuseUntested(labels: Pick<ClassLabels, "name" | "test">[]): void {
  refuse(labels, {
    what: "at least one test image of every class",
    count: (one) => countOf(one.test, 1),
    least: 1,
    hint: `Without one there is no average precision. ${named}.`,
  });
}

export function countOf(labels: ArrayLike<number>, value: number): number {
  let count = 0;
  for (let i = 0; i < labels.length; i++) if (labels[i] === value) count++;
  return count;
}

/**
 * Numbers of the classes that are wanted; all where undefined.
 *
 * @throws UserError where one is unknown or named twice.
 */
export function wantedClasses(classes: string[], wanted: (string | number)[] = classes.map((_, c) => c)): number[] {
  const numbers = wanted.map((one) => {
    const named = classes.indexOf(String(one));
    const index = named >= 0 ? named : /^\d+$/.test(String(one)) ? Number(one) : -1;
    if (classes[index] === undefined) {
      throw expected("a class of the data, by name or number,", "--classes", one, didYouMean(String(one), classes));
    }
    return index;
  });
  const twice = numbers.find((index, i) => numbers.indexOf(index) < i);
  if (twice !== undefined) throw expected("each class once", "--classes", wanted);
  if (numbers.length === 0) throw expected("at least one class", "--classes", wanted);
  return numbers;
}

/** @throws UserError where a label is none that images of this kind can have. */
export function checkLabels({ source: { targets, ids } }: Part, classes: string[], name: string): void {
  const multi = targets.kind === "multi";
  const columns = multi ? targets.classes : 1;
  const most = multi ? 1 : classes.length - 1;
  const wrong = targets.labels.findIndex((label) => label < -1 || label > most);
  if (wrong < 0) return;
  const what = multi ? "1 (present), 0 (absent) or -1 (ignored)" : `a class from 0 to ${most}, or -1`;
  const image = ids[Math.floor(wrong / columns)]!;
  const of = multi ? `${classes[wrong % columns]} in ` : "";
  throw expected(what, `the label of ${of}the ${name} image ${image}`, targets.labels[wrong]);
}

/** Of one class: 1 present, 0 absent, −1 ignored. */
export function labelsOf({ source: { targets }, rows }: Part, index: number): Int8Array {
  const { kind, labels } = targets;
  if (kind === "multi") return Int8Array.from(rows, (row) => labels[row * targets.classes + index]!);
  return Int8Array.from(rows, (row) => (labels[row] === index ? 1 : 0));
}

/** The fold that each row is held out in; −1 where it takes no part. */
export function foldsOf(sides: Int8Array, folds: number): Int32Array {
  const rows = Uint32Array.from(sides.keys()).filter((row) => sides[row] !== 0);
  const found = stratifiedFolds({ labels: Array.from(rows, (row) => sides[row]!), folds });
  const all = new Int32Array(sides.length).fill(-1);
  rows.forEach((row, i) => (all[row] = found[i]!));
  return all;
}

function refuse<T extends Pick<ClassLabels, "name">>(
  labels: T[],
  rule: { what: string; count: (one: T) => number; least: number; hint: string },
): void {
  const { what, count, least, hint } = rule;
  const few = labels.filter((one) => count(one) < least);
  if (few.length === 0) return;
  const told = few.slice(0, 5).map((one) => `${one.name} has ${count(one)}`);
  const more = few.length > told.length ? `, and ${few.length - told.length} more have too few` : "";
  throw new UserError(`Expected ${what} but ${told.join(", ")}${more}`, { hint });
}

/** One column a class, for what tells of all of them. Shape [rows, classes]. */
export function testMatrix(labels: ClassLabels[]): Int8Array {
  const rows = labels[0]!.test.length;
  const matrix = new Int8Array(rows * labels.length);
  labels.forEach(({ test }, c) => test.forEach((label, row) => (matrix[row * labels.length + c] = label)));
  return matrix;
}

/** The rows that training can learn from: of data with one label an image those that have it. */
export function labelledRows({ source: { targets }, rows }: Part): Uint32Array {
  return targets.kind === "single" ? rows.filter((row) => targets.labels[row]! >= 0) : rows;
}
