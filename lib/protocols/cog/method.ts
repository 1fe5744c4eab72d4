import type { FeatureLayer } from "../../features/source.js";
import type { HeadWeights } from "../../heads/head.js";
import type { Progress } from "../../progress.js";
import type { Setting } from "../../results/record.js";
import type { Part } from "../splits.js";
import type { LogregMethodName, LogregProtocol } from "./protocol.js";
import type { Answers } from "./tally.js";
import type { EpochLog } from "./training.js";

/** One logistic regression that is wanted: of one layer and seed. */
export interface LogregTask {
  layer: FeatureLayer;
  classes: number;
  seed: number;
  settings: LogregProtocol;
  /** What settings are chosen with; undefined where there is nothing to choose, or nothing to choose on. */
  choice?: { train: Part; val: Part };
  /** What is trained on in the end. */
  train: Part;
  report: Part;
  /** Where what is unfinished is kept, to be taken up; undefined: nowhere. */
  folder?: string;
  /** Digest of all that the task depends on. */
  key: string;
  progress: Progress;
  signal?: AbortSignal;
}

/** What was tried. */
export interface LogregTrial {
  setting: Setting;
  /** Top-1 on the images of the choice, in [0, 1]; null where it diverged. */
  selection: number | null;
}

/** The best logistic regression that a method found. */
export interface LogregFit {
  chosen: Setting;
  /** Top-1 of the chosen setting on the images of the choice; null where nothing was chosen. */
  selection: number | null;
  trials: LogregTrial[];
  /** On the images that are reported, in [0, 1]. */
  top1: number;
  top5: number;
  /** Whether the last training came to its end. */
  converged: boolean;
  /** Of methods that look for the least of a loss. */
  solution?: LogregSolution;
  weights: HeadWeights;
  /** Of the images that are reported. */
  answers: Answers;
  /** Of methods that have epochs: what was seen in each, and the classes that were predicted after it. */
  epochs?: { log: EpochLog; predicted: Int32Array }[];
}

/** How the least of a loss was found. */
export interface LogregSolution {
  /** What the next Newton step would gain of the last training, as a part of its objective. */
  gap: number;
  /** Passes over images: those of the choice, and all. */
  passes: number;
}

/** A way to find the logistic regression of a task. */
export interface LogregMethod {
  name: LogregMethodName;
  /** What the record calls the head that it gives. */
  head: string;
  /** Whether there is anything to choose. */
  searches(settings: LogregProtocol): boolean;
  fit(task: LogregTask): Promise<LogregFit>;
  /** Writes what it found to the seed's folder. */
  write(options: { folder: string; task: LogregTask; fit: LogregFit }): Promise<void>;
}
