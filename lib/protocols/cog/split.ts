import { UserError } from "../../errors.js";
import type { Part } from "../splits.js";

/** Draws 0 … n − 1 in random order for one class. */
export type Permutation = (n: number, label: number) => ArrayLike<number>;

/**
 * Holds out a part of each class: of the permuted images the last ⌊fraction · n⌋.
 *
 * Of a class of fewer than 1/fraction images nothing is held out. CoG, which cuts its list at −0 there, holds out all
 * of it, so that the class is never trained.
 *
 * Source: ImageNet-CoG, `split_trainset` (protocols.md 2.4, trap 24).
 *
 * @param options.least how many are held out at least of a class of two images or more.
 */
export function holdOut(options: {
  part: Part;
  fraction: number;
  permutation: Permutation;
  asPublished?: boolean;
  least?: number;
}): { train: Part; val: Part } {
  const { part, fraction, permutation, asPublished = false, least = 0 } = options;
  const train: number[] = [];
  const val: number[] = [];
  for (const [label, rows] of rowsByClass(part)) {
    const order = permuted(rows, permutation, label);
    const share = Math.floor(fraction * rows.length);
    const held = rows.length > 1 ? Math.max(share, least) : share;
    const border = held === 0 && asPublished ? 0 : rows.length - held;
    train.push(...order.slice(0, border));
    val.push(...order.slice(border));
  }
  const { source } = part;
  return { train: { source, rows: Uint32Array.from(train) }, val: { source, rows: Uint32Array.from(val) } };
}

/**
 * So many images of each class: the first of the permuted ones.
 *
 * Source: ImageNet-CoG, `make_fewshot_dataset` (protocols.md 2.5).
 *
 * @param options.classes names, for messages.
 * @throws UserError where a class has fewer.
 */
export function drawShots(options: { part: Part; shots: number; permutation: Permutation; classes: string[] }): Part {
  const { part, shots, permutation, classes } = options;
  const drawn: number[] = [];
  for (const [label, rows] of rowsByClass(part)) {
    if (rows.length < shots) {
      throw new UserError(
        `Expected at least ${shots} training images of each class for --shots ${shots} but ${classes[label]} has ${rows.length} to draw from`,
        { hint: "Take fewer shots, or leave the class out of the data." },
      );
    }
    drawn.push(...permuted(rows, permutation, label).slice(0, shots));
  }
  return { source: part.source, rows: Uint32Array.from(drawn) };
}

/** The rows of each class that has some, in their order; classes rising. */
function rowsByClass({ source, rows }: Part): [label: number, rows: number[]][] {
  const { targets } = source;
  if (targets.kind === "multi") {
    throw new UserError("Expected one label an image for logistic regression but the data has several", {
      hint: "Use npx eval-linear or npx train-svm.",
    });
  }
  const byClass = new Map<number, number[]>();
  for (const row of rows) {
    const label = targets.labels[row]!;
    if (label < 0) continue;
    const own = byClass.get(label);
    if (own) own.push(row);
    else byClass.set(label, [row]);
  }
  return [...byClass].sort(([a], [b]) => a - b);
}

function permuted(rows: number[], permutation: Permutation, label: number): number[] {
  return Array.from(permutation(rows.length, label), (at) => rows[at]!);
}
