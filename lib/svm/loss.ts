import type { SvmLoss } from "./problem.js";

/**
 * The losses of one problem's rows at one cost. Row i counts `costs[i]` = C·cᵢ times (0: it takes no part); its margin
 * is m = yᵢ (w·xᵢ + b), and its dual variable a. Formulas are those of Hsieh et al., A Dual Coordinate Descent Method
 * for Large-scale Linear SVM, and of Yu, Huang, Lin, Dual Coordinate Descent Methods for Logistic Regression.
 */
export interface RowLosses {
  readonly costs: Float64Array;
  /**
   * Whether a row is either active, with a dual variable linear in its margin, or has none: Newton's step leads to the
   * optimum then if the active rows stay active, and no others become so.
   */
  readonly hasActiveRows: boolean;
  /** The loss times the row's cost. */
  value(row: number, margin: number): number;
  /** The dual variable that belongs to the margin: −d value / dm. */
  dual(row: number, margin: number): number;
  /** d² value / dm². */
  curvature(row: number, margin: number): number;
  /** The dual variable nearest to `dual` that is allowed. */
  allowed(row: number, dual: number): number;
  /** The row's share of the duality gap of what is minimised, ≥ 0: value + conjugate + dual · margin. */
  gap(row: number, margin: number, dual: number): number;
  /** Value and gap of the loss proper. They differ where it is solved through smooth ones, as the hinge is. */
  properValue(row: number, margin: number): number;
  properGap(row: number, margin: number, dual: number): number;
  /** Takes the next smooth loss, nearer to the loss proper at these dual variables. */
  sharpen?(duals: Float64Array): void;
  /** Begins anew with smooth losses. */
  soften?(duals: Float64Array): void;
}

export function rowLosses(loss: SvmLoss, rows: number): RowLosses {
  switch (loss) {
    case "squared_hinge":
      return new SquaredHinge(rows);
    case "hinge":
      return new Hinge(rows);
    case "logistic":
      return new Logistic(rows);
  }
}

class SquaredHinge implements RowLosses {
  readonly hasActiveRows = true;
  readonly costs: Float64Array;

  constructor(rows: number) {
    this.costs = new Float64Array(rows);
  }

  value(row: number, margin: number): number {
    return margin < 1 ? this.costs[row]! * (1 - margin) ** 2 : 0;
  }

  dual(row: number, margin: number): number {
    return margin < 1 ? 2 * this.costs[row]! * (1 - margin) : 0;
  }

  curvature(row: number, margin: number): number {
    return margin < 1 ? 2 * this.costs[row]! : 0;
  }

  allowed(row: number, dual: number): number {
    return this.costs[row] === 0 || dual < 0 ? 0 : dual;
  }

  gap(row: number, margin: number, dual: number): number {
    const cost = this.costs[row]!;
    if (cost === 0) return 0;
    // For m < 1 the three terms are a square.
    return margin < 1
      ? (2 * cost * (1 - margin) - dual) ** 2 / (4 * cost)
      : dual ** 2 / (4 * cost) + dual * (margin - 1);
  }

  properValue(row: number, margin: number): number {
    return this.value(row, margin);
  }

  properGap(row: number, margin: number, dual: number): number {
    return this.gap(row, margin, dual);
  }
}

class Logistic implements RowLosses {
  readonly hasActiveRows = false;
  readonly costs: Float64Array;

  constructor(rows: number) {
    this.costs = new Float64Array(rows);
  }

  value(row: number, margin: number): number {
    return this.costs[row]! * softplus(-margin);
  }

  dual(row: number, margin: number): number {
    return this.costs[row]! * sigmoid(-margin);
  }

  curvature(row: number, margin: number): number {
    const p = sigmoid(-Math.abs(margin));
    return this.costs[row]! * p * (1 - p);
  }

  allowed(row: number, dual: number): number {
    return Math.min(Math.max(dual, 0), this.costs[row]!);
  }

  gap(row: number, margin: number, dual: number): number {
    const cost = this.costs[row]!;
    if (cost === 0) return 0;
    // The divergence of Kullback and Leibler between a / C and the probability that the margin gives.
    const q = dual / cost;
    return Math.max(0, cost * (entropy(q) + entropy(1 - q) + softplus(-margin) + q * margin));
  }

  properValue(row: number, margin: number): number {
    return this.value(row, margin);
  }

  properGap(row: number, margin: number, dual: number): number {
    return this.gap(row, margin, dual);
  }
}

/**
 * The hinge is solved through the proximal point method on the dual (Rockafellar, 1976): the smooth loss is
 * max over 0 ≤ a ≤ C of a(1 − m) − σ/2 (a − centre)², and the centre becomes the dual that was found.
 */
class Hinge implements RowLosses {
  readonly hasActiveRows = false;
  readonly costs: Float64Array;
  private readonly centres: Float64Array;
  private smoothness = 1;

  constructor(rows: number) {
    this.costs = new Float64Array(rows);
    this.centres = new Float64Array(rows);
  }

  value(row: number, margin: number): number {
    const dual = this.dual(row, margin);
    const away = dual - this.centres[row]!;
    return dual * (1 - margin) - (this.sigma(row) / 2) * away * away;
  }

  dual(row: number, margin: number): number {
    const cost = this.costs[row]!;
    if (cost === 0) return 0;
    return Math.min(Math.max(this.centres[row]! + (1 - margin) / this.sigma(row), 0), cost);
  }

  curvature(row: number, margin: number): number {
    const cost = this.costs[row]!;
    if (cost === 0) return 0;
    const sigma = this.sigma(row);
    const dual = this.centres[row]! + (1 - margin) / sigma;
    return dual > 0 && dual < cost ? 1 / sigma : 0;
  }

  allowed(row: number, dual: number): number {
    return Math.min(Math.max(dual, 0), this.costs[row]!);
  }

  gap(row: number, margin: number, dual: number): number {
    if (this.costs[row] === 0) return 0;
    const away = dual - this.centres[row]!;
    return Math.max(0, this.value(row, margin) - dual * (1 - margin) + (this.sigma(row) / 2) * away * away);
  }

  properValue(row: number, margin: number): number {
    return margin < 1 ? this.costs[row]! * (1 - margin) : 0;
  }

  properGap(row: number, margin: number, dual: number): number {
    return this.properValue(row, margin) - dual * (1 - margin);
  }

  soften(duals: Float64Array): void {
    this.smoothness = 1;
    this.centres.set(duals);
  }

  sharpen(duals: Float64Array): void {
    this.smoothness = Math.max(this.smoothness / 3, 1e-4);
    this.centres.set(duals);
  }

  /** σ, in units in which the curvature is C / smoothness. */
  private sigma(row: number): number {
    return this.smoothness / this.costs[row]!;
  }
}

function softplus(x: number): number {
  return x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x));
}

function sigmoid(x: number): number {
  return x > 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}

function entropy(q: number): number {
  return q > 0 ? q * Math.log(q) : 0;
}
