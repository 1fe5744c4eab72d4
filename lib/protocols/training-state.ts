import fs from "node:fs/promises";

import { readSafetensors, writeSafetensors } from "../checkpoints/safetensors.js";
import { exists } from "../files.js";
import type { BankState } from "../heads/bank.js";
import type { SeededBank } from "./training.js";

/**
 * Saves what training goes on from, whole or not at all.
 *
 * @param key digest of all that the training depends on; a state is taken up only under the same.
 */
export async function saveTraining(options: {
  file: string;
  key: string;
  epoch: number;
  banks: SeededBank[];
}): Promise<void> {
  const { file, key, epoch, banks } = options;
  const states = await Promise.all(banks.map(({ bank }) => bank.state()));
  const arrays = Object.fromEntries(
    states.flatMap((state, s) => Object.entries(state.arrays).map(([name, array]) => [`seed${s}.${name}`, array])),
  );
  const rest = states.map(({ factor, diverged }) => ({ factor, diverged }));
  await writeSafetensors(file, { arrays, metadata: { key, epoch: String(epoch), states: JSON.stringify(rest) } });
}

/**
 * Takes up a saved training, where there is one of this key.
 *
 * @returns the number of epochs that are done; 0 where there is nothing to take up.
 */
export async function resumeTraining(options: { file: string; key: string; banks: SeededBank[] }): Promise<number> {
  const { file, key, banks } = options;
  if (!(await exists(file))) return 0;
  const { arrays, metadata } = await readSafetensors(file);
  if (metadata.key !== key) return 0;
  const rest = JSON.parse(metadata.states!) as Omit<BankState, "arrays">[];
  for (const [s, { bank }] of banks.entries()) {
    const prefix = `seed${s}.`;
    const own = Object.entries(arrays).filter(([name]) => name.startsWith(prefix));
    bank.restore({
      ...rest[s]!,
      arrays: Object.fromEntries(own.map(([name, array]) => [name.slice(prefix.length), array])),
    });
  }
  return Number(metadata.epoch);
}

export async function forgetTraining(file: string): Promise<void> {
  await fs.rm(file, { force: true });
}
