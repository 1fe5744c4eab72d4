import { compareSettings } from "../lib/settings/compare.js";
import { command } from "./command.js";

export const compare = command(compareSettings, async ({ runs, out, seed }, { progress }) => {
  const { compareRuns } = await import("../lib/results/compare.js");
  const { formatComparison } = await import("../lib/results/comparison-table.js");
  const comparison = await compareRuns({ runs, seed, progress });
  const table = formatComparison(comparison, { kind: "text", color: process.stdout.isTTY });
  if (out === undefined) return { text: table, json: comparison };
  const { writeComparison } = await import("../lib/results/comparison-files.js");
  await writeComparison({ out, comparison });
  return {
    text: `${table}\nIn ${out}: compare.json, compare.md, compare.svg, compare.png\n`,
    json: comparison,
  };
});
