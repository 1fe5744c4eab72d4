import { readSafetensors, writeSafetensors } from "../checkpoints/safetensors.js";
import { exists } from "../files.js";
import type { BankState } from "../heads/bank.js";
import type { SeededBank, TrainingPosition } from "./training.js";

/** What a saved training tells besides the banks. */
export interface SavedTraining {
  position: TrainingPosition;
  /** What the protocol wants to know again; plain JSON. */
  memory: unknown;
}

/**
 * Saves what training goes on from, whole or not at all.
 *
 * @param options.key digest of all that the training depends on; a state is taken up only under the same.
 */
export async function saveTraining(
  options: SavedTraining & { file: string; key: string; banks: SeededBank[] },
): Promise<void> {
  const { file, key, position, memory, banks } = options;
  const states: BankState[] = [];
  for (const { bank } of banks) states.push(await bank.state());
  const arrays = Object.fromEntries(
    states.flatMap((state, s) => Object.entries(state.arrays).map(([name, array]) => [`seed${s}.${name}`, array])),
  );
  const rest = states.map(({ factor, diverged }) => ({ factor, diverged }));
  await writeSafetensors(file, { arrays, metadata: { key, saved: JSON.stringify({ position, memory, rest }) } });
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
  banks: SeededBank[];
}): Promise<SavedTraining | undefined> {
  const { file, key, banks } = options;
  if (!(await exists(file))) return undefined;
  const { arrays, metadata } = await readSafetensors(file);
  if (metadata.key !== key) return undefined;
  const { rest, ...saved } = JSON.parse(metadata.saved!) as SavedTraining & { rest: Omit<BankState, "arrays">[] };
  for (const [s, { bank }] of banks.entries()) {
    const prefix = `seed${s}.`;
    const own = Object.entries(arrays).filter(([name]) => name.startsWith(prefix));
    const unprefixed = own.map(([name, array]) => [name.slice(prefix.length), array] as const);
    bank.restore({ ...rest[s]!, arrays: Object.fromEntries(unprefixed) });
  }
  return saved;
}
