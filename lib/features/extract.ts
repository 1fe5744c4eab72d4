import os from "node:os";

import * as tf from "@tensorflow/tfjs";

import type { Backbone } from "../backbones/backbone.js";
import type { LayerEntry, LayerRequest } from "../backbones/layers.js";
import { parseLayers } from "../backbones/layers.js";
import type { Dataset, DatasetSplit, SplitName } from "../datasets/dataset.js";
import { expected } from "../errors.js";
import { digestOf } from "../files.js";
import { badImagesError, imageBatches } from "../images/pipeline.js";
import type { Transform } from "../images/transform.js";
import { parseTransform } from "../images/transform.js";
import type { Progress } from "../progress.js";
import { silent } from "../progress.js";
import type { FeatureSet } from "./feature-set.js";
import type { FeatureSource } from "./source.js";
import { findStore } from "./store-format.js";
import type { LayerSpec, StorePlace } from "./store-format.js";
import { missingLayers, openStore } from "./store.js";
import type { FeatureStore } from "./store.js";
import { openStoreWriter } from "./store-writer.js";
import type { StoreWriter } from "./store-writer.js";
import { openStoredSource } from "./stored-source.js";

export interface ExtractFeaturesOptions {
  backbone: Backbone;
  dataset: Dataset;
  /** Names, globs or `all`, each with a pooling of one's own after a colon. Default: all. */
  layers?: string | readonly LayerEntry[];
  /** Default: every split that the data has. */
  splits?: SplitName[];
  /** What is done to an image. Default: what the backbone's manifest says. */
  transform?: string;
  /** Folder of the feature stores. Default: `features`. */
  root?: string;
  /** In which features are kept. Default: float32. */
  precision?: "float32" | "float16";
  /** Images that pass through the backbone at once; taken down to a power of two. Default: 16. */
  batchSize?: number;
  /** Threads that read images. Default: one for each core. */
  workers?: number;
  /** Batches of images that are read before they are needed. */
  lookAhead?: number;
  /**
   * - `stop` (default): when all images have been tried, one error names those that cannot be read
   * - `skip`: they are left out, and stand in the result
   */
  onBadImage?: "stop" | "skip";
  progress?: Progress;
  /** Stops after the batch in hand; the next call goes on from there. */
  signal?: AbortSignal;
}

/**
 * The features of a data set under a backbone: found in the feature store, or extracted into it, all layers in one
 * forward pass an image.
 *
 * @throws UserError where a layer, a split or the transform is wrong, images cannot be read, or the disk is full.
 */
export async function extractFeatures(options: ExtractFeaturesOptions): Promise<FeatureSet> {
  const { backbone, dataset, precision = "float32", onBadImage = "stop" } = options;
  const transform = parseTransform(options.transform ?? backbone.manifest.transform);
  checkSize(backbone, transform);
  const requests = parseLayers({ text: options.layers ?? "all", taps: backbone.taps });
  const extraction = { images: 0, seconds: 0 };
  const sources: Partial<Record<SplitName, FeatureSource>> = {};
  const skipped: FeatureSet["skipped"] = [];
  const splits = splitsOf(dataset, options.splits);
  const close = async () => {
    for (const source of Object.values(sources)) await source.close();
  };
  try {
    for (const split of splits) {
      const place = placeOf({ ...options, transform: transform.text, precision, split });
      const { store, images, seconds } = await fillStore({ ...options, place, requests, split });
      extraction.images += images;
      extraction.seconds += seconds;
      if (store.skipped.length > 0 && onBadImage === "stop") throw badImagesError(store.skipped, split.size);
      skipped.push(...store.skipped.map(({ id, reason }) => ({ id, reason })));
      sources[split.name] = await openStoredSource({ store, layers: requests.map(layerSpec) });
    }
  } catch (error) {
    await close();
    throw error;
  }
  const { title, arch } = backbone.manifest;
  return {
    splits: sources,
    classes: dataset.classes,
    data: {
      spec: dataset.spec,
      name: dataset.name,
      digest: digestOf(Object.fromEntries(splits.map(({ name, digest }) => [name, digest]))),
    },
    backbone: { title, arch, digest: backbone.digest, transform: transform.text, precision },
    skipped,
    extraction,
    close,
  };
}

/** Whether images come out of the transform as the backbone wants them. */
function checkSize({ manifest }: Backbone, transform: Transform): void {
  const { height, width } = manifest.input;
  const size = transform.outputSize();
  if (size && (size[0] !== height || size[1] !== width)) {
    throw expected(`images of ${height}x${width}, as ${manifest.arch} wants them,`, "--transform", transform.text);
  }
}

/** The splits that are asked for. */
export function splitsOf(dataset: Dataset, names?: SplitName[]): DatasetSplit[] {
  const all = Object.values(dataset.splits);
  return (names ?? all.map(({ name }) => name)).map((name) => {
    const split = dataset.splits[name];
    if (!split)
      throw expected(`one of ${all.map((one) => one.name).join(", ")}`, `the splits of ${dataset.spec}`, name);
    return split;
  });
}

/** The store that these settings belong to. */
export function placeOf(options: {
  backbone: Backbone;
  dataset: Dataset;
  split: DatasetSplit;
  /** Canonical text. */
  transform: string;
  precision: "float32" | "float16";
  root?: string;
}): StorePlace {
  const { backbone, dataset, split, transform, precision, root = "features" } = options;
  const { title, arch } = backbone.manifest;
  const key = { weights: backbone.digest, transform, precision, dataset: split.digest };
  return { root, title, arch, dataset: dataset.name, split: split.name, key };
}

export function layerSpec({ name, tap, pooling, shape }: LayerRequest): LayerSpec {
  return { name, tap: tap.name, pooling: pooling.text, node: tap.node, shape };
}

/** Extracts what the store of one split lacks. */
async function fillStore(
  options: ExtractFeaturesOptions & { place: StorePlace; requests: LayerRequest[]; split: DatasetSplit },
): Promise<{ store: FeatureStore; images: number; seconds: number }> {
  const { dataset, place, requests, split } = options;
  const layers = requests.map(layerSpec);
  // What is whole is only read: several runs may use it at once, and it may stand where nobody can write.
  const folder = await findStore(place);
  if (folder && (await missingLayers({ folder, layers })).length === 0) {
    return { store: await openStore({ folder, key: place.key }), images: 0, seconds: 0 };
  }
  const writer = await openStoreWriter({ place, layers, listing: split, classes: dataset.classes });
  try {
    const started = Date.now();
    const images = split.size - writer.firstMissingRow;
    if (images > 0) await passImages({ ...options, writer });
    return { store: await writer.finish(), images, seconds: images > 0 ? (Date.now() - started) / 1000 : 0 };
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

/** Passes the images that the writer lacks through the backbone. */
async function passImages(
  options: ExtractFeaturesOptions & {
    place: StorePlace;
    requests: LayerRequest[];
    split: DatasetSplit;
    writer: StoreWriter;
  },
): Promise<void> {
  const { backbone, dataset, place, requests, split, writer, progress = silent, signal } = options;
  const first = writer.firstMissingRow;
  const layers = requests.filter(({ name }) => writer.missing.some((layer) => layer.name === name));
  const batchSize = batchSizeOf(options.batchSize ?? 16, writer.batchBoundary);
  const images = imageBatches({
    count: split.size,
    source: (index) => split.source(index),
    id: (index) => split.ids[index]!,
    order: Uint32Array.from({ length: split.size - first }, (_, i) => first + i),
    transform: place.key.transform,
    batchSize,
    workers: options.workers ?? os.availableParallelism(),
    lookAhead: options.lookAhead,
    onBadImage: "skip",
  });
  if (first > 0)
    progress.note(`extraction of ${dataset.name} ${split.name} goes on at image ${first} of ${split.size}`);
  const task = progress.task({ label: `extract ${split.name}`, total: split.size - first, unit: "images" });
  try {
    let at = first;
    for await (const { rows, pixels, height, width } of images) {
      const end = Math.min(at + batchSize, split.size);
      const features = await forward({ backbone, layers, pixels, shape: [rows.length, height, width, 3] });
      const skipped = images.bad.filter(({ row }) => row >= at && row < end);
      await writer.append({ rows, features, skipped });
      task.advance(end - at);
      at = end;
      signal?.throwIfAborted();
    }
  } finally {
    task.end();
  }
}

/** Of each layer, [batch, width] as plain numbers. */
export async function forward(options: {
  backbone: Backbone;
  layers: LayerRequest[];
  pixels: Float32Array;
  shape: [number, number, number, number];
}): Promise<Record<string, Float32Array>> {
  const { backbone, layers, pixels, shape } = options;
  if (shape[0] === 0) return Object.fromEntries(layers.map(({ name }) => [name, new Float32Array(0)]));
  const images = tf.tensor4d(pixels, shape);
  try {
    const features = await backbone.extract({ pixels: images, layers });
    try {
      const read = Object.entries(features).map(async ([name, tensor]) => [name, await tensor.data()] as const);
      return Object.fromEntries(await Promise.all(read)) as Record<string, Float32Array>;
    } finally {
      tf.dispose(features);
    }
  } finally {
    images.dispose();
  }
}

/** A power of two that divides the shards, so that a run that goes on cuts the same batches as one that never stopped. */
function batchSizeOf(wanted: number, boundary: number): number {
  return Math.min(2 ** Math.floor(Math.log2(wanted)), boundary);
}
