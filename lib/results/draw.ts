import path from "node:path";

import type { Config, TopLevelSpec } from "vega-lite" with { "resolution-mode": "import" };

/** A figure as a text for the web and as an image of twice its size in pixels, on white. */
export interface Figure {
  svg: string;
  png: Uint8Array;
}

/** Draws what Vega-Lite's words say. The same bytes for the same words on every machine: the font is ours. */
export async function draw(spec: TopLevelSpec): Promise<Figure> {
  const vega = await import("vega");
  const { compile } = await import("vega-lite");
  const { Resvg } = await import("@resvg/resvg-js");
  const view = new vega.View(vega.parse(compile(spec).spec), { renderer: "none" });
  try {
    const svg = `${await view.toSVG()}\n`;
    const image = new Resvg(svg, {
      fitTo: { mode: "zoom", value: 2 },
      font: { fontFiles: fontFiles(), loadSystemFonts: false, defaultFontFamily: "DejaVu Sans" },
    });
    return { svg, png: image.render().asPng() };
  } finally {
    view.finalize();
  }
}

function fontFiles(): string[] {
  const folder = path.join(path.dirname(require.resolve("dejavu-fonts-ttf/package.json")), "ttf");
  return ["DejaVuSans.ttf", "DejaVuSans-Bold.ttf"].map((name) => path.join(folder, name));
}

// Okabe and Ito's colours (their yellow darkened), which the colour-blind tell apart; shapes say the same once more.
export const colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#1F2933", "#8C6D1F"];
export const shapes = [
  "circle",
  "square",
  "triangle-up",
  "diamond",
  "triangle-down",
  "cross",
  "triangle-right",
  "triangle-left",
];

export const ink = "#1f2933";
export const quiet = "#616e7c";
const faint = "#e4e7eb";

/** How every figure of ours looks. */
export const figureConfig: Config = {
  font: "DejaVu Sans, Verdana, sans-serif",
  view: { stroke: null },
  legend: { labelColor: ink, labelFontSize: 12, labelLimit: 0, symbolSize: 80, symbolOpacity: 1 },
  title: {
    fontWeight: "bold",
    color: ink,
    subtitleFontSize: 11.5,
    subtitleColor: quiet,
    subtitlePadding: 7,
    subtitleLineHeight: 17,
  },
  axis: { labelColor: quiet, labelFontSize: 11, labelLimit: 0, titleColor: quiet, titleFontWeight: "normal" },
  axisX: { grid: false, domainColor: quiet, tickColor: quiet, tickSize: 4, labelOverlap: false },
  axisY: {
    domain: false,
    ticks: false,
    gridColor: faint,
    labelPadding: 8,
    titleFontSize: 11.5,
    titlePadding: 12,
  },
};
