import type { TopLevelSpec } from "vega-lite" with { "resolution-mode": "import" };

import { draw, type Figure, figureConfig, ink, quiet } from "./draw.js";
import { type SweepAxis, sweepLayout, type SweepLayout } from "./heat-map-layout.js";
import type { LayerResult, ResultRecord, Trial } from "./record.js";
import { headTitle, percent, selectionText, settingText, titleOf } from "./wording.js";

/**
 * The sweep as a heat map: a facet for each layer and head, learning rate across, weight decay upward, and as colour
 * how far a setting is below the best of its facet, by the selection metric. Of settings that differ in other
 * dimensions the best is drawn.
 *
 * @returns undefined where there was nothing to choose.
 */
export async function sweepFigure(record: ResultRecord): Promise<Figure | undefined> {
  const spec = sweepSpec(record);
  return spec && draw(spec);
}

/** What stands at one place of a facet. */
interface Place {
  lr: number;
  weightDecay: number;
  state: "measured" | "stopped" | "diverged";
  /** In percent; null where it diverged. */
  value: number | null;
  chosen: boolean;
}

interface Facet {
  title: string;
  subtitle: string;
  places: Place[];
}

const best = "#08306b";
const shades = [best, "#2f6fb1", "#7fb2d9", "#c6dbef", "#eef4fa"];
const divergedFill = "#f6ded7";
const divergedInk = "#b5402a";
const missing = "#f4f5f7";
const chosenRing = "#e69f00";

/** The figure in the words of Vega-Lite, with its data in it; undefined where there was nothing to choose. */
export function sweepSpec(record: ResultRecord): TopLevelSpec | undefined {
  const facets = record.results.map(facetOf).filter((facet) => facet !== undefined);
  const places = facets.flatMap((facet) => facet.places);
  const compares = (facet: Facet) => facet.places.length > 1 && facet.places.some(({ state }) => state === "measured");
  if (!facets.some(compares)) return undefined;
  const layout = sweepLayout({
    facets,
    heads: new Set(record.results.map(({ head }) => head)).size,
  });
  const gaps = facets.flatMap(gapsOf).filter((gap) => gap !== null);
  const most = [1, 2, 4, 6, 8].find((points) => points >= Math.max(...gaps)) ?? 10;
  const has = (state: Place["state"]) => places.some((place) => place.state === state);
  const empty =
    layout.cells && facets.some((facet) => facet.places.length < layout.x.values.length * layout.y.values.length);
  const key = [
    "ringed: chosen",
    ...(has("stopped") ? ["small: stopped early"] : []),
    ...(has("diverged") ? ["×: diverged"] : []),
    ...(empty ? ["grey: not run"] : []),
  ];
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    background: "white",
    padding: { left: 16, right: 20, top: 16, bottom: 16 },
    title: {
      text: `The sweep: ${titleOf(record)}`,
      subtitle: [selectionText(record), key.join(" · ")],
      anchor: "start",
      frame: "bounds",
      offset: 18,
    },
    vconcat: [
      keySpec({ layout, most, beyond: Math.max(...gaps) > most }),
      {
        columns: layout.columns,
        spacing: { row: layout.rowSpacing, column: layout.columnSpacing },
        bounds: "flush",
        concat: facets.map((facet, index) => facetSpec({ facet, layout, most, index, count: facets.length })),
      },
    ],
    spacing: 70,
    bounds: "flush",
    config: {
      font: figureConfig.font,
      view: { stroke: null },
      title: {
        fontWeight: "bold",
        fontSize: 15,
        color: ink,
        subtitleColor: quiet,
        subtitleFontSize: 11.5,
        subtitlePadding: 6,
        subtitleLineHeight: 17,
      },
      axis: {
        domain: false,
        grid: false,
        ticks: false,
        labelColor: quiet,
        labelFontSize: 10,
        labelPadding: 5,
        labelLimit: 0,
        labelOverlap: false,
        titleColor: quiet,
        titleFontWeight: "normal",
        titleFontSize: 11,
        titlePadding: 8,
      },
    },
  };
}

type UnitSpec = Extract<TopLevelSpec, { vconcat: unknown }>["vconcat"][number];

/** What the colours mean: swatches in a row. */
function keySpec({ layout, most, beyond }: { layout: SweepLayout; most: number; beyond: boolean }): UnitSpec {
  const steps = Array.from({ length: 5 }, (_, i) => (most * i) / 4);
  const swatches = steps.map((gap, i) => ({
    at: 26 * i,
    end: 26 * (i + 1),
    fill: shadeOf(gap, most),
    text: `${i === 4 && beyond ? "≥ " : ""}${Number(gap.toFixed(2))}`,
  }));
  const place = (field: string) => ({ field, type: "quantitative" as const, scale: null, axis: null });
  const words = { type: "text" as const, fontSize: 10.5, color: quiet };
  return {
    width: layout.width,
    height: 12,
    data: { values: swatches },
    layer: [
      {
        mark: { type: "rect", height: 12, y: 6, stroke: "#cbd2d9", strokeWidth: 0.5 },
        encoding: { x: place("at"), x2: { field: "end" }, fill: { field: "fill", type: "nominal", scale: null } },
      },
      {
        mark: { ...words, align: "center", y: 22, dx: 13 },
        encoding: { x: place("at"), text: { field: "text", type: "nominal" } },
      },
      {
        data: { values: [{}] },
        mark: { ...words, align: "left", x: 26 * 5 + 12, y: 6, text: "points below the best of the facet" },
      },
    ],
  };
}

/** The colour of a place so many points below the best. */
function shadeOf(gap: number, most: number): string {
  const at = Math.min(1, gap / most) * (shades.length - 1);
  const i = Math.min(shades.length - 2, Math.floor(at));
  const channels = [1, 3, 5].map((k) => {
    const [from, to] = [shades[i]!, shades[i + 1]!].map((shade) => parseInt(shade.slice(k, k + 2), 16));
    return Math.round(from! + (to! - from!) * (at - i));
  });
  return `#${channels.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

function facetSpec(options: {
  facet: Facet;
  layout: SweepLayout;
  most: number;
  index: number;
  count: number;
}): UnitSpec {
  const { facet, layout, most, index, count } = options;
  const gaps = gapsOf(facet);
  const values = facet.places.map((place, i) => ({
    ...place,
    x: layout.x.positionOf(place.lr),
    y: layout.y.positionOf(place.weightDecay),
    gap: gaps[i]!,
    text: place.value === null ? "×" : percent(place.value / 100, 1),
    fill: gaps[i] === null ? divergedFill : shadeOf(gaps[i]!, most),
    ink: gaps[i] !== null && gaps[i]! < most * 0.45 ? "white" : ink,
  }));
  const x = {
    ...channel(layout.x, layout.cells, false),
    axis: axis(layout.x, layout, "learning rate", index + layout.columns >= count),
  };
  const y = {
    ...channel(layout.y, layout.cells, true),
    axis: axis(layout.y, layout, layout.height < 110 ? "wd" : "weight decay", index % layout.columns === 0),
  };
  const where = (...states: Place["state"][]) => values.filter(({ state }) => states.includes(state));
  const layers = layout.cells
    ? cellLayers({ layout, x, y, where, chosen: values.filter(({ chosen }) => chosen) })
    : pointLayers({ x, y, where, chosen: values.filter(({ chosen }) => chosen) });
  return {
    width: layout.width,
    height: layout.height,
    title: {
      text: facet.title,
      subtitle: facet.subtitle,
      anchor: "start",
      frame: "group",
      fontSize: 12,
      subtitleFontSize: 10,
      subtitlePadding: 3,
      offset: 7,
      limit: 0,
    },
    data: { values },
    layer: layers,
  } as UnitSpec;
}

function channel({ values, domain }: SweepAxis, cells: boolean, upward: boolean) {
  return cells
    ? { type: "ordinal" as const, scale: { domain: values.map((_, i) => i), padding: 0, reverse: upward }, sort: null }
    : { type: "quantitative" as const, scale: { domain, zero: false, nice: false } };
}

function axis(of: SweepAxis, layout: SweepLayout, title: string, shown: boolean) {
  const ticks = layout.cells ? of.values.map((_, i) => i) : of.ticks.map(({ at }) => at);
  const labels = layout.cells ? of.labels : of.ticks.map(({ label }) => label);
  return {
    title: shown ? title : null,
    labels: shown,
    values: ticks,
    labelAngle: title === "learning rate" ? layout.labelAngle : 0,
    labelExpr: `${JSON.stringify(labels)}[indexof(${JSON.stringify(ticks)}, datum.value)]`,
    ...(!layout.cells && { grid: true, gridColor: "#e4e7eb", domain: true, domainColor: "#cbd2d9" }),
  };
}

const shade = { field: "fill", type: "nominal" as const, scale: null };

type Encoded = Record<string, unknown>;
type Shown = Place & { x: number; y: number; gap: number | null; text: string; fill: string; ink: string };

interface Layers {
  x: Encoded;
  y: Encoded;
  where: (...states: Place["state"][]) => Shown[];
  chosen: Shown[];
}

function cellLayers({ layout, x, y, where, chosen }: Layers & { layout: SweepLayout }) {
  const { cell } = layout;
  const every = layout.x.values.flatMap((_, i) => layout.y.values.map((__, j) => ({ x: i, y: j })));
  const place = { x: { ...x, field: "x" }, y: { ...y, field: "y" } };
  const rect = (share: number) => ({
    type: "rect" as const,
    width: cell.width * share - 2,
    height: cell.height * share - 2,
    cornerRadius: 2,
  });
  const text = { type: "text" as const, fontSize: cell.width >= 36 ? 10 : 8.5 };
  const written = cell.width >= 28;
  return [
    { data: { values: every }, mark: { ...rect(1), color: missing }, encoding: place },
    { data: { values: where("diverged") }, mark: { ...rect(1), color: divergedFill }, encoding: place },
    {
      data: { values: where("diverged") },
      mark: { ...text, fontSize: 12, color: divergedInk },
      encoding: { ...place, text: { value: "×" } },
    },
    { data: { values: where("measured") }, mark: rect(1), encoding: { ...place, color: shade } },
    { data: { values: where("stopped") }, mark: rect(0.5), encoding: { ...place, color: shade } },
    ...(written
      ? [
          {
            data: { values: where("measured") },
            mark: text,
            encoding: {
              ...place,
              text: { field: "text", type: "nominal" },
              color: { field: "ink", type: "nominal", scale: null },
            },
          },
        ]
      : []),
    {
      data: { values: chosen },
      mark: { ...rect(1), filled: false, stroke: chosenRing, strokeWidth: 2.5, fillOpacity: 0 },
      encoding: place,
    },
  ];
}

function pointLayers({ x, y, where, chosen }: Layers) {
  const place = { x: { ...x, field: "x" }, y: { ...y, field: "y" } };
  const circle = { type: "point" as const, filled: true, opacity: 1, stroke: "#9aa5b1", strokeWidth: 0.6 };
  const fill = { fill: shade };
  return [
    {
      data: { values: where("diverged") },
      mark: { type: "text" as const, text: "×", fontSize: 12, color: divergedInk },
      encoding: place,
    },
    { data: { values: where("stopped") }, mark: { ...circle, size: 30 }, encoding: { ...place, ...fill } },
    { data: { values: where("measured") }, mark: { ...circle, size: 90 }, encoding: { ...place, ...fill } },
    {
      data: { values: chosen },
      mark: { type: "point" as const, size: 230, filled: false, stroke: chosenRing, strokeWidth: 2.5, opacity: 1 },
      encoding: place,
    },
  ];
}

/** undefined where settings have no learning rate and weight decay. */
function facetOf(result: LayerResult): Facet | undefined {
  const byPlace = new Map<string, Place>();
  const longest = Math.max(...result.trials.map(({ epochsRun = 0 }) => epochsRun));
  for (const trial of result.trials) {
    const place = placeOf(trial, longest);
    if (!place) return undefined;
    const key = JSON.stringify([place.lr, place.weightDecay]);
    const there = byPlace.get(key);
    if (!there || isBetter(place, there)) byPlace.set(key, place);
  }
  const { lr, weightDecay } = result.chosen;
  const places = [...byPlace.values()].map((place) => ({
    ...place,
    chosen: place.lr === lr && place.weightDecay === weightDecay,
  }));
  const chosen = result.selection === null ? "" : `${percent(result.selection.mean, 1)} % `;
  return {
    title: `${result.layer} · ${headTitle(result.head)}`,
    subtitle: `${chosen}at ${settingText(result.chosen)}`,
    places,
  };
}

function placeOf({ setting, selection, diverged, epochsRun = 0 }: Trial, longest: number): Place | undefined {
  const { lr, weightDecay } = setting;
  if (typeof lr !== "number" || typeof weightDecay !== "number") return undefined;
  if (diverged) return { lr, weightDecay, state: "diverged", value: null, chosen: false };
  if (selection === null) return undefined;
  const state = epochsRun < longest ? "stopped" : "measured";
  return { lr, weightDecay, state, value: 100 * selection.mean, chosen: false };
}

const order = ["diverged", "stopped", "measured"] as const;

function isBetter(a: Place, b: Place): boolean {
  const steps = order.indexOf(a.state) - order.indexOf(b.state);
  return steps === 0 ? (a.value ?? 0) > (b.value ?? 0) : steps > 0;
}

/** How far each place is below the best that was trained to the end, in points, at least 0. */
function gapsOf({ places }: Facet): (number | null)[] {
  const top = Math.max(...places.filter(({ state }) => state === "measured").map(({ value }) => value!));
  return places.map(({ value }) => (value === null ? null : Math.max(0, top - value)));
}
