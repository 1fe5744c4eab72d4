import type { ActiveRows } from "./active-rows.js";
import { factorSpeed } from "./factor.js";
import type { Candidate, Judgement } from "./judgement.js";
import { rowLosses, type RowLosses } from "./loss.js";
import type { Preconditioner } from "./preconditioner.js";
import type { SvmObjective, SvmProblem } from "./problem.js";

const maximalSteps = 300;

/** Conjugate gradients end when their last step, times how many there were, gained less than this share of all. */
const forcing = { preconditioned: 0.3, alone: 1e-6 };

/** Products that a problem takes over active rows, and what else is done beside the factor, in products. */
const activeProducts = 8;

/** Over active rows they also end when the gap that is left is this share of what was gained. */
const activeForcing = 1e-3;

/**
 * One problem while it is solved, by truncated Newton steps in the primal (Keerthi and DeCoste, 2005; Chapelle, 2007).
 *
 * The weights are w = Xᵀβ throughout, so that a vector is a number a row and its scores are a product with the kernel
 * K = X·Xᵀ + 1; the inner product of two weights is β·Kβ′. Vectors and sums are float64, products are float32.
 */
export class Column {
  readonly index: number;
  /** What the column waits for: a preconditioned residual's scores, exact scores of its coefficients, or nothing. */
  state: "step" | "check" | "done" = "done";
  steps = 0;
  cost = 0;
  /** Rows whose losses have a curvature. */
  activeCount = 0;
  /** Whether scores have to be computed in double precision. */
  exact = false;
  /** Whether single precision is not enough for Newton's systems either: they are solved alone, not preconditioned. */
  alone = false;

  readonly coefficients: Float64Array;
  readonly scores: Float64Array;
  /** −(coefficients of the gradient), or of the Newton system's residual. */
  readonly residual: Float64Array;
  /** Second derivatives of the losses. */
  readonly curvatures: Float64Array;

  readonly preconditioner: Preconditioner;
  /** Takes the preconditioner's place once it pays; the coefficients become zero on all rows that are not active. */
  activeRows: ActiveRows | undefined;

  private readonly sides: Int8Array;
  private readonly losses: RowLosses;
  /** Those of the cost that is judged, which may be another. */
  private readonly judged: RowLosses;
  private readonly weightOf: (side: number) => number;
  private readonly tolerance: number;
  private readonly direction: Float64Array;
  private readonly directionScores: Float64Array;
  private readonly conjugate: Float64Array;
  private readonly conjugateScores: Float64Array;
  private slope = 0;
  private stride = 0;
  private decrease = 0;
  private inner = 0;
  private solved = false;
  /** What the loss proper adds to the gap of the smooth one. */
  private roughness = 0;
  /** Candidates that were not good enough, at this cost and precision. */
  private checks = 0;
  /** Products with the kernel, of all Newton steps at the cost. */
  products = 0;
  /** Where the gap is to be, ahead of judgement. */
  private target = 0;

  constructor(index: number, problem: SvmProblem, objective: SvmObjective, preconditioner: Preconditioner) {
    this.preconditioner = preconditioner;
    const count = problem.sides.length;
    const vector = () => new Float64Array(count);
    this.index = index;
    this.sides = problem.sides;
    this.losses = rowLosses(objective.loss, count);
    this.judged = rowLosses(objective.loss, count);
    this.weightOf = (side) => (side === 0 ? 0 : side > 0 ? objective.positiveWeight : 1);
    this.tolerance = objective.tolerance ?? 1e-6;
    this.coefficients = vector();
    this.scores = vector();
    this.residual = vector();
    this.curvatures = vector();
    this.direction = vector();
    this.directionScores = vector();
    this.conjugate = vector();
    this.conjugateScores = vector();
  }

  /**
   * Starts from the optimum of the cost before, stretched to the best length; over active rows as it is, for the same
   * rows are nearly all active at the next cost, and stretched they would not be.
   */
  begin(cost: number): void {
    const { losses, coefficients } = this;
    this.take(cost);
    if (this.activeRows) return this.beginStep();
    if (coefficients.some((b) => b !== 0)) {
      this.direction.set(coefficients);
      this.directionScores.set(this.scores);
      losses.soften?.(this.duals());
      this.moveAlong();
    } else losses.soften?.(this.duals());
    this.beginStep();
  }

  /** Takes up a cost again at which a candidate is not good enough. */
  beginAgain(candidate: Candidate, judgement: Judgement): void {
    this.take(candidate.cost);
    this.steps = candidate.steps;
    this.judge(candidate, judgement);
  }

  private take(cost: number): void {
    this.cost = cost;
    this.setCosts(this.losses, cost);
    this.steps = 0;
    this.checks = 0;
    this.products = 0;
    this.alone = false;
  }

  private setCosts({ costs }: RowLosses, cost: number): void {
    for (let i = 0; i < costs.length; i++) costs[i] = cost * this.weightOf(this.sides[i]!);
  }

  /**
   * Whether a factor over the active rows, once for each of some steps, would have cost less than the products did.
   *
   * @param limit most active rows.
   */
  activeRowsPay(limit: number): boolean {
    if (this.activeRows || !this.losses.hasActiveRows) return false;
    const { activeCount } = this;
    const saved = this.products - activeProducts;
    return activeCount <= limit && activeCount ** 3 <= 6 * factorSpeed() * this.scores.length ** 2 * saved;
  }

  /** Leaves a cost: the factor is of no use at the next. */
  leave(): void {
    this.activeRows?.forget();
    this.state = "done";
  }

  /** Goes back to all rows, where too many have become active. */
  overAllRows(): void {
    this.activeRows?.forget();
    this.activeRows = undefined;
  }

  /**
   * A step of conjugate gradients. `scores` are those of the preconditioned residual `vector`, less its bias; both
   * begin at `at`.
   *
   * @param strong what the preconditioner's strongest directions add to the product of residual and `vector`.
   */
  advance(vector: Float32Array | Float64Array, scores: Float32Array | Float64Array, at: number, strong: number): void {
    const { residual, curvatures, direction, directionScores, conjugate, conjugateScores } = this;
    const count = residual.length;
    let bias = 0;
    for (let i = 0; i < count; i++) bias += vector[at + i]!;
    let slope = 0;
    // Polak and Ribière's rule: `residual` changed by −step · (Hessian · conjugate).
    let change = 0;
    for (let i = 0; i < count; i++) {
      const score = scores[at + i]! + bias;
      slope += residual[i]! * score;
      change += (conjugate[i]! + curvatures[i]! * conjugateScores[i]!) * score;
    }
    // Half the squared length of the residual as weights: the duality gap, where the model is exact.
    let gap = Math.max(0, this.alone ? slope : this.preconditioner.rest * (slope - strong)) / 2;
    if (this.decrease === 0 && !this.activeRows && gap + this.roughness <= 0.7 * this.target) {
      this.state = "check";
      return;
    }
    if (!(slope > 0)) return this.endStep();
    const follow = this.slope > 0 ? Math.max(0, (-this.stride * change) / this.slope) : 0;
    this.slope = slope;
    let bent = 0;
    let along = 0;
    for (let i = 0; i < count; i++) {
      const p = vector[at + i]! + follow * conjugate[i]!;
      const s = scores[at + i]! + bias + follow * conjugateScores[i]!;
      conjugate[i] = p;
      conjugateScores[i] = s;
      bent += (p + curvatures[i]! * s) * s;
      along += residual[i]! * s;
    }
    if (!(bent > 0 && along > 0)) return this.endStep();
    const stride = along / bent;
    for (let i = 0; i < count; i++) {
      const p = conjugate[i]!;
      const s = conjugateScores[i]!;
      direction[i]! += stride * p;
      directionScores[i]! += stride * s;
      residual[i]! -= stride * (p + curvatures[i]! * s);
    }
    this.stride = stride;
    const gained = (stride * along) / 2;
    this.decrease += gained;
    let enough = Math.max(0.3 * this.target, 0.1 * this.roughness);
    if (this.activeRows) {
      gap = this.gapOfResidual();
      enough = Math.max(enough, activeForcing * this.decrease);
    }
    this.inner++;
    this.products++;
    if (this.inner * gained <= (this.alone ? forcing.alone : forcing.preconditioned) * this.decrease || gap <= enough) {
      this.solved = gap <= enough;
      this.endStep();
    }
  }

  /**
   * The weights' coefficients and the dual variables that they are judged by, in the precision of the products, and
   * where it is known to be small, a bound on the squared distance between the weights that either stands for.
   */
  candidate(): Candidate {
    const { activeRows, coefficients, sides, cost, steps } = this;
    const own = { cost, steps, coefficients: this.exact ? coefficients.slice() : new Float32Array(coefficients) };
    if (this.exact || !activeRows) {
      const duals = this.duals();
      for (let i = 0; i < duals.length; i++) duals[i]! *= sides[i]!;
      return { ...own, duals: this.exact ? duals : new Float32Array(duals) };
    }
    const duals = new Float32Array(coefficients.length);
    for (let i = 0; i < duals.length; i++) duals[i] = this.allowed(i, coefficients[i]!);
    return { ...own, duals, squaredDistance: activeRows.longest * this.distanceToAllowed() ** 2 };
  }

  /** Whether the candidate is the first at its cost, of a loss proper: hardly any of these is not good enough. */
  get promising(): boolean {
    return this.checks === 0 && !this.exact && !this.losses.sharpen;
  }

  /**
   * What a candidate of this cost or one before comes to: the gap between its objective and that of the dual variables
   * is the sum of the rows' gaps and half the squared distance of the weights that either stands for.
   */
  judgement(options: {
    candidate: Candidate;
    /** Of the candidate's weights, with the bias. */
    scores: Float64Array;
    /** Of the candidate's weights and bias. */
    squaredNorm: number;
    /** From there to the weights and the bias of the dual variables. */
    squaredDistance: number;
  }): Judgement {
    const { candidate, scores, squaredNorm, squaredDistance } = options;
    const { sides, judged } = this;
    this.setCosts(judged, candidate.cost);
    let loss = 0;
    let gap = squaredDistance / 2;
    for (let i = 0; i < sides.length; i++) {
      const side = sides[i]!;
      if (side === 0) continue;
      loss += judged.properValue(i, side * scores[i]!);
      gap += judged.properGap(i, side * scores[i]!, side * candidate.duals[i]!);
    }
    const objective = squaredNorm / 2 + loss;
    const share = objective > 0 ? gap / objective : 0;
    return { scores, objective, gap: share, converged: share <= this.tolerance };
  }

  /** Goes on from a candidate, unless it has converged or would never. */
  judge({ coefficients }: Candidate, { scores, converged }: Judgement): void {
    this.coefficients.set(coefficients);
    this.scores.set(scores);
    this.checks++;
    if (converged || (this.exact && this.checks > 6) || this.steps >= maximalSteps) {
      this.state = "done";
      return;
    }
    if (this.checks === 2 && !this.exact) {
      this.exact = true;
      this.checks = 0;
    }
    this.beginStep(true);
  }

  /** Whether the next product is the first of a Newton system. */
  get begins(): boolean {
    return this.inner === 0;
  }

  private duals(): Float64Array {
    const { sides, losses, scores } = this;
    const duals = new Float64Array(scores.length);
    for (let i = 0; i < duals.length; i++) duals[i] = losses.dual(i, sides[i]! * scores[i]!);
    return duals;
  }

  /** The coefficient nearest to `beta` that is a dual variable times its row's side. */
  private allowed(row: number, beta: number): number {
    const side = this.sides[row]!;
    return side * this.losses.allowed(row, side * beta);
  }

  /**
   * The gap by the coefficients themselves as dual variables. It is that of the margins' dual variables less what the
   * curvatures blow up, and needs no product.
   */
  private gapOfCoefficients(longest: number): number {
    const { sides, losses, coefficients, scores } = this;
    let gap = (longest * this.distanceToAllowed() ** 2) / 2;
    for (let i = 0; i < sides.length; i++) {
      const side = sides[i]!;
      if (side !== 0) gap += losses.gap(i, side * scores[i]!, side * this.allowed(i, coefficients[i]!));
    }
    return gap;
  }

  /** Sum of what separates the coefficients from those that are dual variables. */
  private distanceToAllowed(): number {
    const { coefficients } = this;
    let sum = 0;
    for (let i = 0; i < coefficients.length; i++) sum += Math.abs(coefficients[i]! - this.allowed(i, coefficients[i]!));
    return sum;
  }

  /** The same gap of Newton's model, in which the active rows stay so. */
  private gapOfResidual(): number {
    const { residual, curvatures } = this;
    let gap = 0;
    for (let i = 0; i < residual.length; i++) if (curvatures[i]! > 0) gap += residual[i]! ** 2 / (2 * curvatures[i]!);
    return gap;
  }

  /** Newton's system at the point reached; where it is good enough to be judged, and was not just now, a check. */
  private beginStep(judged = false): void {
    const { sides, losses, coefficients, scores, residual, curvatures } = this;
    let squaredNorm = 0;
    let loss = 0;
    let roughness = 0;
    let active = 0;
    for (let i = 0; i < sides.length; i++) {
      const side = sides[i]!;
      const beta = coefficients[i]!;
      squaredNorm += beta * scores[i]!;
      if (side === 0) {
        residual[i] = -beta;
        continue;
      }
      const margin = side * scores[i]!;
      const dual = losses.dual(i, margin);
      const curvature = losses.curvature(i, margin);
      if (curvature > 0) active++;
      curvatures[i] = curvature;
      residual[i] = side * dual - beta;
      loss += losses.properValue(i, margin);
      roughness += losses.properGap(i, margin, dual);
    }
    // A gap of tolerance · ½‖w‖² means weights within √tolerance of their length.
    this.target = this.tolerance * Math.min(squaredNorm / 2 + loss, squaredNorm > 0 ? squaredNorm / 2 : Infinity);
    this.roughness = roughness;
    this.activeCount = active;
    this.direction.fill(0);
    this.directionScores.fill(0);
    this.conjugate.fill(0);
    this.conjugateScores.fill(0);
    this.slope = 0;
    this.decrease = 0;
    this.inner = 0;
    this.solved = false;
    const { activeRows } = this;
    const good = activeRows && !judged && this.gapOfCoefficients(activeRows.longest) <= 0.7 * this.target;
    this.state = good ? "check" : "step";
  }

  private endStep(): void {
    this.steps++;
    const { solved } = this;
    const moved = this.decrease > 0 && this.moveAlong();
    if (!moved && this.steps < maximalSteps && !this.alone) {
      this.alone = true;
      this.overAllRows();
      this.exact = true;
      this.state = "check";
      return;
    }
    if (!moved || this.steps >= maximalSteps) {
      this.state = "check";
      return;
    }
    if (solved && this.losses.sharpen && this.roughness > 0.5 * this.target) {
      this.losses.sharpen(this.duals());
    }
    this.beginStep();
  }

  /** To the minimum along the direction, by Newton's method between bounds. */
  private moveAlong(): boolean {
    const { sides, losses, coefficients, scores, direction, directionScores } = this;
    const count = sides.length;
    let straight = 0;
    let bent = 0;
    for (let i = 0; i < count; i++) {
      straight += coefficients[i]! * directionScores[i]!;
      bent += direction[i]! * directionScores[i]!;
    }
    let t = 0;
    let low = 0;
    let high = Infinity;
    let first = 0;
    for (let trial = 0; trial < 30; trial++) {
      let slope = straight + t * bent;
      let curvature = bent;
      for (let i = 0; i < count; i++) {
        const side = sides[i]!;
        if (side === 0) continue;
        const along = side * directionScores[i]!;
        const margin = side * scores[i]! + t * along;
        slope -= along * losses.dual(i, margin);
        curvature += along * along * losses.curvature(i, margin);
      }
      if (trial === 0) {
        first = slope;
        if (!(slope < 0)) return false;
      } else if (Math.abs(slope) <= 1e-3 * -first) break;
      if (slope < 0) low = t;
      else high = t;
      let next = t - slope / curvature;
      if (!(next > low && next < high)) next = high === Infinity ? 2 * t + 1 : (low + high) / 2;
      t = next;
    }
    for (let i = 0; i < count; i++) {
      coefficients[i]! += t * direction[i]!;
      scores[i]! += t * directionScores[i]!;
    }
    return true;
  }
}
