import { UserError, didYouMean, show } from "../errors.js";
import type { Targets } from "./dataset.js";
import { byCodePoint } from "./listing.js";

/** Separates the labels of an image that has several. */
export const separator = "|";

/**
 * Class names out of written labels: all that occur, in the order in which Python sorts them; by value where all are
 * whole numbers. `a|b` stands for two labels.
 */
export function classesOf(labels: string[]): string[] {
  const distinct = new Set<string>();
  for (const label of labels) for (const one of label.split(separator)) distinct.add(one.trim());
  const names = [...distinct];
  const numbers = names.every((name) => /^-?\d+$/.test(name));
  return names.sort((a, b) => (numbers ? Number(a) - Number(b) || byCodePoint(a, b) : byCodePoint(a, b)));
}

/**
 * Written labels as targets.
 *
 * @param options.where says where label `i` stands, e.g. `line 7 of photos.csv`.
 * @throws UserError where a label is empty or none of the classes.
 */
export function encodeLabels(options: {
  labels: string[];
  classes: string[];
  multiLabel: boolean;
  where: (index: number) => string;
}): Targets {
  const { labels, classes, multiLabel, where } = options;
  const indexOf = new Map(classes.map((name, index) => [name, index]));
  const lookUp = (label: string, row: number) => {
    const name = label.trim();
    const index = indexOf.get(name);
    if (name === "") throw new UserError(`Expected a label in ${where(row)} but received nothing`);
    if (index === undefined) {
      throw new UserError(
        `Expected a label among the ${classes.length} classes in ${where(row)} but received ${show(name)}`,
        {
          hint: didYouMean(name, classes),
        },
      );
    }
    return index;
  };
  if (!multiLabel) return { kind: "single", labels: Int32Array.from(labels, lookUp) };
  const present = new Int8Array(labels.length * classes.length);
  labels.forEach((label, row) => {
    for (const one of label.split(separator)) present[row * classes.length + lookUp(one, row)] = 1;
  });
  return { kind: "multi", labels: present, classes: classes.length };
}

/**
 * Checks labels that are indices already.
 *
 * @throws UserError where one is not in [0, classes); where multi-label ones are not 1, 0 or −1.
 */
export function checkTargets(options: { targets: Targets; classes: string[]; where: (index: number) => string }): void {
  const { targets, classes, where } = options;
  if (targets.kind === "single") {
    const wrong = targets.labels.findIndex((label) => label < 0 || label >= classes.length);
    if (wrong < 0) return;
    throw new UserError(
      `Expected a label in 0 … ${classes.length - 1} in ${where(wrong)} but received ${targets.labels[wrong]!}`,
    );
  }
  if (targets.classes !== classes.length) {
    throw new UserError(
      `Expected ${classes.length} labels an image, as many as classes, but received ${targets.classes}`,
    );
  }
  const wrong = targets.labels.findIndex((label) => label < -1 || label > 1);
  if (wrong < 0) return;
  const row = Math.floor(wrong / targets.classes);
  throw new UserError(
    `Expected 1 (present), 0 (absent) or -1 (ignored) in ${where(row)} but received ${targets.labels[wrong]!}`,
  );
}

/** @throws UserError where there are fewer than two classes, for then there is nothing to tell apart. */
export function checkClasses(classes: string[], subject: string, hint?: string): void {
  if (classes.length >= 2) return;
  const received = classes.length === 1 ? `one only, ${show(classes[0])}` : "none";
  throw new UserError(`Expected at least two classes for ${subject} but received ${received}`, { hint });
}

/** `0`, `1`, … as class names, where there are no better ones. */
export function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}
