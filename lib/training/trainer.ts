import type { BankPlace } from "../heads/bank.js";
import type { HeadWeights } from "../heads/head.js";
import type { Judgement, Score } from "./judging.js";
import type { TrainingJob } from "./job.js";
import type { TrainingPosition } from "./passes.js";

/** What a trainer tells after each epoch; again of all epochs that are behind it, when a training is taken up. */
export interface EpochReport {
  /** From 1. */
  epoch: number;
  /**
   * Mean loss on a sample of the training images, of L-BFGS on all of them: `[seed][head][trial]`, without weight
   * decay; not finite where a trial diverged, undefined where one is trained at another time.
   */
  losses: (number | undefined)[][][];
  /** Newly found; they are frozen. */
  diverged: BankPlace[];
  /** Newly found to have reached the tolerance of L-BFGS; they rest. */
  rested?: BankPlace[];
}

export interface TrainOptions {
  /** Where the training is kept, to be taken up by a later call. */
  checkpoint?: Checkpoint;
  /** Called where a training is taken up, before all else. */
  onResume?: (position: TrainingPosition) => void;
  /** Called as steps are made; at first with those that were made before. */
  onSteps?: (count: number) => void;
  onEpoch?: (report: EpochReport) => void;
  /** Stops after the step under way, when what is trained has been saved. */
  signal?: AbortSignal;
}

export interface Checkpoint {
  file: string;
  /** Digest of all that the training depends on; a file of another key is not taken up. */
  key: string;
  /** Epochs between two savings. Default: whenever twenty seconds have passed, also within an epoch. */
  every?: number;
}

/** Trains the heads of one job, in this process or elsewhere, and holds them afterwards. */
export interface Trainer {
  readonly job: TrainingJob;
  /** Steps of the whole training. */
  readonly steps: number;
  /** @throws what the signal gives as its reason, where it stops the training. */
  train(options: TrainOptions): Promise<void>;
  /** Which trials are frozen: `[seed][head][trial]`. */
  diverged(): Promise<boolean[][][]>;
  /**
   * What trained heads say of the images of a part, in evaluation form.
   *
   * @param options.wanted trials of each head; all where undefined.
   * @returns `[seed][head][position in wanted]`
   */
  judge(options: { part: "select" | "report"; wanted?: number[][] }): Promise<Judgement[][][]>;
  /** Of every trial on the part that settings are chosen on: `[seed][head][trial]`. */
  scores(): Promise<Score[][][]>;
  weights(place: BankPlace): Promise<HeadWeights>;
  close(): Promise<void>;
}
