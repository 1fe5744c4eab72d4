import type { Numbers } from "../../search/range.js";
import type { SearchTrial } from "../../search/space.js";
import { trialsOf } from "../../search/space.js";
import type { LinearProtocol } from "./linear.js";

/** What of a protocol says which settings are tried. */
type SweptSettings = Pick<
  LinearProtocol,
  "optimizer" | "schedule" | "batchSize" | "headWidth" | "search" | "trials" | "searchSeed"
>;

/**
 * What every head is tried with, and a sentence where combinations were the same.
 *
 * @throws UserError where a dimension of the sweep is empty or out of its bounds.
 */
export function linearTrials(settings: SweptSettings): { trials: SearchTrial[]; notes: string[] } {
  const { optimizer, search = "grid", trials: count, searchSeed = 0, batchSize, schedule, headWidth } = settings;
  const { kind = ["sgd"], lr, weightDecay, momentum, nesterov } = optimizer;
  const listed = (numbers: Numbers | number): Numbers => (typeof numbers === "number" ? [numbers] : numbers);
  const space = {
    optimizer: kind,
    lr,
    weightDecay,
    momentum: momentum === undefined ? undefined : listed(momentum),
    nesterov,
    schedule: [schedule].flat(),
    batchSize: listed(batchSize),
    headWidth,
  };
  const drawn = search === "random" || (search === "halving" && count !== undefined);
  return trialsOf({ space, search: drawn ? "random" : "grid", count, seed: searchSeed });
}

/** The learning rate that a trial is trained with: its own is meant for `lrBatch` images a step, where that is given. */
export function scaledRate({ optimizer }: Pick<SweptSettings, "optimizer">, { lr, batchSize }: SearchTrial): number {
  const { lrBatch } = optimizer;
  return lrBatch === undefined || batchSize === undefined ? lr : lr * (batchSize / lrBatch);
}
