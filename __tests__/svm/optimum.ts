import { cholesky, solve } from "../../lib/matrices/cholesky.js";
import type { SvmObjective, SvmRows } from "../../lib/svm/problem.js";

export interface PosedProblem {
  rows: SvmRows;
  sides: Int8Array;
  objective: SvmObjective;
  cost: number;
}

/** The optimum by plain Newton steps on w and b in double precision, for few features and smooth losses. */
export function optimumOf(problem: PosedProblem): { value: number; weights: Float64Array; bias: number } {
  const { width } = problem.rows;
  let point = new Float64Array(width + 1);
  let { value, gradient, hessian } = derivatives(problem, point);
  for (let step = 0; step < 200; step++) {
    const direction = gradient.map((g) => -g);
    solve(cholesky(hessian, width + 1), direction);
    const slope = direction.reduce((sum, d, j) => sum + d * gradient[j]!, 0);
    if (-slope < 1e-13 * value) break;
    for (let stride = 1; stride > 1e-6; stride /= 2) {
      const next = point.map((p, j) => p + stride * direction[j]!);
      const there = derivatives(problem, next);
      if (there.value > value + 1e-4 * stride * slope) continue;
      point = next;
      ({ value, gradient, hessian } = there);
      break;
    }
  }
  return { value, weights: point.slice(0, width), bias: point[width]! };
}

/** Of w and b, straight from the definition. */
export function valueAt(problem: PosedProblem, weights: ArrayLike<number>, bias: number): number {
  return derivatives(problem, Float64Array.from([...Array.from(weights), bias])).value;
}

function derivatives(problem: PosedProblem, point: Float64Array) {
  const { rows, sides, objective, cost } = problem;
  const size = rows.width + 1;
  const gradient = point.slice();
  const hessian = new Float64Array(size * size);
  for (let j = 0; j < size; j++) hessian[j * size + j] = 1;
  let value = point.reduce((sum, p) => sum + p * p, 0) / 2;
  const all = rows.blocks.flatMap((block) => [...block]);
  for (let i = 0; i < rows.count; i++) {
    if (sides[i] === 0) continue;
    const x = [...all.slice(i * rows.width, (i + 1) * rows.width), 1];
    const margin = sides[i]! * x.reduce((sum, feature, j) => sum + feature * point[j]!, 0);
    const c = cost * (sides[i] === 1 ? objective.positiveWeight : 1);
    const short = Math.max(0, 1 - margin);
    const p = 1 / (1 + Math.exp(margin));
    const [loss, slope, curvature] =
      objective.loss === "squared_hinge"
        ? [short * short, -2 * short, short > 0 ? 2 : 0]
        : [margin < -30 ? -margin : Math.log1p(Math.exp(-margin)), -p, p * (1 - p)];
    value += c * loss;
    for (let j = 0; j < size; j++) {
      gradient[j]! += c * slope * sides[i]! * x[j]!;
      for (let k = 0; k < size; k++) hessian[j * size + k]! += c * curvature * x[j]! * x[k]!;
    }
  }
  return { value, gradient, hessian };
}
