import type { TopLevelSpec } from "vega-lite" with { "resolution-mode": "import" };

import { colours, draw, type Figure, figureConfig } from "./draw.js";
import { lowShotResults } from "./low-shot-table.js";
import type { ResultRecord, Spread } from "./record.js";
import { titleOf } from "./wording.js";

/**
 * Mean AP by the number of images a class, a line a layer with its spread over the samples; dashed what the cost that
 * is best on the reported images gives.
 */
export async function lowShotFigure(record: ResultRecord): Promise<Figure> {
  const results = lowShotResults(record);
  const ks = [...new Set(results.map(({ lowShot }) => lowShot.k))];
  const point = (layer: string, k: number, { mean, std }: Spread) => ({
    layer,
    k,
    ap: 100 * mean,
    low: 100 * (mean - std),
    high: 100 * (mean + std),
  });
  const honest = results.map(({ layer, lowShot, metrics }) => point(layer, lowShot.k, metrics.meanAp!));
  const oracle = results.map(({ layer, lowShot }) => point(layer, lowShot.k, lowShot.oracle.meanAp));
  const x = {
    field: "k",
    type: "quantitative" as const,
    scale: { type: "log" as const, base: 2, nice: false, padding: 12 },
    axis: { title: "images of each class", values: ks, format: "d" },
  };
  const y = {
    field: "ap",
    type: "quantitative" as const,
    scale: { nice: true, zero: false },
    axis: { title: "mean AP (%)" },
  };
  const color = {
    field: "layer",
    type: "nominal" as const,
    sort: null,
    title: "layer",
    scale: { range: [...colours] },
  };
  return draw({
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    background: "white",
    padding: 16,
    config: figureConfig,
    width: 480,
    height: 320,
    title: {
      text: titleOf(record),
      subtitle: [
        `${record.seeds.length} samples of each size: mean and standard deviation; the cost is chosen on the drawn images`,
        "dashed: chosen on the images that are reported (as VISSL does), which is too good",
      ],
      fontSize: 14,
      anchor: "start",
      offset: 12,
    },
    encoding: { x, color },
    layer: [
      {
        data: { values: honest },
        mark: { type: "rule", strokeWidth: 1.2, opacity: 0.7 },
        encoding: { y: { ...y, field: "low" }, y2: { field: "high" } },
      },
      { data: { values: honest }, mark: { type: "line", strokeWidth: 2 }, encoding: { y } },
      { data: { values: honest }, mark: { type: "point", filled: true, size: 40 }, encoding: { y } },
      { data: { values: oracle }, mark: { type: "line", strokeWidth: 1, strokeDash: [4, 3] }, encoding: { y } },
    ],
  } satisfies TopLevelSpec);
}
