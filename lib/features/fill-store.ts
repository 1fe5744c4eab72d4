import os from "node:os";

import * as tf from "@tensorflow/tfjs";

import type { Backbone } from "../backbones/backbone.js";
import type { Execution } from "../backbones/forward-pass.js";
import type { LayerRequest } from "../backbones/layers.js";
import type { Dataset, DatasetSplit, Targets } from "../datasets/dataset.js";
import { imageBatches } from "../images/pipeline.js";
import type { Progress } from "../progress.js";
import { silent } from "../progress.js";
import type { FeatureExtractor } from "./feature-extractor.js";
import { openExtractor } from "./open-extractor.js";
import { findStore } from "./store-format.js";
import { rowsOfPart } from "./store-part.js";
import type { LayerSpec, StorePlace } from "./store-format.js";
import { missingLayers, openStore } from "./store.js";
import type { FeatureStore } from "./store.js";
import { openStoreWriter } from "./store-writer.js";
import type { ExtractedBatch, StoreWriter } from "./store-writer.js";

/**
 * Images that pass through a backbone at once. The last bits of features depend on it, so it is the same everywhere:
 * then a run that goes on writes what an undisturbed one would have.
 */
export const defaultBatchSize = 16;

export interface FillStoreOptions {
  backbone: Backbone;
  dataset: Dataset;
  split: DatasetSplit;
  /** Its key tells transform and views. */
  place: StorePlace;
  requests: LayerRequest[];
  /** Images that pass through the backbone at once; taken down to a power of two. Default: {@link defaultBatchSize}. */
  batchSize?: number;
  workers?: number;
  lookAhead?: number;
  processes?: number;
  progress?: Progress;
  signal?: AbortSignal;
}

/** What was computed now. */
export interface ExtractionDone {
  images: number;
  seconds: number;
  /** How images passed through the backbone; absent where none did, as the following. */
  execution?: Execution;
  /** Processes that passed them in the end, and threads of each. */
  processes?: number;
  threads?: number;
}

/** Extracts what the store of one split lacks; images that cannot be read are left out and stand in the store. */
export async function fillStore(options: FillStoreOptions): Promise<ExtractionDone & { store: FeatureStore }> {
  const { dataset, place, requests, split } = options;
  const layers = requests.map(layerSpec);
  // What is whole is only read: several runs may use it at once, and it may stand where nobody can write.
  const folder = await findStore(place);
  if (folder && (await missingLayers({ folder, layers })).length === 0) {
    return { store: await openStore({ folder, key: place.key }), images: 0, seconds: 0 };
  }
  const listing = listingOf(split, place.key.views?.count);
  const loss = place.key.computePrecision && (await precisionLoss(options));
  const measured = layers.map((layer) => (loss ? { ...layer, precisionLoss: loss[layer.name] } : layer));
  const writer = await openStoreWriter({ place, layers: measured, listing, classes: dataset.classes });
  try {
    const started = Date.now();
    const images = writer.end - writer.firstMissingRow;
    if (images === 0) return { store: await writer.finish(), images, seconds: 0 };
    const extractor = await passImages({ ...options, writer, size: listing.size });
    return { store: await writer.finish(), images, seconds: (Date.now() - started) / 1000, ...extractor };
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

export function layerSpec({ name, tap, pooling, shape }: LayerRequest): LayerSpec {
  return { name, tap: tap.name, pooling: pooling.text, node: tap.node, shape };
}

/** The rows of a store: the split's images, or the views of each. */
function listingOf(split: DatasetSplit, views = 1): Pick<DatasetSplit, "size" | "ids" | "targets" | "digest"> {
  if (views === 1) return split;
  const images = Array.from({ length: split.size * views }, (_, row) => Math.floor(row / views));
  const ids = images.map((image, row) => `${split.ids[image]!}#${row % views}`);
  return { size: images.length, ids, targets: repeated(split.targets, views), digest: split.digest };
}

function repeated(targets: Targets, times: number): Targets {
  if (targets.kind === "single") {
    const labels = new Int32Array(targets.labels.length * times);
    return { kind: "single", labels: labels.map((_, row) => targets.labels[Math.floor(row / times)]!) };
  }
  const { classes, labels } = targets;
  const rows = new Int8Array(labels.length * times).map(
    (_, at) => labels[Math.floor(at / classes / times) * classes + (at % classes)]!,
  );
  return { kind: "multi", labels: rows, classes };
}

/** Passes the images that the writer lacks through the backbone, and tells by what. */
async function passImages(
  options: FillStoreOptions & { writer: StoreWriter; size: number },
): Promise<Pick<FeatureExtractor, "execution" | "processes" | "threads">> {
  const { dataset, place, requests, split, writer, size, progress = silent, signal } = options;
  const { views } = place.key;
  const { firstMissingRow: first, end: last } = writer;
  const layers = requests.filter(({ name }) => writer.missing.some((layer) => layer.name === name));
  const batchSize = batchSizeOf(options.batchSize ?? defaultBatchSize, writer.batchBoundary);
  const rows = Uint32Array.from({ length: last - first }, (_, i) => first + i);
  const images = imageBatches({
    count: split.size,
    source: (index) => split.source(index),
    id: (index) => split.ids[index]!,
    order: views ? rows.map((row) => Math.floor(row / views.count)) : rows,
    draws: views && rows.map((row) => row % views.count),
    seed: views?.seed,
    transform: place.key.transform,
    batchSize,
    workers: options.workers ?? os.availableParallelism(),
    lookAhead: options.lookAhead,
    onBadImage: "skip",
  });
  const unit = views ? "views" : "images";
  if (first > rowsOfPart(size, place.key.part).from) progress.note(`extraction of ${dataset.name} ${split.name} goes on at ${views ? "view" : "image"} ${first} of ${size}`); // prettier-ignore
  const extractor = openExtractor({ ...options, layers, batchSize, batches: Math.ceil(rows.length / batchSize) });
  const task = progress.task({ label: `extract ${split.name}`, total: last - first, unit });
  const begun: Promise<ExtractedBatch>[] = [];
  let written = first;
  const write = async () => {
    await writer.append(await begun.shift()!);
    const end = Math.min(written + batchSize, last);
    task.advance(end - written);
    written = end;
    signal?.throwIfAborted();
  };
  try {
    let at = first;
    for await (const { positions, pixels, height, width } of images) {
      const end = Math.min(at + batchSize, last);
      const skipped = images.bad
        .map(({ position, reason }) => ({ row: first + position, reason }))
        .filter(({ row }) => row >= at && row < end);
      const batch = { rows: positions.map((position) => first + position), skipped };
      const extracted = extractor.extract({ pixels, shape: [positions.length, height, width, 3] });
      begun.push(extracted.then((features) => ({ ...batch, features })));
      // It is awaited in its turn; until then a failure must not count as unhandled.
      begun.at(-1)!.catch(() => undefined);
      while (begun.length >= extractor.atOnce) await write();
      at = end;
    }
    while (begun.length > 0) await write();
    const { execution, processes, threads } = extractor;
    return { execution, processes, threads };
  } finally {
    extractor.close();
    task.end();
  }
}

/** What half precision changes in the first images of the split, told before it is used. */
async function precisionLoss(options: FillStoreOptions): Promise<Record<string, number>> {
  const { backbone, split, place, requests, batchSize = defaultBatchSize, workers, progress = silent } = options;
  const images = imageBatches({
    count: split.size,
    source: (index) => split.source(index),
    order: Uint32Array.from({ length: Math.min(batchSize, split.size) }, (_, i) => i),
    transform: place.key.transform,
    ...{ seed: place.key.views?.seed, batchSize, workers, lookAhead: 1, onBadImage: "skip" },
  });
  let loss: Record<string, number> = {};
  for await (const { rows, pixels, height, width } of images) {
    if (rows.length === 0) break;
    const batch = tf.tensor4d(pixels, [rows.length, height, width, 3]);
    loss = await backbone.precisionLoss({ pixels: batch, layers: requests });
    batch.dispose();
  }
  const told = Object.entries(loss).map(([name, value]) => `${name} ${value.toExponential(1)}`);
  progress.note(`${place.key.computePrecision} changes the features of ${split.name} by ${told.join(", ")}`);
  return loss;
}

/** A power of two that divides the shards, so that a run that goes on cuts the same batches as one that never stopped. */
function batchSizeOf(wanted: number, boundary: number): number {
  return Math.min(2 ** Math.floor(Math.log2(wanted)), boundary);
}
