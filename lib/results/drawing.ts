import path from "node:path";

import type { TopLevelSpec } from "vega-lite" with { "resolution-mode": "import" };

/** A figure as a text for the web and as an image of twice its size in pixels, on white. */
export interface Figure {
  svg: string;
  png: Uint8Array;
}

/** Draws a figure of Vega-Lite: the same bytes for the same figure on every machine, for the font is ours. */
export async function drawFigure(spec: TopLevelSpec): Promise<Figure> {
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

/** Okabe and Ito's colours, which the colour-blind tell apart. */
export const colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];

export const ink = "#1f2933";
export const quiet = "#616e7c";
export const faint = "#e4e7eb";

/** The font of all figures, as Vega names it. */
export const font = "DejaVu Sans, Verdana, sans-serif";
