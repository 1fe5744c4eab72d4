import { classGrid, hasClasses } from "./class-table.js";
import { type Cell, type Grid, gridLines, type TableKind } from "./grid.js";
import { lowShotGrid, lowShotResults, samplesText } from "./low-shot-table.js";
import type { LayerResult, ResultRecord } from "./record.js";
import {
  baselineOf,
  bestOf,
  capitalised,
  decimalsOf,
  headsOf,
  headTitle,
  mainMetric,
  mainValue,
  metricTitle,
  layersOf,
  percent,
  seedsText,
  selectionText,
  settingText,
  splitsText,
  spreadText,
  titleOf,
} from "./wording.js";

export type { TableKind };

export interface TableOptions {
  kind: TableKind;
  /** Whether the best result is shown in bold on a terminal (ANSI); only for `text`. */
  color?: boolean;
}

/**
 * Layers × heads: top-1 and top-5 (or mean AP) in percent with their spread over seeds, and the setting that was
 * chosen. The best top-1 is marked. A line beneath tells what was chosen and reported on which images; more lines
 * follow where there is something to know of single results. Where each class was solved by itself, a second table
 * tells of classes × layers; of small training sets the table has a line a layer and size.
 */
export function formatTable(record: ResultRecord, { kind, color = false }: TableOptions): string {
  const grid = lowShotResults(record).length > 0 ? lowShotGrid(record) : gridOf(record);
  const lines = gridLines(grid, { kind, color });
  const title = kind === "markdown" ? `**${titleOf(record)}**` : titleOf(record);
  const remarks = remarksOf(record);
  const byClass = hasClasses(record) ? [...gridLines(classGrid(record), { kind, color }), ""] : [];
  return [
    title,
    "",
    ...lines,
    "",
    ...byClass,
    footnote(record),
    "",
    ...(remarks.length > 0 ? [...remarks, ""] : []),
  ].join("\n");
}

function gridOf(record: ResultRecord): Grid {
  const best = bestOf(record);
  const decimals = decimalsOf(record);
  const heads = headsOf(record);
  const second = (["top5", "meanAp11"] as const).filter((metric) =>
    record.results.some(({ metrics }) => metrics[metric] !== undefined),
  );
  // Chosen class by class: told there.
  const withChosen = !hasClasses(record);
  const cells = (result: LayerResult | undefined): Cell[] => [
    { text: result === undefined ? "" : spreadText(mainValue(result), decimals), best: result === best },
    ...second.map((metric) => {
      const value = result?.metrics[metric];
      return { text: value === undefined ? "" : spreadText(value, decimals) };
    }),
    ...(withChosen ? [{ text: result === undefined ? "" : settingText(result.chosen) }] : []),
  ];
  return {
    columns: [
      { name: "layer", group: "", align: "left" },
      { name: "width", group: "", align: "right" },
      ...heads.flatMap((head): Grid["columns"] => [
        { name: `${metricTitle(mainMetric(record))} %`, group: headTitle(head), align: "right" },
        ...second.map((metric) => ({
          name: `${metricTitle(metric)} %`,
          group: headTitle(head),
          align: "right" as const,
        })),
        ...(withChosen ? [{ name: "chosen", group: headTitle(head), align: "left" as const }] : []),
      ]),
    ],
    rows: layersOf(record).map((layer) => {
      const ofLayer = record.results.filter((result) => result.layer === layer);
      return [
        { text: layer },
        { text: String(ofLayer[0]!.width) },
        ...heads.flatMap((head) => cells(ofLayer.find((result) => result.head === head))),
      ];
    }),
  };
}

function footnote(record: ResultRecord): string {
  const { classes } = record.data;
  const baseline = baselineOf(record);
  const { skipped } = record.badImages;
  const parts = [
    capitalised(selectionText(record)),
    `${lowShotResults(record).length > 0 ? samplesText(record) : seedsText(record)}${record.seeds.length > 1 ? " (± population standard deviation)" : ""}`,
    splitsText(record),
    `${classes.count.toLocaleString("en-US")} classes` +
      (baseline ? `, ${baseline.name} ${percent(baseline.share, 1)} %` : ""),
    ...(skipped > 0
      ? [`${skipped.toLocaleString("en-US")} unreadable ${skipped > 1 ? "images" : "image"} skipped`]
      : []),
  ];
  return `${parts.join("; ")}.`;
}

/** What readers should know of single results, equal sentences once: `- Training had not come to rest: block4 FC`. */
function remarksOf({ results }: ResultRecord): string[] {
  const places = new Map<string, string[]>();
  for (const { layer, head, converged, classes, notes } of results) {
    // Where each class was solved by itself a note tells how many were not.
    const restless = !converged && classes === undefined;
    for (const remark of [...(restless ? ["training had not come to rest"] : []), ...notes]) {
      places.set(remark, [...(places.get(remark) ?? []), `${layer} ${headTitle(head)}`]);
    }
  }
  return [...places].map(([remark, where]) => `- ${capitalised(remark.replace(/\.$/, ""))}: ${where.join(", ")}`);
}
