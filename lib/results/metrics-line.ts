/** Metrics of one moment of training, one line of `metrics.jsonl`. */
export interface MetricsLine {
  /** Whole passes over the training images, from 1. */
  epoch: number;
  seed: number;
  layer: string;
  head: string;
  /** Loss, accuracy, learning rate, the trial or a list a trial, …, under the field's names. */
  [name: string]: unknown;
}
