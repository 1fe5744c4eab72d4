import type { TopLevelSpec } from "vega-lite" with { "resolution-mode": "import" };

import type { Comparison } from "./comparison.js";
import { accuracyAxis, bandLayer, bandOf, depthFrame, depthTitle, layerAxis, line } from "./depth-axes.js";
import { colours, draw, type Figure, shapes } from "./draw.js";
import { depthLayout } from "./figure-layout.js";
import { commonLayers, entriesByDepth } from "./layer-order.js";
import { headTitle } from "./wording.js";

/** Accuracy by depth, a line a run, with its spread over seeds. The same bytes for the same comparison everywhere. */
export async function comparisonFigure(comparison: Comparison): Promise<Figure> {
  return draw(comparisonSpec(comparison));
}

/** Letters of a run's name in the legend. */
const longest = 40;

/** The figure in the words of Vega-Lite, with its data in it. */
function comparisonSpec(comparison: Comparison): TopLevelSpec {
  const { data, metric, runs, seeds, selection } = comparison;
  const names = runs.map(({ name }) => shortened(name));
  const layers = commonLayers(comparison);
  const values = runs.flatMap((run, r) => {
    const entries = entriesByDepth(run);
    return entries.flatMap(({ layer, metrics }, i) => {
      const measured = metrics[metric];
      if (!measured) return [];
      return {
        run: names[r]!,
        layer,
        depth: entries.length > 1 ? (100 * i) / (entries.length - 1) : 100,
        accuracy: 100 * measured.mean,
        ...bandOf(measured),
      };
    });
  });
  const title = `${runs.length} runs on ${data.name}`;
  const ticks = layers ?? ["0", "20", "40", "60", "80", "100"];
  const layout = depthLayout({ layers: ticks, values, baseline: 0, title, warned: selection.selectedOnReported });
  const widestName = Math.max(...names.map((name) => name.length)) * 12 * 0.62;
  const height = Math.max(layout.height, 20 * runs.length);

  const x = layers
    ? layerAxis(layers, layout)
    : {
        field: "depth",
        type: "quantitative" as const,
        scale: { domain: [0, 100], nice: false, padding: 12 },
        axis: { title: "depth: place among the layers of the run (%)", values: ticks.map(Number), labelPadding: 8 },
      };
  const legend = { title: null, orient: "none" as const, legendX: layout.width + 20, legendY: 0, rowPadding: 6 };
  const byRun = <T>(range: T[]) => ({
    field: "run",
    type: "nominal" as const,
    scale: { domain: names, range },
    legend,
  });
  return {
    ...depthFrame,
    padding: {
      ...layout.padding,
      top: layout.padding.top - 24,
      right: widestName + 64,
      bottom: layout.padding.bottom + (layers ? 0 : 24),
    },
    width: layout.width,
    height,
    title: depthTitle({ text: title, layout, told: comparison, metric, more: headsText(comparison) }),
    data: { values },
    encoding: {
      color: byRun(runs.map((_, r) => colours[r % colours.length]!)),
      x,
      y: accuracyAxis(metric, layout),
    },
    layer: [
      ...bandLayer(seeds, runs.length > 4 ? 0.1 : 0.16),
      {
        mark: line,
        // Beyond the colours there are, lines are broken.
        ...(runs.length > colours.length
          ? { encoding: { strokeDash: byRun(runs.map((_, r) => (r < colours.length ? [1, 0] : [6, 4]))) } }
          : {}),
      },
      {
        mark: { type: "point", filled: true, size: layout.pointSize, opacity: 1, stroke: "white", strokeWidth: 1 },
        encoding: { shape: byRun(runs.map((_, r) => shapes[r % shapes.length]!)) },
      },
    ],
  };
}

function headsText({ runs }: Comparison): string {
  const heads = new Set(runs.flatMap((run) => entriesByDepth(run).map(({ head }) => head)));
  const given = new Set(runs.flatMap(({ entries }) => entries.map(({ head }) => head)));
  if (heads.size === 1 && given.size === 1) return headTitle([...heads][0]!);
  const chosen = runs.every(({ entries }) => entries.every(({ selection }) => selection !== null));
  return chosen ? "at each layer the head chosen there" : "the first head of each run";
}

/** The end tells more than the middle. */
function shortened(name: string): string {
  if (name.length <= longest) return name;
  return `${name.slice(0, longest / 2 - 1)}…${name.slice(-longest / 2)}`;
}
