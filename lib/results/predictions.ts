import { csvLine, parseCsv } from "../csv.js";
import { expected, UserError } from "../errors.js";
import { fillFileAtomic, readText } from "../files.js";

/** What one head said of n images, for one seed. */
export interface SeedPredictions {
  seed: number;
  /** A name for each image. Length n. */
  ids: readonly string[];
  /** True class indices. Shape [n]. */
  targets: ArrayLike<number>;
  /** Class indices of the highest score. Shape [n]. */
  predicted: ArrayLike<number>;
  /** Softmax probability of the predicted class, in [0, 1]. Shape [n]. */
  probability: ArrayLike<number>;
}

/** What one head said of n images that may have several labels each, for one seed. */
export interface SeedScores {
  seed: number;
  ids: readonly string[];
  /** 1 present, 0 absent, −1 ignored. Shape [n, classes]. */
  targets: ArrayLike<number>;
  /** Logits, or decision values. Shape [n, classes]. */
  scores: ArrayLike<number>;
}

const predictionColumns = ["seed", "id", "target", "predicted", "probability", "correct"] as const;

/**
 * Writes predictions as CSV (RFC 4180), one line an image and seed: classes by name, `correct` as 1 or 0.
 *
 * @throws UserError where the disk is full; the file is then as it was before.
 */
export async function writePredictions(options: {
  file: string;
  classes: readonly string[];
  seeds: readonly SeedPredictions[];
}): Promise<void> {
  const { file, classes, seeds } = options;
  for (const { seed, ids, targets, predicted, probability } of seeds) {
    const lengths = [targets.length, predicted.length, probability.length];
    if (lengths.some((length) => length !== ids.length)) {
      throw expected(`${ids.length} targets, predictions and probabilities`, `seed ${seed}`, lengths);
    }
  }
  await fillFileAtomic(file, async (handle) => {
    await handle.write(csvLine(predictionColumns));
    for (const predictions of seeds) {
      for (let start = 0; start < predictions.ids.length; start += linesAWrite) {
        await handle.write(linesOf(predictions, classes, start).join(""));
      }
    }
  });
}

const linesAWrite = 4096;

/**
 * Writes what was said of images with several labels as CSV, one line an image and seed: the classes that are there and
 * those that are ignored by name, joined by `|`; then a column a class with its probability (sigmoid) or, for what
 * makes none, its score.
 *
 * @throws UserError where the disk is full; the file is then as it was before.
 */
export async function writeScores(options: {
  file: string;
  classes: readonly string[];
  seeds: readonly SeedScores[];
  /** Default: probability. */
  tell?: "probability" | "score";
}): Promise<void> {
  const { file, classes, seeds, tell = "probability" } = options;
  const textOf = (score: number) =>
    tell === "score" ? String(Number(score.toPrecision(7))) : (1 / (1 + Math.exp(-score))).toFixed(6);
  await fillFileAtomic(file, async (handle) => {
    await handle.write(csvLine(["seed", "id", "targets", "ignored", ...classes]));
    for (const { seed, ids, targets, scores } of seeds) {
      for (const [i, id] of ids.entries()) {
        const at = (c: number) => i * classes.length + c;
        const named = (value: number) => classes.filter((_, c) => targets[at(c)] === value).join("|");
        await handle.write(csvLine([seed, id, named(1), named(-1), ...classes.map((_, c) => textOf(scores[at(c)]!))]));
      }
    }
  });
}

function linesOf(predictions: SeedPredictions, classes: readonly string[], start: number): string[] {
  const { seed, ids, targets, predicted, probability } = predictions;
  return ids.slice(start, start + linesAWrite).map((id, offset) => {
    const i = start + offset;
    const [target, said] = [targets[i]!, predicted[i]!];
    const name = (label: number) => classes[label] ?? String(label);
    return csvLine([seed, id, name(target), name(said), probability[i]!.toFixed(6), target === said ? 1 : 0]);
  });
}

/** Whether one head is right on n images. */
export interface Answers {
  /** Length n; each once. */
  ids: string[];
  /** The true class of each image, by name. */
  targets: string[];
  /** 1 where it is right, by seed. Each of shape [n]. */
  right: Map<number, Uint8Array>;
}

/**
 * Reads what {@link writePredictions} wrote, as far as a comparison needs it.
 *
 * @throws UserError with file and line where it is not such a file, or its seeds do not tell of the same images.
 */
export async function readAnswers(file: string): Promise<Answers> {
  const lines = parseCsv(await readText(file, "the predictions of a run"), file);
  const header = lines.next().value?.fields ?? [];
  if (header.join() !== predictionColumns.join()) {
    throw expected(`the columns ${predictionColumns.join(",")}`, `the predictions ${file}`, header.join());
  }
  const ids: string[] = [];
  const targets: string[] = [];
  const places = new Map<string, number>();
  const found = new Map<number, (0 | 1)[]>();
  let first: number | undefined;
  for (const { fields, line } of lines) {
    const [seedText, id, target, , , correct] = fields;
    const seed = Number(seedText);
    first ??= seed;
    if (fields.length !== header.length || !Number.isInteger(seed) || (correct !== "0" && correct !== "1")) {
      throw expected("seed,id,target,predicted,probability and 0 or 1", `line ${line} of ${file}`, fields.join());
    }
    if (seed === first && !places.has(id!)) {
      places.set(id!, ids.length);
      ids.push(id!);
      targets.push(target!);
    }
    const place = places.get(id!);
    const answers = found.get(seed) ?? [];
    found.set(seed, answers);
    if (place === undefined || targets[place] !== target || answers[place] !== undefined) {
      throw new UserError(
        `Expected each image once a seed, with one true class, but line ${line} of ${file} says otherwise of ` +
          JSON.stringify(id),
        { hint: "The predictions were changed after the run; run it again." },
      );
    }
    answers[place] = correct === "1" ? 1 : 0;
  }
  for (const [seed, answers] of found) {
    const told = answers.filter((answer) => answer !== undefined).length;
    if (told !== ids.length) throw expected(`${ids.length} images of seed ${seed}`, `the predictions ${file}`, told);
  }
  return { ids, targets, right: new Map([...found].map(([seed, answers]) => [seed, Uint8Array.from(answers)])) };
}
