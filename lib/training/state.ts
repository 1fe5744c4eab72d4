import { readSafetensors, writeSafetensors } from "../checkpoints/safetensors.js";
import { exists } from "../files.js";
import type { BankState, HeadBank } from "../heads/bank.js";
import type { MinimiserState } from "../optim/lbfgs.js";
import type { TrainingPosition } from "./passes.js";
import { asPlainReport, fromPlainReport, type PlainReport } from "./plain-report.js";
import type { EpochReport } from "./trainer.js";

/** What a saved training tells besides the bank. */
export interface SavedTraining {
  position: TrainingPosition;
  /** Of every whole epoch. */
  reports: EpochReport[];
  /** Of L-BFGS: of the problems under way. */
  minimiser?: MinimiserState;
}

/** What is written beside the arrays. */
interface Saved {
  position: TrainingPosition;
  reports: PlainReport[];
  rest: Omit<BankState, "arrays">;
  problems?: Omit<MinimiserState, "arrays">;
}

/** Before the names of a minimiser's arrays, which stand among those of the bank. */
const prefix = "minimiser.";

/**
 * Saves what training goes on from, whole or not at all.
 *
 * @param options.key digest of all that the training depends on; a state is taken up only under the same.
 */
export async function saveTraining(
  options: SavedTraining & { file: string; key: string; bank: HeadBank },
): Promise<void> {
  const { file, key, position, reports, bank, minimiser } = options;
  const { arrays, ...rest } = await bank.state();
  const { arrays: ofProblems = {}, ...problems } = minimiser ?? {};
  for (const [name, array] of Object.entries(ofProblems)) arrays[prefix + name] = array;
  const saved: Saved = {
    position,
    reports: reports.map(asPlainReport),
    rest,
    ...(minimiser && { problems: problems as Saved["problems"] }),
  };
  await writeSafetensors(file, { arrays, metadata: { key, saved: JSON.stringify(saved) } });
}

/**
 * Takes up a saved training.
 *
 * @returns undefined where there is none of this key.
 * @throws UserError where the file is damaged.
 */
export async function resumeTraining(options: {
  file: string;
  key: string;
  bank: HeadBank;
}): Promise<SavedTraining | undefined> {
  const { file, key, bank } = options;
  if (!(await exists(file))) return undefined;
  const { arrays, metadata } = await readSafetensors(file);
  if (metadata.key !== key) return undefined;
  const { rest, position, reports, problems } = JSON.parse(metadata.saved!) as Saved;
  bank.restore({ ...rest, arrays });
  return {
    position,
    reports: reports.map(fromPlainReport),
    ...(problems && { minimiser: { ...problems, arrays: arraysOfProblems(arrays) } }),
  };
}

function arraysOfProblems(arrays: MinimiserState["arrays"]): MinimiserState["arrays"] {
  const own = Object.entries(arrays).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(own.map(([name, array]) => [name.slice(prefix.length), array]));
}
