/**
 * Where things stand in the figure of accuracy by depth. Told in numbers, not left to Vega, because without a browser
 * it can only guess how wide a text is.
 */
export interface DepthLayout {
  /** Of the plot itself, in CSS pixels. */
  width: number;
  height: number;
  padding: { left: number; right: number; top: number; bottom: number };
  /** Room for the numbers and the title of the vertical axis. */
  axisWidth: number;
  labelAngle: number;
  labelSize: number;
  pointSize: number;
  titleSize: number;
  titleOffset: number;
  /** Of the vertical axis, in percent. */
  domain: [number, number];
  /** Whether the baseline is in the domain; where all results are far above it, it would press them together. */
  showsBaseline: boolean;
}

export function depthLayout(options: {
  layers: string[];
  /** In percent. */
  values: { low: number; high: number }[];
  baseline: number;
  title: string;
  /** Whether a line of warning stands below the title. */
  warned: boolean;
}): DepthLayout {
  const { layers, values, baseline, title, warned } = options;
  const width = Math.min(1040, Math.max(520, 64 * layers.length));
  const step = width / layers.length;
  const labelSize = step < 22 ? 10 : 11;
  const longest = Math.max(...layers.map((name) => name.length)) * labelSize * 0.6;
  const rotated = longest > step - 10;
  const slant = (40 * Math.PI) / 180;
  const axisWidth = 56;
  const { domain, showsBaseline } = verticalDomain({ values, baseline, single: layers.length === 1 });
  return {
    width,
    height: 330,
    axisWidth,
    labelAngle: rotated ? -40 : 0,
    labelSize,
    pointSize: step < 22 ? 34 : 60,
    titleSize: Math.max(10, Math.min(17, (width + axisWidth + 20) / (title.length * 0.68))),
    titleOffset: 20,
    padding: {
      left: Math.max(axisWidth + 16, rotated ? longest * Math.cos(slant) - step / 2 + 12 : 0),
      right: 28,
      top: warned ? 149 : 132,
      bottom: 24 + (rotated ? longest * Math.sin(slant) + 8 : labelSize),
    },
    domain,
    showsBaseline,
  };
}

/** From 0 where the baseline is to be seen, else from a round number below the lowest; room above for a label. */
function verticalDomain(options: {
  values: { low: number; high: number }[];
  baseline: number;
  single: boolean;
}): Pick<DepthLayout, "domain" | "showsBaseline"> {
  const { values, baseline, single } = options;
  const low = Math.min(...values.map((value) => value.low));
  const high = Math.max(...values.map((value) => value.high), baseline, 1);
  const range = Math.max(high - low, 2);
  const showsBaseline = (single || range >= (high - baseline) / 5) && baseline >= high / 50;
  const bottom = showsBaseline || single ? 0 : Math.max(0, low - range / 4);
  const unit = roundUnit((high - bottom) / 5);
  return { domain: [Math.floor(bottom / unit) * unit, high + (high - bottom) / 9], showsBaseline };
}

/** The largest of 0.1, 0.2, 0.5, 1, 2, 5, 10, 20 that is not above `size`. */
function roundUnit(size: number): number {
  return [20, 10, 5, 2, 1, 0.5, 0.2].find((unit) => unit <= size) ?? 0.1;
}
