import { readFileSync } from "node:fs";
import path from "node:path";

import type { TrialLine } from "../../lib/results/trial-line.js";

/** What a run's `trials.jsonl` holds. */
export function readTrials(out: string): TrialLine[] {
  const lines = readFileSync(path.join(out, "trials.jsonl"), "utf8").trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as TrialLine);
}
