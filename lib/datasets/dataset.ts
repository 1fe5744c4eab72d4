import type { ImageSource } from "../images/image.js";

/**
 * A labelled set of images: what stands left of the features. One file a format opens one (`openDataset` chooses by the
 * specification `format:place`).
 */
export interface Dataset {
  /** As the user wrote it, e.g. `folder:photos`. */
  spec: string;
  /** A short name for folders and tables, e.g. `photos`; only `[A-Za-z0-9._-]`. */
  name: string;
  /** Class names; a label is an index here. */
  classes: string[];
  /** Whether an image may have several labels. */
  multiLabel: boolean;
  /**
   * The splits that the data itself names: some of `train`, `val`, `test`; or `all` alone, where the data has no splits
   * of its own and the protocol draws them.
   */
  splits: Partial<Record<SplitName, DatasetSplit>>;
}

export type SplitName = "train" | "val" | "test" | "all";

export interface DatasetSplit {
  name: SplitName;
  /** Number of images, at least 1. */
  size: number;
  /** A name for each image, unique in the split, e.g. its path below the data set's folder; no newline in it. */
  ids: string[];
  /** What each image shows. Length `size`. */
  targets: Targets;
  /** The image itself, by its position; a promise where it has to be read out of a packed file. */
  source(index: number): ImageSource | Promise<ImageSource>;
  /**
   * sha256 (hexadecimal) over the listing: format, ids, targets, and each file's size and modification time or the
   * digest of the packed file. Two listings with equal digests give equal features.
   */
  digest: string;
}

/**
 * Labels of n images.
 *
 * - `single`: one class index an image. Shape [n].
 * - `multi`: 1 = present, 0 = absent, −1 = ignored, row by row. Shape [n, classes].
 */
export type Targets = { kind: "single"; labels: Int32Array } | { kind: "multi"; labels: Int8Array; classes: number };
