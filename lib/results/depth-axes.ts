import { figureConfig } from "./draw.js";
import type { DepthLayout } from "./figure-layout.js";
import type { ResultRecord } from "./record.js";
import { metricTitle, seedsText, splitsText } from "./wording.js";

// What figures of accuracy by depth share, be it of one run or of several, in the words of Vega-Lite.

export const depthFrame = {
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  background: "white",
  autosize: { type: "none" as const },
  config: figureConfig,
};

/** The title, and below it where the numbers come from. */
export function depthTitle(options: {
  text: string;
  layout: DepthLayout;
  told: Pick<ResultRecord, "protocol" | "seeds" | "selection"> & Parameters<typeof splitsText>[0];
  metric: string;
  /** Told beside protocol and seeds; may be empty. */
  more: string;
}) {
  const { text, layout, told, metric, more } = options;
  const { protocol, seeds, selection } = told;
  const band = seeds.length > 1 ? " (band: ± 1 std)" : "";
  return {
    text,
    subtitle: [
      [`${protocol.id} v${protocol.version}`, `${seedsText(told)}${band}`, more]
        .filter((part) => part !== "")
        .join(" · "),
      `${splitsText(told)}; ${metricTitle(metric)} on ${selection.reportedOn}`,
      ...(selection.selectedOnReported ? ["TOO GOOD: settings were chosen on the images reported here"] : []),
    ],
    fontSize: layout.titleSize,
    anchor: "start" as const,
    frame: "group" as const,
    dx: -layout.axisWidth,
    offset: layout.titleOffset,
  };
}

/** Layers in the order of the network, from left to right. */
export function layerAxis(layers: string[], layout: DepthLayout) {
  return {
    field: "layer",
    type: "ordinal" as const,
    sort: null,
    scale: { domain: layers, type: "point" as const, padding: 0.5 },
    axis: { title: null, labelAngle: layout.labelAngle, labelFontSize: layout.labelSize, labelPadding: 8 },
  };
}

export const accuracy = { field: "accuracy", type: "quantitative" as const };

export function accuracyAxis(metric: string, layout: DepthLayout) {
  return {
    ...accuracy,
    scale: { domain: layout.domain, nice: false, zero: false },
    axis: { title: metric === "top1" ? "top-1 accuracy (%)" : `${metricTitle(metric)} (%)`, tickCount: 6 },
  };
}

/** Ends of the band around a value, in percent. */
export function bandOf({ mean, std }: { mean: number; std: number }): { low: number; high: number } {
  return { low: Math.max(0, 100 * (mean - std)), high: Math.min(100, 100 * (mean + std)) };
}

/** The spread over seeds; nothing where there is one. */
export function bandLayer(seeds: readonly number[], opacity: number) {
  if (seeds.length < 2) return [];
  return [
    { mark: { type: "area" as const, opacity }, encoding: { y: { ...accuracy, field: "low" }, y2: { field: "high" } } },
  ];
}

export const line = { type: "line" as const, strokeWidth: 2.25, strokeJoin: "round" as const };
