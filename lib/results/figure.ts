import type { TopLevelSpec } from "vega-lite" with { "resolution-mode": "import" };

import { accuracy, accuracyAxis, bandLayer, bandOf, depthFrame, depthTitle, layerAxis, line } from "./depth-axes.js";
import { colours, draw, type Figure, ink, quiet, shapes } from "./draw.js";
import { depthLayout } from "./figure-layout.js";
import type { ResultRecord } from "./record.js";
import {
  baselineOf,
  bestOf,
  decimalsOf,
  headsOf,
  headTitle,
  layersOf,
  mainMetric,
  mainValue,
  percent,
  titleOf,
} from "./wording.js";

export type { Figure };

/**
 * Accuracy by depth: top-1 (or mean AP) of each layer in the order of the network, a line a head, with its spread over
 * seeds, the best point named, and what needs no features as a dashed line. The same bytes for the same record on every
 * machine: the font is ours.
 */
export async function depthFigure(record: ResultRecord): Promise<Figure> {
  return draw(depthSpec(record));
}

/** The figure in the words of Vega-Lite, with its data in it. */
function depthSpec(record: ResultRecord): TopLevelSpec {
  const layers = layersOf(record);
  const heads = headsOf(record).map(headTitle);
  const decimals = decimalsOf(record);
  const best = bestOf(record);
  const baseline = baselineOf(record) ?? { name: "nothing", share: 0 };
  const values = record.results.map((result) => ({
    layer: result.layer,
    head: headTitle(result.head),
    accuracy: 100 * mainValue(result).mean,
    ...bandOf(mainValue(result)),
  }));
  const layout = depthLayout({
    layers,
    values,
    baseline: 100 * baseline.share,
    title: titleOf(record),
    warned: record.selection.selectedOnReported,
  });
  const baselineText = baseline.share > 0 ? `${baseline.name} ${percent(baseline.share, 1)} %` : "";

  const x = { field: "layer", type: "ordinal" as const, sort: null };
  const y = accuracy;
  const legend = {
    title: null,
    orient: "none" as const,
    direction: "horizontal" as const,
    legendX: -layout.axisWidth,
    legendY: -36,
    columnPadding: 14,
  };
  const shape = {
    field: "head",
    type: "nominal" as const,
    scale: { domain: heads, range: heads.map((_, i) => shapes[i % shapes.length]!) },
    legend,
  };
  const bestPlace = layers.length > 1 ? layers.indexOf(best.layer) / (layers.length - 1) : 0.5;
  const label = {
    type: "text" as const,
    fontSize: 12,
    fontWeight: "bold" as const,
    align: bestPlace > 0.8 ? ("right" as const) : bestPlace < 0.2 ? ("left" as const) : ("center" as const),
    dx: bestPlace > 0.8 ? 8 : bestPlace < 0.2 ? -8 : 0,
    baseline: "bottom" as const,
    dy: -12,
  };
  const bestPoint = {
    data: {
      values: [
        {
          layer: best.layer,
          head: headTitle(best.head),
          accuracy: 100 * mainValue(best).mean,
          text: `${best.layer}: ${percent(mainValue(best).mean, decimals)} %`,
        },
      ],
    },
  };
  const bestText = { x, y, text: { field: "text", type: "nominal" as const } };
  return {
    ...depthFrame,
    padding: layout.padding,
    width: layout.width,
    height: layout.height,
    title: depthTitle({
      text: titleOf(record),
      layout,
      told: record,
      metric: mainMetric(record),
      more: layout.showsBaseline ? "" : baselineText,
    }),
    data: { values },
    encoding: {
      color: {
        field: "head",
        type: "nominal",
        scale: { domain: heads, range: heads.map((_, i) => colours[i % colours.length]!) },
        legend,
      },
      x: layerAxis(layers, layout),
      y: accuracyAxis(mainMetric(record), layout),
    },
    layer: [
      ...(layout.showsBaseline
        ? [
            {
              data: { values: [{ accuracy: 100 * baseline.share, text: baselineText }] },
              encoding: { x: { value: "width" as const }, color: { value: quiet } },
              layer: [
                {
                  mark: { type: "rule" as const, strokeDash: [4, 4], strokeWidth: 1 },
                  encoding: { y, x: { value: 0 }, x2: { value: "width" as const } },
                },
                {
                  mark: { type: "text" as const, align: "right" as const, baseline: "bottom" as const, dy: -4 },
                  encoding: { y, text: { field: "text", type: "nominal" as const } },
                },
              ],
            },
          ]
        : []),
      ...bandLayer(record.seeds, 0.16),
      { mark: line },
      {
        mark: {
          type: "point",
          filled: true,
          size: layout.pointSize,
          opacity: 1,
          stroke: "white",
          strokeWidth: layout.pointSize / 60,
        },
        encoding: { shape },
      },
      {
        ...bestPoint,
        layer: [
          {
            mark: {
              type: "point",
              shape: "circle",
              filled: false,
              size: 5 * layout.pointSize,
              strokeWidth: 1.75,
              opacity: 1,
            },
            encoding: { x, y },
          },
          // A white edge below the letters keeps them legible where lines cross them.
          {
            mark: { ...label, stroke: "white", strokeWidth: 4, strokeJoin: "round" },
            encoding: { ...bestText, color: { value: "white" } },
          },
          { mark: label, encoding: { ...bestText, color: { value: ink } } },
        ],
      },
    ],
  };
}
