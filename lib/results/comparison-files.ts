import path from "node:path";

import { writeFileAtomic, writeJson } from "../files.js";
import type { Comparison } from "./comparison.js";
import { comparisonFigure } from "./comparison-figure.js";
import { formatComparison } from "./comparison-table.js";

/**
 * Writes `compare.md`, `compare.svg`, `compare.png` and, last, `compare.json` into a folder; those of an earlier
 * comparison are replaced.
 *
 * @throws UserError where the folder cannot be written.
 */
export async function writeComparison({ out, comparison }: { out: string; comparison: Comparison }): Promise<void> {
  const { svg, png } = await comparisonFigure(comparison);
  await writeFileAtomic(path.join(out, "compare.md"), formatComparison(comparison, { kind: "markdown" }));
  await writeFileAtomic(path.join(out, "compare.svg"), svg);
  await writeFileAtomic(path.join(out, "compare.png"), png);
  await writeJson(path.join(out, "compare.json"), comparison);
}
