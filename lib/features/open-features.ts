import fs from "node:fs/promises";
import path from "node:path";

import { matchNames } from "../backbones/layers.js";
import { UserError } from "../errors.js";
import { digestOf, exists } from "../files.js";
import type { FeatureSet } from "./feature-set.js";
import { ownFormats } from "./own-features.js";
import type { FeatureStore } from "./store.js";
import { namesOf, openStore } from "./store.js";
import { openStoredSource } from "./stored-source.js";
import { withTestFeatures } from "./test-features.js";

const storeFolder = /^features_(train|val|test|all)(\.[0-9a-f]{8})?$/;

/**
 * Opens features that are there.
 *
 * - a folder: one feature store (`…/features_train`), or the folder above that holds one a split
 * - `npy:X.npy,Y.npy`: features and labels
 * - `svmlight:FILE` or `svmlight:TRAIN,TEST`: svmlight's and LIBSVM's text
 * - `cog:DIR`: what ImageNet-CoG's extraction wrote, `X_Y.pth` below `features_train` and `features_test`
 * - `vissl:DIR`: what VISSL's extraction wrote
 *
 * @param options.testSpec where the test images are, if not in the same place; such a specification too.
 * @param options.layers which of them; all where undefined.
 * @throws UserError where there is nothing of the kind, what is there is damaged, or the two places do not fit.
 */
export async function openFeatures(options: {
  spec: string;
  testSpec?: string;
  layers?: string[];
}): Promise<FeatureSet> {
  const { spec, testSpec, layers } = options;
  const train = await openAt(spec, layers);
  if (testSpec === undefined) return train;
  let test: FeatureSet | undefined;
  try {
    test = await openAt(testSpec, layers);
    return withTestFeatures(train, test);
  } catch (error) {
    await train.close();
    await test?.close();
    throw error;
  }
}

async function openAt(spec: string, layers?: string[]): Promise<FeatureSet> {
  const colon = spec.indexOf(":");
  const format = spec.slice(0, Math.max(0, colon));
  if (Object.hasOwn(ownFormats, format)) {
    return ownFormats[format]!({ spec, place: spec.slice(colon + 1), layers });
  }
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
      hint: "Give the folder of a feature store, npy:X.npy,Y.npy, svmlight:FILE, cog:DIR, or vissl:DIR.",
    });
  });
  const plain = inside.filter((name) => storeFolder.exec(name)?.[2] === undefined && storeFolder.test(name)).sort();
  if (plain.length > 0) return plain.map((name) => path.resolve(spec, name));
  throw new UserError(`Expected a feature store in ${spec} but it holds no store.json and no features_<split> folder`, {
    hint: "Make one with npx frozen-eval extract-features.",
  });
}
