import { numberText } from "./wording.js";

/** One axis of a sweep, the same in all facets. */
export interface SweepAxis {
  /** What was tried, rising, and as people write it. */
  values: number[];
  labels: string[];
  /** Index in `values` where the sweep is drawn as cells, else the decimal logarithm, and one below the least for 0. */
  positionOf(value: number): number;
  /** Of positions that are logarithms. */
  domain: [number, number];
  ticks: { at: number; label: string }[];
}

/** Where things stand in the figure of a sweep, in CSS pixels. */
export interface SweepLayout {
  /** Cells where nearly all combinations were tried; else points at their places on logarithmic axes. */
  cells: boolean;
  x: SweepAxis;
  y: SweepAxis;
  /** Of a facet. */
  width: number;
  height: number;
  cell: { width: number; height: number };
  columns: number;
  rowSpacing: number;
  columnSpacing: number;
  labelAngle: number;
}

/** Beyond so many values on an axis cells are too narrow to be told apart. */
const mostCells = 16;

/** Of all facets beside each other. */
const pageWidth = 1320;

export function sweepLayout(options: {
  facets: { title: string; subtitle: string; places: { lr: number; weightDecay: number }[] }[];
  /** Heads a layer: they stand side by side. */
  heads: number;
}): SweepLayout {
  const { facets, heads } = options;
  const places = facets.flatMap((facet) => facet.places);
  const rates = rising(places.map(({ lr }) => lr));
  const decays = rising(places.map(({ weightDecay }) => weightDecay));
  const tried = new Set(places.map(({ lr, weightDecay }) => `${lr} ${weightDecay}`)).size;
  const full = tried > 0.6 * rates.length * decays.length;
  const cells = full && rates.length <= mostCells && decays.length <= mostCells;
  const x = axisOf(rates, cells);
  const y = axisOf(decays, cells);
  const cell = { width: Math.min(46, Math.max(30, 300 / rates.length)), height: decays.length > 8 ? 22 : 28 };
  const width = cells ? cell.width * rates.length : 230;
  const height = cells ? cell.height * decays.length : decays.length === 1 ? 60 : 150;
  // Names of facets are to be read whole: they take the room of a narrow facet's neighbour.
  const named = Math.max(...facets.map(({ title, subtitle }) => Math.max(title.length * 7.8, subtitle.length * 6.3)));
  const columnSpacing = Math.max(22, Math.min(named, 400) + 14 - width);
  const fitting = Math.max(1, Math.floor((pageWidth + columnSpacing) / (width + columnSpacing)));
  const columns = fitting >= heads ? fitting - (fitting % heads) : fitting;
  const labelWidth = Math.max(...x.labels.map(({ length }) => length)) * 6.2;
  const slanted = cells && labelWidth > cell.width - 2;
  return {
    cells,
    x,
    y,
    width,
    height,
    cell,
    columns: Math.min(columns, facets.length),
    rowSpacing: 62,
    columnSpacing,
    labelAngle: slanted ? -40 : 0,
  };
}

function axisOf(values: number[], cells: boolean): SweepAxis {
  const labels = values.map(numberText);
  const logarithms = values.filter((value) => value > 0).map(Math.log10);
  const least = logarithms[0] ?? 0;
  const zeroAt = least - 1;
  const positionOf = (value: number) => (cells ? values.indexOf(value) : value > 0 ? Math.log10(value) : zeroAt);
  const low = Math.min(...values.map((value) => (value > 0 ? Math.log10(value) : zeroAt)));
  const high = logarithms.at(-1) ?? zeroAt;
  const margin = Math.max(0.15, 0.06 * (high - low));
  const powers: number[] = [];
  for (let power = Math.ceil(least - 0.01); power <= high + 0.01; power++) powers.push(power);
  const spread = Math.ceil(powers.length / 6);
  const chosen = powers.length < 2 ? rising([least, high]) : powers.filter((_, i) => i % spread === 0);
  const ticks = chosen.map((at) => ({ at, label: numberText(Number((10 ** at).toPrecision(2))) }));
  return {
    values,
    labels,
    positionOf,
    domain: [low - margin, high + margin],
    ticks: [...(values.includes(0) ? [{ at: zeroAt, label: "0" }] : []), ...(logarithms.length > 0 ? ticks : [])],
  };
}

function rising(values: number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}
