import type { SvmObjective, SvmRows } from "../../lib/svm/problem.js";

/** Of weights and bias, in double precision, straight from the definition. */
export function objectiveOf(options: {
  rows: SvmRows;
  sides: Int8Array;
  objective: SvmObjective;
  cost: number;
  weights: ArrayLike<number>;
  bias: number;
}): { value: number; scores: Float64Array; gap: number } {
  const { rows, sides, objective, cost, weights, bias } = options;
  const { width } = rows;
  const features = Float64Array.from(rows.blocks.flatMap((block) => [...block]));
  const scores = new Float64Array(rows.count);
  // The dual variables that the margins give, and the weights and bias that they stand for.
  const dualWeights = new Float64Array(width + 1);
  let value = bias * bias;
  for (let j = 0; j < width; j++) value += weights[j]! ** 2;
  value /= 2;
  let gap = 0;
  for (let i = 0; i < rows.count; i++) {
    let score = bias;
    for (let j = 0; j < width; j++) score += weights[j]! * features[i * width + j]!;
    scores[i] = score;
    if (sides[i] === 0) continue;
    const margin = sides[i]! * score;
    const c = cost * (sides[i] === 1 ? objective.positiveWeight : 1);
    let dual: number;
    if (objective.loss === "squared_hinge") {
      value += c * Math.max(0, 1 - margin) ** 2;
      dual = 2 * c * Math.max(0, 1 - margin);
    } else if (objective.loss === "logistic") {
      value += c * Math.log1p(Math.exp(-margin));
      dual = c / (1 + Math.exp(margin));
    } else throw new Error("The hinge's dual variables do not follow from the margins");
    for (let j = 0; j < width; j++) dualWeights[j]! += dual * sides[i]! * features[i * width + j]!;
    dualWeights[width]! += dual * sides[i]!;
  }
  for (let j = 0; j < width; j++) gap += (weights[j]! - dualWeights[j]!) ** 2 / 2;
  gap += (bias - dualWeights[width]!) ** 2 / 2;
  return { value, scores, gap: gap / value };
}
