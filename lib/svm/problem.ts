/** The loss of a row at margin m = y (w·x + b): max(0, 1 − m)², max(0, 1 − m), or log(1 + exp(−m)). */
export type SvmLoss = "squared_hinge" | "hinge" | "logistic";

/** The rows that problems are posed on, in blocks of whole rows. */
export interface SvmRows {
  count: number;
  width: number;
  /** float32, row by row, in order; each [rows of the block, width]. */
  blocks: Float32Array[];
}

/** Which rows stand on which side: one class in one fold, say. */
export interface SvmProblem {
  /** Of each row: 1, −1, or 0 where it takes no part (an ignored label, the fold that is held out). Shape [count]. */
  sides: Int8Array;
}

/**
 * What is minimised, over w and b (LIBLINEAR's, with its bias as a feature that is regularised):
 * ½(‖w‖² + b²) + C Σᵢ cᵢ loss(yᵢ(w·xᵢ + b)), with cᵢ = `positiveWeight` where yᵢ = 1, else 1.
 */
export interface SvmObjective {
  loss: SvmLoss;
  /** VISSL: 2. */
  positiveWeight: number;
  /** Where to stop: (objective − a lower bound of the optimum) / objective. Default: 1e-6. */
  tolerance?: number;
}

/** The optimum of one problem at one cost. */
export interface SvmSolution {
  /** Index of the problem. */
  problem: number;
  cost: number;
  /** w·x + b of every row, also of those that take no part. Shape [count]. */
  scores: Float32Array;
  /** w. Shape [width]. */
  weights: Float32Array;
  /** b. */
  bias: number;
  objective: number;
  /** (objective − a lower bound of the optimum) / objective, as reached. */
  gap: number;
  /** Newton (or descent) steps. */
  steps: number;
  /** Whether the tolerance was reached. */
  converged: boolean;
}

/** Solves many problems on the same rows; what depends on the rows alone (their Gram matrix) is made once. */
export interface SvmSolver {
  /**
   * All problems at all costs, as columns of common products, followed upward along the costs.
   *
   * @param options.costs positive, ascending.
   * @param options.onSolution called with each as it is known, in an order that is the same in every run.
   * @param options.onProgress solved problems × costs, so far.
   */
  solve(options: {
    problems: SvmProblem[];
    costs: number[];
    onSolution: (solution: SvmSolution) => void;
    onProgress?: (solved: number) => void;
    signal?: AbortSignal;
  }): Promise<void>;
  dispose(): void;
}
