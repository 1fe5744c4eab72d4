import { parseLayers } from "../backbones/layers.js";
import type { LayerRequest } from "../backbones/layers.js";
import type { DatasetSplit, SplitName } from "../datasets/dataset.js";
import { imageBatches } from "../images/pipeline.js";
import { parseTransform } from "../images/transform.js";
import { placeOf, splitsOf } from "./extract.js";
import { forward, layerSpec } from "./fill-store.js";
import { trainingTransform, type LiveFeaturesOptions } from "./live.js";
import { findStore, type StoreKey } from "./store-format.js";
import { rowsOfPart } from "./store-part.js";
import { missingLayers } from "./store.js";

/** What an extraction would be. */
export interface ExtractionPlan {
  layers: LayerRequest[];
  splits: { name: SplitName; images: number; missingLayers: number }[];
  /** Images that have to pass through the backbone. */
  images: number;
  /** On disk, when all is extracted. */
  bytes: number;
  /** Of one measured batch; undefined where nothing has to be extracted. */
  imagesPerSecond?: number;
}

export interface PlanExtractionOptions extends LiveFeaturesOptions {
  /** Augmented views of a training image that are to be stored. */
  views?: number;
  /** Images that pass through the backbone live, those of all epochs together. */
  liveImages?: number;
}

/** Looks at what is in the store, and measures one batch of what is not. Writes nothing. */
export async function planExtraction(options: PlanExtractionOptions): Promise<ExtractionPlan> {
  const { backbone, dataset, precision = "float32", batchSize = 16, views, liveImages = 0 } = options;
  const transform = parseTransform(options.transform ?? backbone.manifest.transform).text;
  const layers = parseLayers({ text: options.layers ?? "all", taps: backbone.taps });
  const rowBytes = layers.reduce((sum, { width }) => sum + width, 0) * (precision === "float16" ? 2 : 4);
  const plan: ExtractionPlan = { layers, splits: [], images: liveImages, bytes: 0 };
  const splits = splitsOf(dataset, options.splits);
  const stores: StoreWanted[] = splits.map((split) => ({ split, transform }));
  const split = dataset.splits.train ?? dataset.splits.all;
  const augmented = parseTransform(options.trainTransform ?? trainingTransform(options)).text;
  if (split && views !== undefined) {
    stores.push({ split, transform: augmented, views: { count: views, seed: options.seed ?? 0 } });
  }
  for (const store of stores) {
    const folder = await findStore(placeOf({ ...options, precision, ...store, views: store.views }));
    const wanted = layers.map(layerSpec);
    const missing = folder ? await missingLayers({ folder, layers: wanted }) : wanted;
    const { from, to } = rowsOfPart(store.split.size * (store.views?.count ?? 1), options.part);
    const images = to - from;
    if (!store.views) plan.splits.push({ name: store.split.name, images, missingLayers: missing.length });
    plan.bytes += images * rowBytes;
    if (missing.length === 0 || images === 0) continue;
    plan.images += images;
    plan.imagesPerSecond ??= await measure(options, { ...store, layers, batchSize });
  }
  if (split && plan.images > 0) {
    plan.imagesPerSecond ??= await measure(options, { split, transform: augmented, layers, batchSize });
  }
  return plan;
}

interface StoreWanted {
  split: DatasetSplit;
  transform: string;
  views?: StoreKey["views"];
}

async function measure(
  options: LiveFeaturesOptions,
  work: StoreWanted & { layers: LayerRequest[]; batchSize: number },
): Promise<number> {
  const { transform, layers, batchSize, split } = work;
  // The first batch warms the backbone up; the second is measured, decoding included.
  const images = imageBatches({
    count: split.size,
    source: (index) => split.source(index),
    order: Uint32Array.from({ length: 2 * batchSize }, (_, i) => i % split.size),
    transform,
    batchSize,
    workers: options.workers,
    lookAhead: 1,
    onBadImage: "skip",
  });
  let started = Date.now();
  let count = 0;
  for await (const { rows, pixels, height, width } of images) {
    await forward({ backbone: options.backbone, layers, pixels, shape: [rows.length, height, width, 3] });
    if (count++ === 0) started = Date.now();
  }
  return batchSize / Math.max((Date.now() - started) / 1000, 1e-3);
}
