import { UserError, didYouMean, show } from "../errors.js";
import type { Targets } from "./dataset.js";
import { classesOf, numbered } from "./labels.js";

/** What a packed file says of an image: a class index, a class name, or a list of either. */
export type LabelValue = number | string | (number | string)[];

/** A label as text: whole numbers are class indices, anything else is a name. */
export function labelValue(text: string): LabelValue {
  const trimmed = text.trim();
  return /^\d+$/.test(trimmed) ? Number(trimmed) : trimmed;
}

/**
 * The classes where nothing names them: all names that occur, as Python sorts them, or `0` … the largest index.
 *
 * @throws UserError where some labels are indices and others names.
 */
export function classesOfValues(values: LabelValue[], subject: string): string[] {
  const names = new Set<string>();
  let count = 0;
  for (const one of values.flat()) {
    if (typeof one === "number") count = Math.max(count, one + 1);
    else names.add(one);
  }
  if (names.size > 0 && count > 0) {
    throw new UserError(`Expected class indices or class names for the labels of ${subject} but received both`);
  }
  return names.size > 0 ? classesOf([...names]) : numbered(count);
}

/**
 * Labels as targets; several an image if `multiLabel`.
 *
 * @param options.where says where label `i` stands.
 * @throws UserError where a label is none of the classes.
 */
export function encodeValues(options: {
  values: LabelValue[];
  classes: string[];
  multiLabel: boolean;
  where: (index: number) => string;
}): Targets {
  const { values, classes, multiLabel, where } = options;
  const indexOf = new Map(classes.map((name, index) => [name, index]));
  const lookUp = (label: number | string, row: number): number => {
    const index = typeof label === "number" ? label : indexOf.get(label);
    if (index !== undefined && Number.isInteger(index) && index >= 0 && index < classes.length) return index;
    const wanted = typeof label === "number" ? `in 0 … ${classes.length - 1}` : `among the ${classes.length} classes`;
    throw new UserError(`Expected a label ${wanted} in ${where(row)} but received ${show(label)}`, {
      hint: typeof label === "string" ? didYouMean(label, classes) : undefined,
    });
  };
  if (multiLabel) {
    const labels = new Int8Array(values.length * classes.length);
    values.forEach((value, row) => {
      for (const one of [value].flat()) labels[row * classes.length + lookUp(one, row)] = 1;
    });
    return { kind: "multi", labels, classes: classes.length };
  }
  const single = (value: LabelValue, row: number): number => {
    if (!Array.isArray(value)) return lookUp(value, row);
    throw new UserError(`Expected one label in ${where(row)} but received ${show(value)}`);
  };
  return { kind: "single", labels: Int32Array.from(values, single) };
}
