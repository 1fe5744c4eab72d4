import type { CommandContext } from "./command.js";

/** What became of each key of VISSL's file. */
export function tellTranslation({ protocol, progress }: CommandContext): void {
  if (!protocol?.used) return;
  const { used, changesNothing = {}, differs = [], meantFor } = protocol;
  const inert = Object.entries(changesNothing).map(([key, why]) => `${key} (${why})`);
  progress.note(`Used of VISSL's keys: ${used.join(", ")}`);
  progress.note(`Changing nothing here: ${inert.join(", ")}`);
  progress.note("Refused: none");
  for (const sentence of differs) progress.note(`Other than in VISSL: ${sentence}`);
  if (meantFor !== undefined) progress.note(`Batch size, epochs and rates are kept as meant for ${meantFor}`);
}
