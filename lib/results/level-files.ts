import path from "node:path";

import { writeFileAtomic } from "../files.js";
import { formatLevels, type LevelResult, levelsCsv } from "./levels.js";
import { levelsFigure, shotsFigure } from "./levels-figure.js";

/** Writes the grid's table (CSV, Markdown) and figures (SVG, PNG). */
export async function writeLevels({ out, results }: { out: string; results: LevelResult[] }): Promise<void> {
  const inFolder = (name: string) => path.join(out, name);
  await writeFileAtomic(inFolder("levels.csv"), levelsCsv(results));
  await writeFileAtomic(inFolder("levels.md"), formatLevels(results, { kind: "markdown" }));
  const figures = { levels: await levelsFigure(results), shots: await shotsFigure(results) };
  for (const [name, figure] of Object.entries(figures)) {
    if (!figure) continue;
    await writeFileAtomic(inFolder(`${name}.svg`), figure.svg);
    await writeFileAtomic(inFolder(`${name}.png`), figure.png);
  }
}
