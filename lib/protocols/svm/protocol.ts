import type { CostOptions } from "../../svm/costs.js";
import type { SvmLoss } from "../../svm/problem.js";

/**
 * VISSL's linear SVMs: on each layer one a class against all others, at each of some costs; the cost of a class is the
 * one with the highest average precision in cross-validation.
 *
 * Source: VISSL, `train_svm` (protocols.md 1.6). Differences: every problem is solved to its optimum, and a class that
 * is not in every fold is an error.
 */
export interface SvmProtocol extends CostOptions {
  loss: SvmLoss;
  /** How many times as much an error on a positive costs. */
  positiveWeight: number;
  /** Whether features are divided by their length: x / (‖x‖ + 1e-5), in single precision. */
  normalize: boolean;
  /** Of the cross-validation; at least 2. */
  folds: number;
  /** What labels of −1 are in training; test images are left out by them. VISSL trains on them as negatives. */
  ignoredInTraining: "negative" | "drop";
  /** Names or numbers of the classes that are trained. Default: all. */
  classes?: (string | number)[];
  /** Where each problem may stop: distance from its optimum, as a part of the objective. */
  tolerance: number;
  /** Part of all images that is reported on, where the data has neither `test` nor `val`; in (0, 1). */
  testFraction: number;
  splitSeed: number;
}

/** VISSL's settings on VOC07. */
export const svmDefaults: SvmProtocol = {
  costs: [0.01, 0.1, 1, 2, 5, 10, 15, 20, 50, 100, 1000],
  loss: "squared_hinge",
  positiveWeight: 2,
  normalize: true,
  folds: 3,
  ignoredInTraining: "negative",
  tolerance: 1e-6,
  testFraction: 0.2,
  splitSeed: 0,
};

/**
 * VISSL's low-shot SVMs: one class against all others from k images of each, for several k, each k drawn several times.
 * Every cost is tested. Which one is reported is chosen by cross-validation on the drawn images; what VISSL reports,
 * the cost that is best on the test images, is told beside it.
 *
 * Source: VISSL, `train_svm_low_shot` (protocols.md 1.7). Difference: every problem is solved to its optimum.
 */
export interface LowShotProtocol extends Omit<SvmProtocol, "ignoredInTraining"> {
  /** Images of each class, several numbers of them. */
  lowShot: number[];
  /** How often each is drawn. */
  samples: number;
}

/** VISSL's numbers on VOC07. */
export const lowShotDefaults = { lowShot: [1, 2, 4, 8, 16, 32, 64, 96], samples: 5 };
