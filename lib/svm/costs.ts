import { expected, UserError } from "../errors.js";
import { pythonFloat } from "../python-float.js";

export interface CostOptions {
  /** Above 0, each once. */
  costs: number[];
  /** Above 0; its powers come behind the list. */
  costBase?: number;
  /** [start, end]: whole numbers, powers from start to end − 1. */
  costPowers?: readonly number[];
}

/**
 * The costs that SVMs are trained with, in the order in which the first of equally good ones is chosen: a list, and
 * behind it base^n for n from start to end − 1 (VISSL's `costs_list`, `base` and `power_range`).
 *
 * @throws UserError where there is none, one is not a positive number, or one comes twice.
 */
export function svmCosts({ costs, costBase: base, costPowers: powers = [] }: CostOptions): number[] {
  if (base !== undefined && !(base > 0)) throw expected("a number above 0", "--cost-base", base);
  const [start = 0, end = 0] = base === undefined ? [] : powers;
  if (base !== undefined && !(powers.length === 2 && powers.every(Number.isInteger) && start < end)) {
    throw expected("two rising whole numbers", "--cost-powers", powers);
  }
  const all = [...costs, ...Array.from({ length: end - start }, (_, i) => base! ** (start + i))];
  if (all.length === 0) throw expected("at least one", "the costs", all);
  const wrong = all.find((cost) => !(cost > 0 && Number.isFinite(cost)));
  if (wrong !== undefined) throw expected("numbers above 0", "the costs", wrong);
  const twice = all.find((cost, i) => all.indexOf(cost) < i);
  if (twice !== undefined) {
    const hint = base === undefined ? undefined : "The powers of the base come behind the list of costs.";
    throw new UserError(`Expected each cost once but received ${pythonFloat(twice)} twice`, { hint });
  }
  return all;
}
