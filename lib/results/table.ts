import { type Cell, type Grid, gridLines, type TableKind } from "./grid.js";
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
 * Layers × heads: top-1 and top-5 (or mean AP) in percent with their spread over seeds, and the setting that was chosen. The best
 * top-1 is marked. A line beneath tells what was chosen and reported on which images; more lines follow where there is
 * something to know of single results.
 */
export function formatTable(record: ResultRecord, { kind, color = false }: TableOptions): string {
  const grid = gridOf(record);
  const lines = gridLines(grid, { kind, color });
  const title = kind === "markdown" ? `**${titleOf(record)}**` : titleOf(record);
  const remarks = remarksOf(record);
  return [title, "", ...lines, "", footnote(record), "", ...(remarks.length > 0 ? [...remarks, ""] : [])].join("\n");
}

function gridOf(record: ResultRecord): Grid {
  const best = bestOf(record);
  const decimals = decimalsOf(record);
  const heads = headsOf(record);
  const withTop5 = record.results.some(({ metrics }) => metrics.top5 !== undefined);
  const cells = (result: LayerResult | undefined): Cell[] => {
    const top5 = result?.metrics.top5;
    return [
      { text: result === undefined ? "" : spreadText(mainValue(result), decimals), best: result === best },
      ...(withTop5 ? [{ text: top5 === undefined ? "" : spreadText(top5, decimals) }] : []),
      { text: result === undefined ? "" : settingText(result.chosen) },
    ];
  };
  return {
    columns: [
      { name: "layer", group: "", align: "left" },
      { name: "width", group: "", align: "right" },
      ...heads.flatMap((head): Grid["columns"] => [
        { name: `${metricTitle(mainMetric(record))} %`, group: headTitle(head), align: "right" },
        ...(withTop5 ? [{ name: "top-5 %", group: headTitle(head), align: "right" as const }] : []),
        { name: "chosen", group: headTitle(head), align: "left" },
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
    `${seedsText(record)}${record.seeds.length > 1 ? " (± population standard deviation)" : ""}`,
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
  for (const { layer, head, converged, notes } of results) {
    for (const remark of [...(converged ? [] : ["training had not come to rest"]), ...notes]) {
      places.set(remark, [...(places.get(remark) ?? []), `${layer} ${headTitle(head)}`]);
    }
  }
  return [...places].map(([remark, where]) => `- ${capitalised(remark.replace(/\.$/, ""))}: ${where.join(", ")}`);
}
