import type { Backbone } from "../backbones/backbone.js";
import { parseLayers, type LayerRequest } from "../backbones/layers.js";
import type { DatasetSplit } from "../datasets/dataset.js";
import { expected } from "../errors.js";
import { parseTransform } from "../images/transform.js";
import { stepText } from "../images/transform-text.js";
import { checkSize, extractFeatures, placeOf, type ExtractFeaturesOptions } from "./extract.js";
import type { FeatureSet } from "./feature-set.js";
import { fillStore, layerSpec } from "./fill-store.js";
import { openLiveSource } from "./live-source.js";
import type { FeatureSource } from "./source.js";
import { openStore } from "./store.js";
import { openViewsSource } from "./views-source.js";

export interface LiveFeaturesOptions extends ExtractFeaturesOptions {
  /** What is done to a training image. Default: {@link trainingTransform}. */
  trainTransform?: string;
  /** Views are drawn from it. Default: 0. */
  seed?: number;
}

/**
 * Features of a data set whose training images are augmented: in passes with draws they are read, transformed and run
 * through the backbone anew. All else (other splits, and passes without draws) comes out of the feature store, where it
 * is extracted first; so images that cannot be read are known before training.
 *
 * @throws UserError where a transform, a layer or a split is wrong, or images cannot be read.
 */
export async function liveFeatures(options: LiveFeaturesOptions): Promise<FeatureSet> {
  const { backbone, batchSize, workers, lookAhead, seed = 0 } = options;
  return augmentedFeatures(options, async (training) => ({
    source: openLiveSource({ ...training, backbone, batchSize, workers, lookAhead, seed }),
    extraction: { images: 0, seconds: 0 },
  }));
}

/**
 * Features of a data set with some augmented views of each training image, drawn and extracted once into a feature
 * store of their own: in passes with draws an image is one of its views.
 *
 * @param options.views views an image, at least 1.
 * @throws UserError as {@link liveFeatures}.
 */
export async function viewFeatures(options: LiveFeaturesOptions & { views: number }): Promise<FeatureSet> {
  const { views: count, ...extraction } = options;
  const { seed = 0, precision = "float32" } = extraction;
  if (!Number.isInteger(count) || count < 1) throw expected("an integer of at least 1", "--views", count);
  return augmentedFeatures(extraction, async ({ plain, positions, split, layers, transform }) => {
    const place = placeOf({ ...extraction, split, transform, precision, views: { count, seed } });
    const { store, ...done } = await fillStore({ ...extraction, split, place, requests: layers });
    return {
      source: await openViewsSource({ store, layers: layers.map(layerSpec), plain, positions }),
      extraction: done,
    };
  });
}

/**
 * What published linear evaluations do to training images: a random resized crop of the backbone's size, bilinear, and
 * a flip for every other image; then the normalization of the evaluation's transform.
 *
 * Source: VISSL, eval_resnet_8gpu_transfer_in1k_linear (RandomResizedCrop 224, RandomHorizontalFlip).
 *
 * @param options.transform of the evaluation. Default: the manifest's.
 */
export function trainingTransform({ backbone, transform }: { backbone: Backbone; transform?: string }): string {
  const { manifest } = backbone;
  const { height, width } = manifest.input;
  const { steps } = parseTransform(transform ?? manifest.transform);
  const those = (...kinds: string[]) => steps.filter(({ kind }) => kinds.includes(kind)).map(stepText);
  return [
    ...those("exif", "flatten"),
    `random_resized_crop(${height}x${width},bilinear)`,
    "hflip(0.5)",
    ...those("channels", "normalize"),
  ].join("|");
}

/** The split that heads are trained on, as it is without augmentation. */
interface Training {
  plain: FeatureSource;
  /** Where each image of `plain` stands in the split. */
  positions: Uint32Array;
  split: DatasetSplit;
  layers: LayerRequest[];
  /** Canonical text of the training transform. */
  transform: string;
}

async function augmentedFeatures(
  options: LiveFeaturesOptions,
  open: (training: Training) => Promise<{ source: FeatureSource; extraction: FeatureSet["extraction"] }>,
): Promise<FeatureSet> {
  const { backbone, dataset } = options;
  const transform = parseTransform(options.trainTransform ?? trainingTransform(options));
  checkSize(backbone, transform, "--train-transform");
  const features = await extractFeatures(options);
  try {
    const name = features.splits.train ? "train" : "all";
    const plain = features.splits[name];
    const split = dataset.splits[name];
    if (!plain || !split) throw expected("a train split, or images without splits,", dataset.spec, options.splits);
    const training: Training = {
      ...{ plain, split, transform: transform.text },
      positions: await positionsOf(plain, split),
      layers: parseLayers({ text: options.layers ?? "all", taps: backbone.taps }),
    };
    const { source, extraction } = await open(training);
    return {
      ...features,
      splits: { ...features.splits, [name]: source },
      backbone: features.backbone && { ...features.backbone, trainTransform: transform.text },
      extraction: {
        ...features.extraction,
        images: features.extraction.images + extraction.images,
        seconds: features.extraction.seconds + extraction.seconds,
      },
      close: async () => {
        await source.close();
        await features.close();
      },
    };
  } catch (error) {
    await features.close();
    throw error;
  }
}

/** Where the images that a store holds stand in their split. */
async function positionsOf(plain: FeatureSource, split: DatasetSplit): Promise<Uint32Array> {
  const { skipped } = await openStore({ folder: plain.origin.folder as string });
  const rows = new Set(skipped.map(({ row }) => row));
  return Uint32Array.from(split.ids.keys()).filter((row) => !rows.has(row));
}
