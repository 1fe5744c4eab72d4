import type { FeatureSource } from "../features/source.js";
import type { Regularised } from "../heads/block.js";
import type { BankHead } from "../heads/head-blocks.js";
import type { Loss } from "../heads/loss.js";

/** What is trained and how: plain data, so that another process can be told. */
export interface TrainingJob {
  heads: BankHead[];
  /** Each is a run of its own: initial weights and order of images. */
  seeds: number[];
  classes: number;
  loss: Loss;
  regularised: Regularised;
  /** Passes over the training images. */
  epochs: number;
  /**
   * That the schedules are made for, where it is more than `epochs`: they run through in the epochs that there are.
   * Default: `epochs`.
   */
  scheduleEpochs?: number;
  /** Images a step and seed; undefined for L-BFGS, whose steps see all images. */
  batchSize?: number;
}

/** A job of steps on batches. */
export type BatchJob = TrainingJob & { batchSize: number };

/** Some images of a source. */
export interface Part {
  source: FeatureSource;
  rows: Uint32Array;
}

/** Which images heads are trained on, chosen on, and reported on. */
export interface TrainingParts {
  train: Part;
  /** undefined where there is nothing to choose. */
  select?: Part;
  report: Part;
}

/** Names of the layers that heads read. */
export function layersOf(heads: BankHead[]): string[] {
  return [...new Set(heads.flatMap(({ spec }) => spec.reads))];
}
