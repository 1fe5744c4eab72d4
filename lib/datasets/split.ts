import { UserError, show } from "../errors.js";
import { random } from "../random.js";
import type { Random } from "../random.js";
import type { Targets } from "./dataset.js";

export interface StratifiedSplitOptions {
  targets: Targets;
  /** Share of the images a part, each in (0, 1]; together at most 1. What is left belongs to no part. */
  fractions: number[];
  seed: number | string;
  /** What the parts are for, e.g. `"validation"`: another purpose gets other parts from the same seed. */
  purpose: string;
}

/**
 * Draws parts of a data set such that each holds its share of every class.
 *
 * - One label an image: the first part holds at least one image of each class that has two. Of two parts, each is
 *   within one image of its share of every class; within two where a class was so small that the first part got its
 *   image by force, which the next classes repay.
 * - Several labels: iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011): the rarest label first, each
 *   image to the part that wants that label most. Ignored labels (−1) do not count.
 *
 * @returns the rows of each part, ascending; no row is in two.
 * @throws UserError where the fractions are none, or a part would stay empty.
 */
export function stratifiedSplit({ targets, fractions, seed, purpose }: StratifiedSplitOptions): Uint32Array[] {
  const sum = fractions.reduce((all, fraction) => all + fraction, 0);
  if (fractions.length === 0 || !fractions.every((fraction) => fraction > 0) || sum > 1 + 1e-9) {
    throw new UserError(
      `Expected fractions above 0 with a sum of at most 1 for a split but received ${show(fractions)}`,
    );
  }
  const shares = sum < 1 - 1e-9 ? [...fractions, 1 - sum] : fractions;
  const chance = random(seed, "split", purpose);
  const partOf =
    targets.kind === "single" ? splitSingle(targets.labels, shares, chance) : splitMulti(targets, shares, chance);
  const parts = fractions.map((_, part) => rowsOf(partOf, part));
  const empty = parts.findIndex((rows) => rows.length === 0);
  if (empty >= 0) {
    throw new UserError(
      `Expected enough images for a part of ${fractions[empty]!} but received ${partOf.length}, which leaves it empty`,
    );
  }
  return parts;
}

function splitSingle(labels: Int32Array, shares: number[], chance: Random): Uint8Array {
  const partOf = new Uint8Array(labels.length);
  // What each part is still owed. Carried from class to class, so that many small classes do not all round alike.
  const owed = shares.map(() => 0);
  for (const rows of rowsByClass(labels)) {
    const order = chance.permutation(rows.length);
    const counts = shares.map(() => 0);
    for (const position of order) {
      shares.forEach((share, part) => (owed[part]! += share));
      const part = largest(owed);
      owed[part]! -= 1;
      counts[part]! += 1;
      partOf[rows[position]!] = part;
    }
    if (rows.length >= 2 && counts[0] === 0) {
      const giver = largest(counts);
      const given = order.find((position) => partOf[rows[position]!] === giver)!;
      partOf[rows[given]!] = 0;
      owed[0]! -= 1;
      owed[giver]! += 1;
    }
  }
  return partOf;
}

function splitMulti(targets: { labels: Int8Array; classes: number }, shares: number[], chance: Random): Uint8Array {
  const { labels, classes } = targets;
  const count = labels.length / classes;
  const unset = 255;
  const partOf = new Uint8Array(count).fill(unset);
  const order = chance.permutation(count);
  const left = new Uint32Array(classes);
  for (let i = 0; i < labels.length; i++) if (labels[i] === 1) left[i % classes]! += 1;
  const wanted = shares.map((share) => Float64Array.from(left, (positives) => positives * share));
  const room = shares.map((share) => share * count);

  const assign = (row: number, part: number) => {
    partOf[row] = part;
    room[part]! -= 1;
    for (let label = 0; label < classes; label++) {
      if (labels[row * classes + label] !== 1) continue;
      left[label]! -= 1;
      wanted[part]![label]! -= 1;
    }
  };
  for (let label = rarest(left); label >= 0; label = rarest(left)) {
    for (const row of order) {
      if (partOf[row] !== unset || labels[row * classes + label] !== 1) continue;
      assign(
        row,
        largest(
          wanted.map((wishes) => wishes[label]!),
          room,
        ),
      );
    }
  }
  for (const row of order) if (partOf[row] === unset) assign(row, largest(room));
  return partOf;
}

/** Rows of each class, ascending. */
function rowsByClass(labels: Int32Array): number[][] {
  const rows: number[][] = [];
  labels.forEach((label, row) => (rows[label] ??= []).push(row));
  return rows.filter((some) => some !== undefined);
}

/** The label with the fewest images left, of those that have any; −1 where none has. */
function rarest(left: Uint32Array): number {
  let best = -1;
  for (let label = 0; label < left.length; label++) {
    if (left[label]! > 0 && (best < 0 || left[label]! < left[best]!)) best = label;
  }
  return best;
}

/** The position of the largest value; ties go to the larger of `then`, and then to the first. */
function largest(values: number[], then: number[] = values): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) {
    // Sums of shares such as 0.1 differ in their last bits where they should tie.
    const ahead = values[i]! - values[best]!;
    if (ahead > 1e-9 || (ahead > -1e-9 && then[i]! - then[best]! > 1e-9)) best = i;
  }
  return best;
}

function rowsOf(partOf: Uint8Array, part: number): Uint32Array {
  const rows: number[] = [];
  partOf.forEach((of, row) => {
    if (of === part) rows.push(row);
  });
  return Uint32Array.from(rows);
}
