import { csvLine } from "../csv.js";
import { type Grid, gridLines, type TableKind } from "./grid.js";
import type { Setting, Spread } from "./record.js";
import { headTitle, spreadText } from "./wording.js";

/** How well a model's features tell the classes of a level apart, from so many images of each. */
export interface LevelResult {
  model: string;
  /** `in1k`, `l1` … */
  level: string;
  /** Images of each class; null for all. */
  shots: number | null;
  seeds: number[];
  /** What was trained, as the record names it, without its number of shots. */
  head: string;
  /** Fractions over the seeds. */
  top1: Spread;
  /** Of more than five classes. */
  top5?: Spread;
  /** Of each seed. */
  chosen: Setting[];
}

/** Each once, in the order in which results name them first. */
export function distinct<K extends "model" | "level" | "shots">(results: LevelResult[], name: K): LevelResult[K][] {
  return [...new Set(results.map((result) => result[name]))];
}

/** Models × levels: top-1 in percent with its spread over seeds; the best model of each level is marked. */
export function formatLevels(results: LevelResult[], { kind }: { kind: TableKind }): string {
  const levels = distinct(results, "level");
  const tables = distinct(results, "shots").flatMap((shots) => {
    const own = results.filter((result) => result.shots === shots);
    const title = shots === null ? "All images" : `${shots} of each class`;
    return [kind === "markdown" ? `**${title}**` : title, "", ...gridLines(levelGrid(own, levels), { kind }), ""];
  });
  const counts = [...new Set(results.map(({ seeds }) => seeds.length))];
  const told = counts.length === 1 ? `${counts[0]} seeds` : `${Math.min(...counts)} to ${Math.max(...counts)} seeds`;
  const heads = [...new Set(results.map(({ head }) => headTitle(head)))].join(" and ");
  return [...tables, `Top-1 in percent of ${heads}: mean ± population standard deviation over ${told}.`, ""].join("\n");
}

function levelGrid(results: LevelResult[], levels: string[]): Grid {
  const at = (model: string, level: string) =>
    results.find((result) => result.model === model && result.level === level)?.top1;
  const best = new Map(
    levels.map((level) => [
      level,
      Math.max(...results.filter((one) => one.level === level).map(({ top1 }) => top1.mean)),
    ]),
  );
  return {
    columns: [
      { name: "model", group: "", align: "left" },
      ...levels.map((name) => ({ name, group: "", align: "right" as const })),
    ],
    rows: distinct(results, "model").map((model) => [
      { text: model },
      ...levels.map((level) => {
        const top1 = at(model, level);
        return { text: top1 ? spreadText(top1, 1) : "", best: top1 !== undefined && top1.mean === best.get(level) };
      }),
    ]),
  };
}

/** For programs, as CSV: a line a model, level, number of shots and seed, fractions in full. */
export function levelsCsv(results: LevelResult[]): string {
  const names = [...new Set(results.flatMap(({ chosen }) => chosen.flatMap((setting) => Object.keys(setting))))];
  const columns = names.map((name) => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  return [
    csvLine(["model", "level", "shots", "seed", "top1", "top5", ...columns]),
    ...results.flatMap(({ model, level, shots, seeds, top1, top5, chosen }) =>
      seeds.map((seed, s) => {
        const measured = [top1.values[s]!, top5?.values[s] ?? ""];
        const own = names.map((name) => String(chosen[s]![name] ?? ""));
        return csvLine([model, level, shots ?? "all", seed, ...measured, ...own]);
      }),
    ),
  ].join("");
}
