import fs from "node:fs/promises";
import path from "node:path";

import { matchNames } from "../backbones/layers.js";
import type { SplitName, Targets } from "../datasets/dataset.js";
import { expected, UserError } from "../errors.js";
import { asReadError, digestOf, exists } from "../files.js";
import { openNpyPair } from "./array-source.js";
import { openCogFeatures } from "./cog-features.js";
import type { FeatureSet } from "./feature-set.js";
import type { FeatureSource } from "./source.js";
import { openSvmlight } from "./svmlight.js";
import { openVisslDump } from "./vissl-dump.js";

type Splits = Partial<Record<SplitName, FeatureSource>>;

/** What is behind the colon, and which layers are wanted: names, globs or `all`; all where undefined. */
interface OwnPlace {
  spec: string;
  place: string;
  layers?: string[];
}

/** Features that other programs made, by what stands before the colon. Of their backbone nothing is known. */
export const ownFormats: Record<string, (place: OwnPlace) => Promise<FeatureSet>> = {
  npy: fromNpy,
  svmlight: fromSvmlight,
  cog: fromCog,
  vissl: fromVissl,
};

async function fromNpy({ spec, place, layers }: OwnPlace): Promise<FeatureSet> {
  const [features, targets, ...more] = place.split(",");
  if (!features || !targets || more.length > 0) throw expected("npy:FEATURES.npy,LABELS.npy", "--features", spec);
  const all = await openNpyPair({ features, targets });
  return ownFeatures({ spec, name: path.basename(features, ".npy"), splits: { all }, layers });
}

async function fromSvmlight({ spec, place, layers }: OwnPlace): Promise<FeatureSet> {
  const [first, test, ...more] = place.split(",");
  if (!first || test === "" || more.length > 0) {
    throw expected("svmlight:FILE, or svmlight:TRAIN,TEST", "--features", spec);
  }
  const files = test === undefined ? { all: first } : { train: first, test };
  const { splits, classes } = await openSvmlight({ files });
  return ownFeatures({ spec, name: path.parse(first).name, splits, classes, layers });
}

async function fromCog({ spec, place, layers }: OwnPlace): Promise<FeatureSet> {
  const splits: Splits = {};
  for (const split of ["train", "test"] as const) {
    const file = path.join(place, `features_${split}`, "X_Y.pth");
    if (await exists(file)) splits[split] = await openCogFeatures({ file });
  }
  if (Object.keys(splits).length === 0) {
    const file = place.endsWith(".pth") ? place : path.join(place, "X_Y.pth");
    if (!(await exists(file))) {
      throw new UserError(`Expected CoG's features in ${place} but it holds no features_train/X_Y.pth and no X_Y.pth`);
    }
    splits.all = await openCogFeatures({ file });
  }
  return ownFeatures({ spec, name: path.basename(path.resolve(place), ".pth"), splits, layers });
}

async function fromVissl({ spec, place, layers }: OwnPlace): Promise<FeatureSet> {
  const names = await fs.readdir(place).catch((error: unknown) => {
    throw asReadError(error, place, "a folder of features");
  });
  const splits: Splits = {};
  for (const split of ["train", "val", "test"] as const) {
    if (!names.some((name) => name.includes(`_${split}_`) && name.endsWith(".npy"))) continue;
    splits[split] = await openVisslDump({
      folder: place,
      split,
      layers: layers?.includes("all") ? undefined : layers,
    });
  }
  if (Object.keys(splits).length === 0) {
    throw new UserError(`Expected VISSL's features in ${place} but there are none`, {
      hint: "They are named like rank0_chunk0_train_res5_features.npy.",
    });
  }
  return ownFeatures({ spec, name: path.basename(path.resolve(place)), splits });
}

function ownFeatures(options: {
  spec: string;
  name: string;
  splits: Splits;
  /** Their numbers where undefined. */
  classes?: string[];
  /** Where the layers have not been chosen yet. */
  layers?: string[];
}): FeatureSet {
  const { spec, name, splits, classes = numbersOf(splits), layers = [] } = options;
  const sources = Object.values(splits);
  const names = sources[0]!.layers.map((layer) => layer.name);
  for (const pattern of layers) matchNames({ pattern, names, of: spec });
  return {
    splits,
    classes,
    data: { spec, name, digest: digestOf(sources.map(({ origin }) => origin)) },
    backbone: null,
    skipped: [],
    extraction: { images: 0, seconds: 0 },
    close: async () => {
      for (const source of sources) await source.close();
    },
  };
}

function numbersOf(splits: Splits): string[] {
  const count = Math.max(...Object.values(splits).map(({ targets }) => countOf(targets)));
  return Array.from({ length: count }, (_, label) => String(label));
}

function countOf(targets: Targets): number {
  return targets.kind === "multi" ? targets.classes : targets.labels.reduce((a, b) => Math.max(a, b), -1) + 1;
}
