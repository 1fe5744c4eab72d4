import { parseLayers } from "../backbones/layers.js";
import type { LayerRequest } from "../backbones/layers.js";
import type { SplitName } from "../datasets/dataset.js";
import { imageBatches } from "../images/pipeline.js";
import { parseTransform } from "../images/transform.js";
import { placeOf, splitsOf } from "./extract.js";
import type { ExtractFeaturesOptions } from "./extract.js";
import { forward, layerSpec } from "./fill-store.js";
import { findStore } from "./store-format.js";
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

/** Looks at what is in the store, and measures one batch of what is not. Writes nothing. */
export async function planExtraction(options: ExtractFeaturesOptions): Promise<ExtractionPlan> {
  const { backbone, dataset, precision = "float32", batchSize = 16 } = options;
  const transform = parseTransform(options.transform ?? backbone.manifest.transform).text;
  const layers = parseLayers({ text: options.layers ?? "all", taps: backbone.taps });
  const rowBytes = layers.reduce((sum, { width }) => sum + width, 0) * (precision === "float16" ? 2 : 4);
  const plan: ExtractionPlan = { layers, splits: [], images: 0, bytes: 0 };
  for (const split of splitsOf(dataset, options.splits)) {
    const folder = await findStore(placeOf({ ...options, transform, precision, split }));
    const wanted = layers.map(layerSpec);
    const missing = folder ? await missingLayers({ folder, layers: wanted }) : wanted;
    plan.splits.push({ name: split.name, images: split.size, missingLayers: missing.length });
    plan.bytes += split.size * rowBytes;
    if (missing.length === 0) continue;
    plan.images += split.size;
    plan.imagesPerSecond ??= await measure(options, { transform, layers, batchSize, split });
  }
  return plan;
}

async function measure(
  options: ExtractFeaturesOptions,
  work: { transform: string; layers: LayerRequest[]; batchSize: number; split: ReturnType<typeof splitsOf>[number] },
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
