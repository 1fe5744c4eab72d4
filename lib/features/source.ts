import type * as tf from "@tensorflow/tfjs";

import type { Targets } from "../datasets/dataset.js";
import type { LayerSpec } from "./store-format.js";

/**
 * What a protocol knows of images: their features. Right of this interface nobody asks where they came from: a store on
 * disk, arrays of the user, or (live) images that are augmented and run through the backbone anew in every epoch.
 */
export interface FeatureSource {
  /** Number of images. */
  size: number;
  /** In the order asked for when the source was opened. */
  layers: FeatureLayer[];
  targets: Targets;
  /** A name for each image. */
  ids: string[];
  /** Where the features came from, for the record: folder, content key, digest of the data. */
  origin: Record<string, unknown>;
  /** Where another process finds the same features; undefined where it cannot. */
  stored?: StorePlaces;
  /** One pass over the given images, in the given order, batch by batch. */
  pass(options: FeaturePass): AsyncIterable<FeatureBatch>;
  close(): Promise<void>;
}

/** A feature store, and what of it is wanted. */
export interface StorePlaces {
  folder: string;
  layers: LayerSpec[];
}

export interface FeaturePass {
  /** Positions in [0, size), in the order of the pass; a position may stand several times. */
  rows: Uint32Array;
  /** Images a batch; the last batch holds what is left. */
  batchSize: number;
  /** Which layers are wanted; all where undefined. */
  layers?: string[];
  /**
   * For sources with random augmentation: a number for each position of `rows`. The view of an image is drawn from its
   * row and this number alone, so equal numbers give equal views. Undefined: the view without augmentation. Sources
   * that know one view only give that one.
   */
  draws?: Uint32Array;
  /** Whether this is the only pass, so that nothing of it need be kept in memory. */
  once?: boolean;
}

export interface FeatureBatch {
  /** Positions of this batch's images. */
  rows: Uint32Array;
  /**
   * float32 [batch, width] a layer, channel-major (C, H, W) within a row, as in PyTorch. The consumer disposes them.
   */
  features: Record<string, tf.Tensor2D>;
}

export interface FeatureLayer {
  /** As asked for: a tap, or a tap with a pooling, e.g. `block4` or `res4:avg_pool(8x8,3,0)`. */
  name: string;
  /** Of one image: [C, H, W] for pooled maps, [C] for vectors. */
  shape: number[];
  /** Numbers an image: the product of `shape`. */
  width: number;
}
