import fs from "node:fs/promises";
import path from "node:path";

import { matchNames } from "../backbones/layers.js";
import type { SplitName } from "../datasets/dataset.js";
import { expected, UserError } from "../errors.js";
import { digestOf, exists } from "../files.js";
import { openNpyPair } from "./array-source.js";
import type { FeatureSet } from "./feature-set.js";
import type { FeatureSource } from "./source.js";
import type { FeatureStore } from "./store.js";
import { namesOf, openStore } from "./store.js";
import { openStoredSource } from "./stored-source.js";
import { openVisslDump } from "./vissl-dump.js";

const storeFolder = /^features_(train|val|test|all)(\.[0-9a-f]{8})?$/;

/**
 * Opens features that are there.
 *
 * - a folder: one feature store (`…/features_train`), or the folder above that holds one a split
 * - `npy:X.npy,Y.npy`: features and labels
 * - `vissl:DIR`: what VISSL's extraction wrote
 *
 * @param options.layers which of them; all where undefined.
 * @throws UserError where there is nothing of the kind, or what is there is damaged.
 */
export async function openFeatures(options: { spec: string; layers?: string[] }): Promise<FeatureSet> {
  const { spec, layers } = options;
  if (spec.startsWith("npy:")) return fromNpy(spec);
  if (spec.startsWith("vissl:")) return fromVissl(spec, layers);
  return fromStores(spec, layers);
}

async function fromStores(spec: string, layers?: string[]): Promise<FeatureSet> {
  const folders = await storesAt(spec);
  const splits: FeatureSet["splits"] = {};
  const digests: Record<string, string> = {};
  const skipped: FeatureSet["skipped"] = [];
  const close = async () => {
    for (const source of Object.values(splits)) await source.close();
  };
  let first: Awaited<ReturnType<typeof openStore>> | undefined;
  try {
    for (const folder of folders) {
      const store = await openStore({ folder });
      const { weights, transform, precision, views } = store.key;
      if (views) {
        throw new UserError(`Expected a store of one view an image but ${folder} holds ${views.count} of each`, {
          hint: "Give --backbone, --data and --views, as when it was made: it is then found and not made again.",
        });
      }
      if (store.key.part) {
        const { index, count } = store.key.part;
        throw new UserError(`Expected a whole split but ${folder} holds part ${index} of ${count}`, {
          hint: "Join the parts: npx frozen-eval store merge OUT PART PART ...",
        });
      }
      if (
        first &&
        digestOf([weights, transform, precision]) !==
          digestOf([first.key.weights, first.key.transform, first.key.precision])
      ) {
        throw new UserError(
          `Expected stores of one backbone and transform in ${spec} but ${path.basename(folder)} has another`,
          {
            hint: "Extract the splits again with the same settings.",
          },
        );
      }
      first ??= store;
      splits[store.dataset.split] = await openStoredSource({ store, layers: layers && stored(store, layers) });
      digests[store.dataset.split] = store.key.dataset;
      skipped.push(...store.skipped.map(({ id, reason }) => ({ id, reason })));
    }
  } catch (error) {
    await close();
    throw error;
  }
  const { key, dataset } = first!;
  return {
    splits,
    classes: dataset.classes,
    data: { spec, name: dataset.name, digest: digestOf(digests) },
    backbone: { ...namesOf(first!.folder), digest: key.weights, transform: key.transform, precision: key.precision },
    skipped,
    extraction: { images: 0, seconds: 0 },
    close,
  };
}

/** The names of a store's layers that names, globs and `all` mean. */
function stored({ layers, folder }: FeatureStore, patterns: string[]): string[] {
  const names = layers.map(({ name }) => name);
  return [...new Set(patterns.flatMap((pattern) => matchNames({ pattern, names, of: folder })))];
}

async function storesAt(spec: string): Promise<string[]> {
  if (await exists(path.join(spec, "store.json"))) return [path.resolve(spec)];
  const inside = await fs.readdir(spec).catch(() => {
    throw new UserError(`Expected features at ${spec} but there is no such folder`, {
      hint: "Give the folder of a feature store, npy:X.npy,Y.npy, or vissl:DIR.",
    });
  });
  const plain = inside.filter((name) => storeFolder.exec(name)?.[2] === undefined && storeFolder.test(name)).sort();
  if (plain.length > 0) return plain.map((name) => path.resolve(spec, name));
  throw new UserError(`Expected a feature store in ${spec} but it holds no store.json and no features_<split> folder`, {
    hint: "Make one with npx frozen-eval extract-features.",
  });
}

async function fromNpy(spec: string): Promise<FeatureSet> {
  const [features, targets, ...more] = spec.slice("npy:".length).split(",");
  if (!features || !targets || more.length > 0) throw expected("npy:FEATURES.npy,LABELS.npy", "--features", spec);
  return ownFeatures(spec, path.basename(features, ".npy"), { all: await openNpyPair({ features, targets }) });
}

async function fromVissl(spec: string, layers?: string[]): Promise<FeatureSet> {
  const folder = spec.slice("vissl:".length);
  const names = await fs.readdir(folder).catch(() => [] as string[]);
  const splits: Partial<Record<SplitName, FeatureSource>> = {};
  for (const split of ["train", "val", "test"] as const) {
    if (split !== "train" && !names.some((name) => name.includes(`_${split}_`) && name.endsWith("_features.npy")))
      continue;
    splits[split] = await openVisslDump({ folder, split, layers: layers?.includes("all") ? undefined : layers });
  }
  return ownFeatures(spec, path.basename(path.resolve(folder)), splits);
}

/** Features of which no more is known than what they are. */
function ownFeatures(spec: string, name: string, splits: Partial<Record<SplitName, FeatureSource>>): FeatureSet {
  let classes = 0;
  for (const { targets } of Object.values(splits)) {
    classes = Math.max(
      classes,
      targets.kind === "multi" ? targets.classes : targets.labels.reduce((a, b) => Math.max(a, b), -1) + 1,
    );
  }
  return {
    splits,
    classes: Array.from({ length: classes }, (_, label) => String(label)),
    data: { spec, name, digest: digestOf(Object.values(splits).map(({ origin }) => origin)) },
    backbone: null,
    skipped: [],
    extraction: { images: 0, seconds: 0 },
    close: async () => {
      for (const source of Object.values(splits)) await source.close();
    },
  };
}
