import type { Backbone, DescribedBackbone } from "../backbones/backbone.js";
import type { LayerEntry, LayerRequest } from "../backbones/layers.js";
import { parseLayers } from "../backbones/layers.js";
import type { Dataset, DatasetSplit, SplitName } from "../datasets/dataset.js";
import { expected } from "../errors.js";
import { digestOf } from "../files.js";
import { badImagesError } from "../images/pipeline.js";
import type { Transform } from "../images/transform.js";
import { parseTransform } from "../images/transform.js";
import { silent } from "../progress.js";
import type { Progress } from "../progress.js";
import type { FeatureSet } from "./feature-set.js";
import type { FeatureSource } from "./source.js";
import { defaultBatchSize, fillStore, layerSpec } from "./fill-store.js";
import type { ExtractionDone } from "./fill-store.js";
import { sameLayer } from "./store-format.js";
import type { StoreKey, StorePlace } from "./store-format.js";
import type { FeatureStore } from "./store.js";
import { rowsOfPart } from "./store-part.js";
import type { StorePart } from "./store-part.js";
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
   * Processes that pass images through the backbone side by side. Default: with WebAssembly one for each core, with
   * CUDA one for each GPU, with native TensorFlow one for each core or one with all cores, as is measured; and one for
   * little work.
   */
  processes?: number;
  /**
   * - `stop` (default): when all images have been tried, one error names those that cannot be read
   * - `skip`: they are left out, and stand in the result
   */
  onBadImage?: "stop" | "skip";
  progress?: Progress;
  /** Only this part of each split, into a store of its own that `mergeStores` joins with the others. */
  part?: StorePart;
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
  const {
    backbone,
    dataset,
    precision = "float32",
    batchSize = defaultBatchSize,
    onBadImage = "stop",
    part,
    progress = silent,
  } = options;
  const transform = parseTransform(options.transform ?? backbone.manifest.transform);
  checkSize(backbone, transform);
  const requests = parseLayers({ text: options.layers ?? "all", taps: backbone.taps });
  const extraction: ExtractionDone = { images: 0, seconds: 0 };
  const sources: Partial<Record<SplitName, FeatureSource>> = {};
  const skipped: FeatureSet["skipped"] = [];
  const precisionLoss: Record<string, number> = {};
  const splits = splitsOf(dataset, options.splits);
  const close = async () => {
    for (const source of Object.values(sources)) await source.close();
  };
  try {
    for (const split of splits) {
      const rows = rowsOfPart(split.size, part);
      if (part && rows.from === rows.to) {
        progress.note(
          `part ${part.index} of ${part.count} of ${split.name} is empty: it has ${split.size} images only`,
        );
        continue;
      }
      const place = placeOf({ ...options, transform: transform.text, precision, split });
      const { store, ...done } = await fillStore({ ...options, place, requests, split });
      const { execution, processes = 0, threads } = done;
      extraction.images += done.images;
      extraction.seconds += done.seconds;
      // Few images may have passed otherwise than many.
      if (processes > (extraction.processes ?? 0)) Object.assign(extraction, { execution, processes, threads });
      if (store.skipped.length > 0 && onBadImage === "stop") throw badImagesError(store.skipped, split.size);
      for (const { name, loss } of lossesOf(store, requests))
        precisionLoss[name] = Math.max(precisionLoss[name] ?? 0, loss);
      skipped.push(...store.skipped.map(({ id, reason }) => ({ id, reason })));
      sources[split.name] = await openStoredSource({ store, layers: requests.map(layerSpec) });
    }
  } catch (error) {
    await close();
    throw error;
  }
  const { title, arch } = backbone.manifest;
  const { computePrecision } = backbone;
  const half = computePrecision === "float32" ? {} : { computePrecision, precisionLoss };
  return {
    splits: sources,
    classes: dataset.classes,
    data: {
      spec: dataset.spec,
      name: dataset.name,
      digest: digestOf(Object.fromEntries(splits.map(({ name, digest }) => [name, digest]))),
    },
    backbone: { title, arch, digest: backbone.digest, transform: transform.text, precision, ...half },
    skipped,
    extraction: extraction.images > 0 ? { ...extraction, batchSize } : extraction,
    close,
  };
}

/** What half precision changed in layers of a store. */
function lossesOf(store: FeatureStore, requests: LayerRequest[]): { name: string; loss: number }[] {
  return requests.map((request) => {
    const stored = store.layers.find((layer) => sameLayer(layer, layerSpec(request)));
    return { name: request.name, loss: stored?.precisionLoss ?? 0 };
  });
}

/**
 * Whether images come out of a transform as the backbone wants them.
 *
 * @param flag names the transform in the message.
 */
export function checkSize({ manifest }: DescribedBackbone, transform: Transform, flag = "--transform"): void {
  const { height, width } = manifest.input;
  const size = transform.outputSize();
  if (size && (size[0] !== height || size[1] !== width)) {
    throw expected(`images of ${height}x${width}, as ${manifest.arch} wants them,`, flag, transform.text);
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
  backbone: DescribedBackbone;
  dataset: Dataset;
  split: DatasetSplit;
  /** Canonical text. */
  transform: string;
  precision: "float32" | "float16";
  root?: string;
  views?: StoreKey["views"];
  part?: StorePart;
}): StorePlace {
  const { backbone, dataset, split, transform, precision, views, part, root = "features" } = options;
  const { title, arch } = backbone.manifest;
  const computePrecision = backbone.computePrecision === "float32" ? undefined : backbone.computePrecision;
  const key = { weights: backbone.digest, transform, precision, computePrecision, dataset: split.digest, views, part };
  return { root, title, arch, dataset: dataset.name, split: split.name, key };
}
