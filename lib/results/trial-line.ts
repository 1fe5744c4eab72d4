/** One training of one trial of one head: a line of `trials.jsonl`. What is not finite is null. */
export interface TrialLine {
  /** Number of the trial in its sweep, from 0: the same for all layers and heads. */
  id: number;
  layer: string;
  head: string;
  setting: Record<string, number | string | boolean>;
  seeds: number[];
  /** Of successive halving, from 0, and the epochs of its training; without halving 0, and all. */
  rung: number;
  epochs: number;
  curve: {
    /** Whole passes over the training images, from 1. */
    epoch: number;
    /** On the sample of training images, one value a seed. */
    loss: (number | null)[];
    /** The selection metric where it was measured, one value a seed. */
    selection?: (number | null)[];
  }[];
  /** For some seed. */
  diverged: boolean;
  /** The selection metric at the end of the rung, the mean over seeds; null where it diverged or nothing was chosen. */
  selection: number | null;
}
