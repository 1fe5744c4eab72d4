import type { SplitName, Targets } from "../datasets/dataset.js";
import { stratifiedSplit } from "../datasets/split.js";
import { expected, UserError } from "../errors.js";
import { counted } from "../progress.js";
import type { FeatureSource } from "../features/source.js";

/** Some images of a source. */
export interface Part {
  source: FeatureSource;
  rows: Uint32Array;
}

export interface SplitOptions {
  splits: Partial<Record<SplitName, FeatureSource>>;
  /** Part of the training images that is held out for the choice, in [0, 1). */
  valFraction: number;
  /** Part of all images that is reported on, where the data has neither `test` nor `val`; in (0, 1). */
  testFraction: number;
  splitSeed: number;
  /**
   * Where settings are chosen. Undefined: on `val` where the data has it beside `test`, else on held-out training
   * images.
   */
  selectOn?: "held-out" | "val";
  /** Which split is reported. Undefined: `test` where the data has it, else `val`, else a part that is drawn. */
  reportOn?: "test" | "val";
  /** Whether there is something to choose. If not, nothing is held out. */
  choice: boolean;
}

/** Who is trained on what, chosen on what and reported on what. */
export interface SplitPlan {
  train: Part;
  /** undefined where there is nothing to choose. */
  select?: Part;
  report: Part;
  /** For the record. */
  selection: { on: string | null; reportedOn: "test" | "val"; selectedOnReported: boolean };
  how: string;
}

/**
 * Settings are never chosen on, nor anything reported of, images without a label (−1): those that are there are counted
 * in `how`. In training they are part of their batch, and the loss ignores them.
 *
 * Settings are never chosen on the images that are reported, unless the user asks for just that; then the plan says so.
 *
 * @throws UserError where a split is asked for that the data lacks, or a part would be empty.
 */
export function planSplits(options: SplitOptions): SplitPlan {
  const { splits, choice, splitSeed, testFraction, valFraction } = options;
  const whole = splits.train ?? splits.all;
  if (!whole) throw new UserError("Expected a train split, or images without splits, but the data has neither");
  const reportOn = options.reportOn ?? (splits.test ? "test" : splits.val ? "val" : "test");
  const how: string[] = [];
  let train: Part = { source: whole, rows: everyRow(whole) };
  const ignored = train.rows.length - labelledRows(whole).length;
  if (ignored > 0) how.push(`${counted(ignored, "image")} to train on without a label, which teach nothing`);
  let report: Part;
  const named = splits[reportOn];
  if (named) {
    report = judgedPart(named, reportOn, how);
    how.push(`train and ${reportOn} as the data names them`);
  } else if (reportOn === "val") {
    throw new UserError("Expected a val split to report on but the data has none", { hint: "Leave --report-on out." });
  } else {
    const drawn = draw(train, testFraction, splitSeed, "test");
    [train, report] = [drawn.rest, drawn.part];
    how.push(`test: ${percent(testFraction)} of all images, drawn by seed ${splitSeed}, class by class`);
  }

  const selectOn = options.selectOn ?? (splits.val && reportOn !== "val" ? "val" : "held-out");
  if (!choice) {
    return { train, report, how: how.join("; "), selection: said(null, reportOn, false) };
  }
  if (selectOn === "val") {
    const val = splits.val;
    if (!val)
      throw new UserError("Expected a val split to choose on but the data has none", {
        hint: "Leave --select-on out.",
      });
    const select = reportOn === "val" ? report : judgedPart(val, "val", how);
    return {
      train,
      select,
      report,
      how: how.join("; "),
      selection: said("the val split", reportOn, reportOn === "val"),
    };
  }
  if (valFraction === 0) {
    throw expected(
      "a number above 0",
      "--val-fraction",
      0,
      "Settings are chosen on it; or give a val split, or one setting.",
    );
  }
  const held = draw(train, valFraction, splitSeed, "val");
  how.push(`held out of train: ${percent(valFraction)}, drawn by seed ${splitSeed}, class by class`);
  const selection = said(`held-out ${percent(valFraction)} of train`, reportOn, false);
  return { train: held.rest, select: held.part, report, how: how.join("; "), selection };
}

function said(on: string | null, reportedOn: "test" | "val", selectedOnReported: boolean): SplitPlan["selection"] {
  return { on, reportedOn, selectedOnReported };
}

function draw({ source, rows }: Part, fraction: number, seed: number, purpose: string): { rest: Part; part: Part } {
  const targets = targetsOf(source.targets, rows);
  const [rest, part] = stratifiedSplit({ targets, fractions: [1 - fraction, fraction], seed, purpose });
  if (!part || part.length === 0 || !rest || rest.length === 0) {
    throw expected(`enough images to draw ${percent(fraction)} from`, `the ${purpose} part`, `${rows.length} images`);
  }
  const pick = (positions: Uint32Array): Part => ({ source, rows: positions.map((position) => rows[position]!) });
  return { rest: pick(rest), part: pick(part) };
}

/** The labels of some rows. */
export function targetsOf(targets: Targets, rows: Uint32Array): Targets {
  if (targets.kind === "single")
    return { kind: "single", labels: Int32Array.from(rows, (row) => targets.labels[row]!) };
  const { classes } = targets;
  const labels = new Int8Array(rows.length * classes);
  rows.forEach((row, i) => labels.set(targets.labels.subarray(row * classes, (row + 1) * classes), i * classes));
  return { kind: "multi", labels, classes };
}

/** All images of a split that have a label, for only of them can be said whether an answer is right. */
function judgedPart(source: FeatureSource, name: SplitName, how: string[]): Part {
  const rows = labelledRows(source);
  const left = source.size - rows.length;
  if (rows.length === 0)
    throw expected("images with a label", `the ${name} split`, `${counted(left, "image")} without one`);
  if (left > 0) how.push(`${counted(left, "image")} of ${name} without a label, which are left out`);
  return { source, rows };
}

/** Of data with one label an image those that are not ignored (−1). */
function labelledRows(source: FeatureSource): Uint32Array {
  const { targets } = source;
  const rows = everyRow(source);
  return targets.kind === "single" ? rows.filter((row) => targets.labels[row]! >= 0) : rows;
}

function everyRow(source: FeatureSource): Uint32Array {
  return Uint32Array.from({ length: source.size }, (_, row) => row);
}

function percent(fraction: number): string {
  return `${Number((100 * fraction).toFixed(2))} %`;
}
