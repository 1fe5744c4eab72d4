import type { Numbers } from "../../search/range.js";
import type { SearchSpace, SearchTrial } from "../../search/space.js";
import { studySpaceOf, trialsOf } from "../../search/space.js";
import type { LinearProtocol } from "./linear.js";

/** What of a protocol says which settings are tried. */
type SweptSettings = Pick<
  LinearProtocol,
  "optimizer" | "schedule" | "batchSize" | "headWidth" | "search" | "trials" | "searchSeed"
>;

/**
 * What every head is tried with, and a sentence where combinations were the same. Of a search that learns from its
 * trials they are those that chance alone would draw: as many, and like them.
 *
 * @throws UserError where a dimension of the sweep is empty or out of its bounds.
 */
export function linearTrials(settings: SweptSettings): { trials: SearchTrial[]; notes: string[] } {
  const { search = "grid", trials: count, searchSeed = 0 } = settings;
  const space = spaceOf(settings);
  if (search === "tpe") studySpaceOf(space);
  const drawn = search === "random" || search === "tpe" || (search === "halving" && count !== undefined);
  return trialsOf({ space, search: drawn ? "random" : "grid", count, seed: searchSeed });
}

/** What a search by TPE goes over ({@link studySpaceOf}). */
export function linearStudySpace(settings: SweptSettings): ReturnType<typeof studySpaceOf> {
  return studySpaceOf(spaceOf(settings));
}

function spaceOf({ optimizer, batchSize, schedule, headWidth }: SweptSettings): SearchSpace {
  const { kind = ["sgd"], lr, weightDecay, momentum, nesterov } = optimizer;
  const listed = (numbers: Numbers | number): Numbers => (typeof numbers === "number" ? [numbers] : numbers);
  return {
    optimizer: kind,
    lr,
    weightDecay,
    momentum: momentum === undefined ? undefined : listed(momentum),
    nesterov,
    schedule: [schedule].flat(),
    batchSize: listed(batchSize),
    headWidth,
  };
}

/** The learning rate that a trial is trained with: its own is meant for `lrBatch` images a step, where that is given. */
export function scaledRate({ optimizer }: Pick<SweptSettings, "optimizer">, { lr, batchSize }: SearchTrial): number {
  const { lrBatch } = optimizer;
  return lrBatch === undefined || batchSize === undefined ? lr : lr * (batchSize / lrBatch);
}
