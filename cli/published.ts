import { expected } from "../lib/errors.js";
import type { FeatureSet } from "../lib/features/feature-set.js";
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

/** A published protocol is of data with one label an image or with several; the other kind would be another protocol. */
export function checkLabels({ splits }: FeatureSet, { protocol }: CommandContext): void {
  if (protocol?.labels === undefined) return;
  const { kind } = (splits.train ?? splits.all)!.targets;
  const received = kind === "multi" ? "several" : "one";
  if (received === protocol.labels) return;
  const words = { one: "one label", several: "several labels" };
  throw expected(`data with ${words[protocol.labels]} an image`, `the protocol ${protocol.id}`, words[received]);
}
