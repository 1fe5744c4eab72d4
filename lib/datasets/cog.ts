import path from "node:path";

import { expected } from "../errors.js";
import { readConceptSplits, readLevel } from "./cog-pickles.js";
import { conceptSplit, conceptStore } from "./concepts.js";
import type { Dataset, DatasetSplit } from "./dataset.js";
import { openFolder } from "./folder.js";
import { byCodePoint } from "./listing.js";
import type { FormatOptions } from "./open.js";

/** How many concepts and images CoG's program insists on. */
export const cogCounts = {
  concepts: 1000,
  train: { least: 732, most: 1300 },
  test: { least: 50, most: 50 },
  in1k: { train: 1_281_167, val: 50_000 },
};

/**
 * A level of ImageNet-CoG: a thousand concepts of ImageNet-21k that ImageNet-1k does not know, the further from it the
 * higher the level. `IMAGES,PICKLES`: a folder with a folder or a tar archive for each concept, and the folder of CoG's
 * two pickles, the same where it is not given.
 *
 * A concept's label is its place among the level's concepts, sorted; images are sorted within a concept.
 *
 * Source: Sariyildiz et al., Concept Generalization in Visual Representation Learning (2021); ImageNet-CoG,
 * `CoGLevelDataset` (protocols.md 2.1).
 */
export async function openCogLevel(
  { spec, place, progress }: FormatOptions,
  level: number,
  counts: Pick<typeof cogCounts, "concepts" | "train" | "test"> = cogCounts,
): Promise<Dataset> {
  const [images, pickles = images, ...more] = place.split(",");
  if (!images || !pickles || more.length > 0) throw expected(`cog_l${level}:IMAGES or IMAGES,PICKLES`, "--data", spec);
  const mapping = path.join(pickles, "cog_levels_mapping_file.pkl");
  const concepts = [...(await readLevel({ file: mapping, level }))].sort(byCodePoint);
  if (new Set(concepts).size !== counts.concepts || concepts.length !== counts.concepts) {
    throw expected(`${counts.concepts} concepts, each once,`, `level ${level} in ${mapping}`, concepts.length);
  }
  const file = path.join(pickles, "cog_concepts_split_file.pkl");
  const splits = await readConceptSplits({ file, concepts });
  for (const [concept, own] of splits) {
    for (const part of ["train", "test"] as const) {
      const { least, most } = counts[part];
      const { length } = own[part];
      if (length >= least && length <= most) continue;
      const wanted = least === most ? `${least}` : `${least} to ${most}`;
      throw expected(`${wanted} ${part} images`, `concept ${concept} in ${file}`, length);
    }
  }
  const store = await conceptStore({ root: path.resolve(images), concepts });
  const split = (name: "train" | "test") => {
    // Sorted as they are written: those with a slash before them come first.
    const sorted = concepts.map((concept) =>
      [...splits.get(concept)![name]].sort(byCodePoint).map((image) => image.replace(/^\//, "")),
    );
    return conceptSplit({ store, format: "cog", name, concepts, images: sorted, progress });
  };
  return {
    spec,
    name: `cog_l${level}`,
    classes: concepts,
    multiLabel: false,
    splits: { train: await split("train"), test: await split("test") },
  };
}

/**
 * ImageNet-1k as CoG takes it: `train/` and `val/` with a folder for each class; what is validation there is its test.
 *
 * Source: ImageNet-CoG (protocols.md 2.1).
 */
export async function openIn1k(options: FormatOptions, counts = cogCounts.in1k): Promise<Dataset> {
  const { splits, ...dataset } = await openFolder(options);
  const { train, val } = splits;
  const check = (split: DatasetSplit | undefined, name: "train" | "val"): DatasetSplit => {
    if (split?.size === counts[name]) return split;
    const hint = "ImageNet-1k has no other number; folder:DIR takes any.";
    throw expected(`${counts[name]} images`, `${name} of ${options.spec}`, split?.size ?? "none", hint);
  };
  const checked = { train: check(train, "train"), test: { ...check(val, "val"), name: "test" as const } };
  return { ...dataset, name: "in1k", splits: checked };
}
