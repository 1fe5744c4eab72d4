import fs from "node:fs/promises";
import path from "node:path";

import { UserError, show } from "../errors.js";
import { asReadError, exists, sha256OfFile } from "../files.js";
import type { Targets } from "../datasets/dataset.js";
import { again, damagedFile } from "./shard-file.js";
import { readDescription, sameKey, sameLayer, shardSize } from "./store-format.js";
import type { LayerSpec, StoreDescription, StoreKey, StoredLayer } from "./store-format.js";
import { readNames } from "./store-names.js";

/** An open feature store: features of one split under one backbone, whole layers only. */
export interface FeatureStore {
  folder: string;
  key: StoreKey;
  dataset: StoreDescription["dataset"];
  /** Images that it holds: those of the listing that were not skipped. */
  size: number;
  ids: string[];
  targets: Targets;
  skipped: StoreDescription["skipped"];
  layers: StoredLayer[];
}

/**
 * Opens a feature store.
 *
 * @param options.key the store must have this key, where given.
 * @param options.verify compares every shard with its digest now; otherwise each is compared when it is first read.
 * @throws UserError where there is no store, it is of another format or key, not whole, or a file in it was changed.
 */
export async function openStore(options: { folder: string; key?: StoreKey; verify?: boolean }): Promise<FeatureStore> {
  const { folder, key, verify = false } = options;
  const description = await describedStore(folder);
  if (key && !sameKey(description.key, key)) {
    const differing = (["weights", "transform", "precision", "dataset"] as const).filter(
      (field) => description.key[field] !== key[field],
    );
    throw new UserError(
      `Expected the features of ${show(differing.map((field) => key[field]).join(", "))} at ${folder} but the store was made ` +
        `from another ${differing.join(" and ")}`,
    );
  }
  for (const [name, digest] of Object.entries(wholeFiles(folder, description))) {
    await checkDigest({ file: path.join(folder, name), digest, what: "the images' names and labels" });
  }
  const { ids, targets } = await readNames(folder);
  for (const layer of description.layers) {
    await checkSizes(folder, layer, description.key.precision);
    if (verify) for (const index of layer.shards.keys()) await checkShard({ folder, layer, index });
  }
  const { key: own, dataset, skipped, layers } = description;
  return { folder, key: own, dataset, size: ids.length, ids, targets, skipped, layers };
}

/**
 * What a store says of itself.
 *
 * @throws UserError where there is none.
 */
export async function describedStore(folder: string): Promise<StoreDescription> {
  const description = await readDescription(folder);
  if (description) return description;
  throw new UserError(`Expected a feature store at ${folder} but it holds no store.json`);
}

/**
 * The digests of the files that name the rows.
 *
 * @throws UserError where no layer is whole.
 */
export function wholeFiles(folder: string, { files, layers }: StoreDescription): Record<string, string> {
  if (files && layers.length > 0) return files;
  throw new UserError(`Expected a whole feature store at ${folder} but its extraction did not come to an end`, {
    hint: "Run the extraction again with the same settings: it goes on where it stopped.",
  });
}

/** Title and architecture of the backbone, as a store's folder names them. */
export function namesOf(folder: string): { title: string; arch: string } {
  const [arch = "unknown", title = "unknown"] = path.resolve(folder).split(path.sep).reverse().slice(2);
  return { title, arch };
}

/**
 * Those of `layers` that the store in `folder` does not hold whole, shards that were deleted by hand included; all
 * where there is no store.
 */
export async function missingLayers(options: { folder: string; layers: LayerSpec[] }): Promise<LayerSpec[]> {
  const { folder, layers } = options;
  const description = await readDescription(folder);
  const named = await Promise.all(["ids.txt", "targets.npy"].map((name) => exists(path.join(folder, name))));
  if (!description?.files || named.includes(false)) return layers;
  const whole: StoredLayer[] = [];
  for (const layer of description.layers) {
    if ((await wholeShards(folder, layer, description.key.precision)) === layer.shards.length) whole.push(layer);
  }
  return layers.filter((layer) => !whole.some((other) => sameLayer(layer, other)));
}

/** How many of a layer's shards, from the first on, are there in their full size. */
export async function wholeShards(
  folder: string,
  layer: StoredLayer,
  precision: StoreKey["precision"],
): Promise<number> {
  for (const [index, { file, rows }] of layer.shards.entries()) {
    const size = await sizeOf(path.join(folder, layer.folder, file));
    if (size !== shardSize(layer, precision, rows)) return index;
  }
  return layer.shards.length;
}

/**
 * @param what names what stands in the file, in messages.
 * @throws UserError where the file's content is not that of the digest.
 */
async function checkDigest(options: { file: string; digest: string; what: string }): Promise<void> {
  const { file, digest, what } = options;
  const found = await sha256OfFile(file).catch((error: unknown) => {
    throw asReadError(error, file, what);
  });
  if (found !== digest) throw damagedFile(file, what);
}

/** A store's shard, checked. */
export function checkShard(options: { folder: string; layer: StoredLayer; index: number }): Promise<void> {
  const { folder, layer, index } = options;
  const { file, sha256 } = layer.shards[index]!;
  return checkDigest({ file: path.join(folder, layer.folder, file), digest: sha256, what: "a shard of features" });
}

async function checkSizes(folder: string, layer: StoredLayer, precision: StoreKey["precision"]): Promise<void> {
  const whole = await wholeShards(folder, layer, precision);
  if (whole === layer.shards.length) return;
  const { file, rows } = layer.shards[whole]!;
  const shard = path.join(folder, layer.folder, file);
  const size = await sizeOf(shard);
  const received = size === undefined ? "there is no such file" : `received ${size}`;
  throw new UserError(`Expected ${shardSize(layer, precision, rows)} bytes for the shard ${shard} but ${received}`, {
    hint: again(shard),
  });
}

async function sizeOf(file: string): Promise<number | undefined> {
  return fs.stat(file).then(
    (stat) => stat.size,
    () => undefined,
  );
}
