import { readSafetensors, writeSafetensors } from "../checkpoints/safetensors.js";
import { exists } from "../files.js";
import type { BankState, HeadBank } from "../heads/bank.js";
import type { TrainingPosition } from "./passes.js";
import type { EpochReport } from "./trainer.js";

/** What a saved training tells besides the bank. */
export interface SavedTraining {
  position: TrainingPosition;
  /** Of every whole epoch. */
  reports: EpochReport[];
}

/**
 * Saves what training goes on from, whole or not at all.
 *
 * @param options.key digest of all that the training depends on; a state is taken up only under the same.
 */
export async function saveTraining(
  options: SavedTraining & { file: string; key: string; bank: HeadBank },
): Promise<void> {
  const { file, key, position, reports, bank } = options;
  const { arrays, ...rest } = await bank.state();
  await writeSafetensors(file, { arrays, metadata: { key, saved: JSON.stringify({ position, reports, rest }) } });
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
  const { rest, ...saved } = JSON.parse(metadata.saved!) as SavedTraining & { rest: Omit<BankState, "arrays"> };
  bank.restore({ ...rest, arrays });
  return { ...saved, reports: saved.reports.map(withoutNulls) };
}

/** JSON has no NaN: the loss of what diverged came out as null. */
function withoutNulls(report: EpochReport): EpochReport {
  return {
    ...report,
    losses: report.losses.map((ofSeed) => ofSeed.map((ofHead) => ofHead.map((loss) => loss ?? NaN))),
  };
}
