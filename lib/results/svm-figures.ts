import type { TopLevelSpec } from "vega-lite" with { "resolution-mode": "import" };

import { precisionRecall } from "../metrics/average-precision.js";
import { colours, draw, type Figure, figureConfig, ink, quiet } from "./draw.js";
import { percent } from "./wording.js";

/** The chosen cost of a class is a point on its line; the mean over classes is the strong line. */
export async function costFigure(options: {
  title: string;
  costs: number[];
  classes: { name: string; crossval: number[]; chosen: number }[];
}): Promise<Figure> {
  const { title, costs, classes } = options;
  const values = classes.flatMap(({ name, crossval }) =>
    costs.map((cost, i) => ({ name, cost, ap: 100 * crossval[i]! })),
  );
  const means = costs.map((cost, i) => {
    return { cost, ap: (100 * classes.reduce((sum, { crossval }) => sum + crossval[i]!, 0)) / classes.length };
  });
  const points = classes.map(({ name, crossval, chosen }) => {
    return { name, cost: costs[chosen]!, ap: 100 * crossval[chosen]! };
  });
  const x = {
    field: "cost",
    type: "quantitative" as const,
    scale: { type: "log" as const, nice: false, padding: 12 },
    axis: { title: "cost", format: "~g", tickCount: 8, labelOverlap: true },
  };
  const y = {
    field: "ap",
    type: "quantitative" as const,
    scale: { nice: true, zero: false },
    axis: { title: "step-sum AP in cross-validation (%)" },
  };
  return draw({
    ...frame,
    width: 520,
    height: 330,
    title: headed(title, "each line a class, its chosen cost a point; the strong line is the mean over classes"),
    encoding: { x, y },
    layer: [
      {
        data: { values },
        mark: { type: "line", color: colours[0]!, opacity: 0.35, strokeWidth: 1 },
        encoding: { detail: { field: "name", type: "nominal" } },
      },
      { data: { values: points }, mark: { type: "point", filled: true, color: colours[0]!, size: 30, opacity: 0.8 } },
      { data: { values: means }, mark: { type: "line", color: ink, strokeWidth: 2.5 } },
    ],
  });
}

/** More small figures than this on one page are not looked at. */
const mostCurves = 60;
/** Points that a curve of small size can show. */
const mostPoints = 160;

/**
 * A small figure a class: precision by recall on the reported images, and as a dashed line the envelope whose area is
 * the average precision.
 */
export async function precisionRecallFigure(options: {
  title: string;
  /** `targets`: 1, 0, and −1 for rows that are left out. */
  classes: { name: string; scores: Float32Array; targets: Int8Array; ap: number }[];
}): Promise<Figure> {
  const { title, classes } = options;
  const shown = classes.slice(0, mostCurves);
  const nameOf = ({ name, ap }: { name: string; ap: number }) => `${name}: ${percent(ap, 1)} %`;
  const values = shown.flatMap((one) => curvePoints(one).map((point) => ({ ...point, name: nameOf(one) })));
  const all = classes.length > shown.length ? `the first ${shown.length} of ${classes.length} classes; ` : "";
  const axis = { tickCount: 3, format: "~g", titleFontSize: 10, labelFontSize: 9, titlePadding: 4, labelPadding: 3 };
  const unit = { type: "quantitative" as const, scale: { domain: [0, 1] } };
  return draw({
    ...frame,
    title: headed(title, `${all}dashed: the envelope whose area is the average precision`),
    data: { values },
    facet: {
      field: "name",
      type: "nominal",
      sort: null,
      title: null,
      header: { labelFontSize: 11, labelColor: ink, labelFontWeight: "bold", labelLimit: 140, labelPadding: 4 },
    },
    columns: Math.min(5, shown.length),
    spacing: 26,
    spec: {
      width: 128,
      height: 104,
      encoding: { x: { field: "recall", ...unit, axis: { ...axis, title: "recall" } } },
      layer: [
        {
          mark: { type: "line", interpolate: "step-before", strokeWidth: 1, strokeDash: [3, 2], color: quiet },
          encoding: { y: { field: "envelope", ...unit, axis: { ...axis, title: "precision" } } },
        },
        {
          mark: { type: "line", strokeWidth: 1.4, color: colours[0]! },
          encoding: { y: { field: "precision", ...unit, axis: { ...axis, title: "precision" } } },
        },
      ],
    },
  });
}

function curvePoints(of: { scores: Float32Array; targets: Int8Array }) {
  const { recall, precision } = precisionRecall(of);
  const envelope = Float64Array.from(precision);
  for (let i = envelope.length - 2; i >= 0; i--) envelope[i] = Math.max(envelope[i]!, envelope[i + 1]!);
  const step = Math.max(1, envelope.length / mostPoints);
  const count = Math.min(envelope.length, mostPoints);
  return Array.from({ length: count }, (_, i) => {
    const at = i === count - 1 ? envelope.length - 1 : Math.floor(i * step);
    return { recall: rounded(recall[at]!), precision: rounded(precision[at]!), envelope: rounded(envelope[at]!) };
  });
}

function rounded(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}

const frame = {
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  background: "white",
  padding: 16,
  config: figureConfig,
} satisfies Partial<TopLevelSpec>;

function headed(text: string, subtitle: string) {
  return { text, subtitle: [subtitle], fontSize: 14, anchor: "start" as const, offset: 12 };
}
