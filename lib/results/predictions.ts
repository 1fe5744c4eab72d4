import { expected } from "../errors.js";
import { fillFileAtomic } from "../files.js";

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

export const predictionColumns = ["seed", "id", "target", "predicted", "probability", "correct"] as const;

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

function linesOf(predictions: SeedPredictions, classes: readonly string[], start: number): string[] {
  const { seed, ids, targets, predicted, probability } = predictions;
  return ids.slice(start, start + linesAWrite).map((id, offset) => {
    const i = start + offset;
    const [target, said] = [targets[i]!, predicted[i]!];
    const name = (label: number) => classes[label] ?? String(label);
    return csvLine([seed, id, name(target), name(said), probability[i]!.toFixed(6), target === said ? 1 : 0]);
  });
}

function csvLine(fields: readonly (string | number)[]): string {
  const quoted = fields.map((field) => {
    const text = String(field);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  });
  return `${quoted.join(",")}\n`;
}
