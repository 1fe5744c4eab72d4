import type { TopLevelSpec } from "vega-lite" with { "resolution-mode": "import" };

import { bandOf, line } from "./depth-axes.js";
import { colours, draw, type Figure, figureConfig, shapes } from "./draw.js";
import { distinct, type LevelResult } from "./levels.js";

const frame = {
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  background: "white",
  padding: 16,
  config: figureConfig,
} as const;

const accuracy = {
  field: "accuracy",
  type: "quantitative" as const,
  scale: { nice: true, zero: false },
  axis: { title: "top-1 accuracy (%)" },
};

/**
 * Accuracy against level, a line a model with its spread over seeds, of one number of shots: all images, or the most
 * that there are.
 */
export async function levelsFigure(results: LevelResult[]): Promise<Figure> {
  const shots = distinct(results, "shots").sort((a, b) => (b ?? Infinity) - (a ?? Infinity))[0]!;
  const own = results.filter((result) => result.shots === shots);
  const x = {
    field: "level",
    type: "ordinal" as const,
    sort: null,
    scale: { domain: distinct(results, "level"), type: "point" as const, padding: 0.5 },
    axis: { title: "level of concepts", labelAngle: 0 },
  };
  return draw({
    ...frame,
    width: Math.max(360, 80 * distinct(results, "level").length),
    height: 340,
    title: title("Accuracy against level", shots === null ? "all images" : `${shots} images of each class`),
    data: { values: own.map(valueOf) },
    encoding: { x, color: byModel(results, colours, 0) },
    layer: lines(results),
  } satisfies TopLevelSpec);
}

/** Accuracy against shots, a facet a level, a line a model; undefined where there is one number of shots only. */
export async function shotsFigure(results: LevelResult[]): Promise<Figure | undefined> {
  const numbers = distinct(results, "shots").sort((a, b) => (a ?? Infinity) - (b ?? Infinity));
  if (numbers.length < 2) return undefined;
  const names = numbers.map(shotsText);
  const x = {
    field: "shots",
    type: "ordinal" as const,
    sort: null,
    scale: { domain: names, type: "point" as const, padding: 0.5 },
    axis: { title: "images of each class", labelAngle: 0 },
  };
  const levels = distinct(results, "level");
  return draw({
    ...frame,
    title: title("Accuracy against shots", "a panel a level"),
    data: { values: results.map(valueOf) },
    facet: { field: "level", type: "ordinal", sort: null, title: null },
    columns: Math.min(3, levels.length),
    spec: { width: 280, height: 220, encoding: { x, color: byModel(results, colours, 0) }, layer: lines(results) },
  } satisfies TopLevelSpec);
}

function shotsText(shots: number | null): string {
  return shots === null ? "all" : String(shots);
}

function valueOf({ model, level, shots, top1 }: LevelResult) {
  return { model, level, shots: shotsText(shots), accuracy: 100 * top1.mean, ...bandOf(top1) };
}

function title(text: string, subtitle: string) {
  const told = `${subtitle}; mean and population standard deviation over seeds`;
  return { text, subtitle: [told], fontSize: 14, anchor: "start" as const, offset: 12 };
}

/** Beyond the colours there are, they come again with another shape. */
function byModel(results: LevelResult[], range: readonly string[], step: number) {
  const domain = distinct(results, "model");
  const own = domain.map((_, i) => range[(i + step * Math.floor(i / range.length)) % range.length]!);
  return { field: "model", type: "nominal" as const, title: null, scale: { domain, range: own } };
}

function lines(results: LevelResult[]) {
  return [
    {
      mark: { type: "rule" as const, strokeWidth: 1.2, opacity: 0.7 },
      encoding: { y: { ...accuracy, field: "low" }, y2: { field: "high" } },
    },
    { mark: line, encoding: { y: accuracy } },
    {
      mark: { type: "point" as const, filled: true, size: 50, opacity: 1 },
      encoding: { y: accuracy, shape: byModel(results, shapes, 1) },
    },
  ];
}
