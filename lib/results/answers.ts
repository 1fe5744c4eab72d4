import path from "node:path";

import { expected, UserError } from "../errors.js";
import { incomparable } from "./comparability.js";
import { isSingleLabel, metricsOf, type Run } from "./compared-run.js";
import { type Answers, readAnswers } from "./predictions.js";
import type { LayerResult } from "./record.js";
import { fileNameOf } from "./wording.js";

/** What the answers of every run are brought into the order of: the reported images of the first. */
export interface Images {
  places: Map<string, number>;
  targets: string[];
  file: string;
  /** Answers that were read and aligned, by run, layer and head. */
  known: Map<LayerResult, Uint8Array[]>;
}

/**
 * Reads the first predictions of each run.
 *
 * @returns the reported images; undefined where they are not told by single labels.
 * @throws UserError where runs report other images, or other true classes of them.
 */
export async function sameImages(runs: Run[]): Promise<Images | undefined> {
  if (!runs.every(({ record }) => record.results.every(isSingleLabel))) return undefined;
  let images: Images | undefined;
  for (const run of runs) {
    const entry = run.record.results[0]!;
    if (!images) {
      const { ids, targets } = await readAnswers(predictionsFile(run, entry));
      const places = new Map(ids.map((id, place) => [id, place]));
      images = { places, targets, file: predictionsFile(run, entry), known: new Map() };
    }
    await answersOf(run, entry, images);
  }
  return images;
}

function predictionsFile({ folder }: Run, entry: LayerResult): string {
  return path.join(folder, "predictions", `${fileNameOf(entry)}.csv`);
}

/** For each seed, in rising order: 1 where it is right. In the order of `images`. */
export async function answersOf(run: Run, entry: LayerResult, images: Images): Promise<Uint8Array[]> {
  const known = images.known.get(entry);
  if (known) return known;
  const file = predictionsFile(run, entry);
  const answers = await readAnswers(file);
  refuseOtherImages(answers, file, images);
  const order = answers.ids.map((id) => images.places.get(id)!);
  const rising = run.record.seeds.map((seed, s) => ({ seed, s })).sort((a, b) => a.seed - b.seed);
  const aligned = rising.map(({ seed, s }) => {
    const right = answers.right.get(seed);
    if (!right)
      throw expected(`seed ${seed}`, `the predictions ${file}`, `seeds ${[...answers.right.keys()].join(", ")}`);
    const share = right.reduce((sum, one) => sum + one, 0) / right.length;
    const told = metricsOf(entry).top1!.values[s]!;
    if (Math.abs(share - told) > 0.5 / right.length) {
      throw new UserError(
        `Expected the top-1 of ${run.file} for ${entry.layer} ${entry.head}, seed ${seed}, which is ${told}, in its ` +
          `predictions but received ${share} in ${file}`,
        { hint: "Result and predictions are not of the same run; run it again." },
      );
    }
    const inOrder = new Uint8Array(right.length);
    order.forEach((place, i) => (inOrder[place] = right[i]!));
    return inOrder;
  });
  images.known.set(entry, aligned);
  return aligned;
}

function refuseOtherImages({ ids, targets }: Answers, file: string, images: Images): void {
  if (ids.length !== images.places.size) {
    throw incomparable({
      what: "number of reported images",
      a: [images.places.size, images.file],
      b: [ids.length, file],
    });
  }
  ids.forEach((id, i) => {
    const place = images.places.get(id);
    if (place === undefined) {
      throw new UserError(
        `Expected the same reported images in all runs of a comparison but ${JSON.stringify(id)} stands in ${file} and not in ${images.file}`,
        { hint: "Only runs that report the same images compare." },
      );
    }
    if (images.targets[place] !== targets[i]) {
      const what = `true class of image ${JSON.stringify(id)}`;
      throw incomparable({ what, a: [images.targets[place], images.file], b: [targets[i], file] });
    }
  });
}
