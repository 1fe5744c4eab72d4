/** What a RegNet's stages are made of: the paper's section 3.3. */
interface Parameters {
  arch: string;
  depth: number;
  /** Channels of the first block, their slope over the blocks, and the factor between stages. */
  start: number;
  slope: number;
  factor: number;
  /** Channels of a group. */
  group: number;
}

const row = (arch: string, depth: number, start: number, slope: number, factor: number, group: number): Parameters => ({
  arch,
  depth,
  start,
  slope,
  factor,
  group,
});

/** As torchvision, timm (200, 600 MF; 4, 6.4, 12 GF) and ClassyVision (64, 256 GF) give them. */
const published: Parameters[] = [
  row("regnet_x_200mf", 13, 24, 36.44, 2.49, 8),
  row("regnet_x_400mf", 22, 24, 24.48, 2.54, 16),
  row("regnet_x_600mf", 16, 48, 36.97, 2.24, 24),
  row("regnet_x_800mf", 16, 56, 35.73, 2.28, 16),
  row("regnet_x_1_6gf", 18, 80, 34.01, 2.25, 24),
  row("regnet_x_3_2gf", 25, 88, 26.31, 2.25, 48),
  row("regnet_x_4gf", 23, 96, 38.65, 2.43, 40),
  row("regnet_x_6_4gf", 17, 184, 60.83, 2.07, 56),
  row("regnet_x_8gf", 23, 80, 49.56, 2.88, 120),
  row("regnet_x_12gf", 19, 168, 73.36, 2.37, 112),
  row("regnet_x_16gf", 22, 216, 55.59, 2.1, 128),
  row("regnet_x_32gf", 23, 320, 69.86, 2.0, 168),
  row("regnet_y_200mf", 13, 24, 36.44, 2.49, 8),
  row("regnet_y_400mf", 16, 48, 27.89, 2.09, 8),
  row("regnet_y_600mf", 15, 48, 32.54, 2.32, 16),
  row("regnet_y_800mf", 14, 56, 38.84, 2.4, 16),
  row("regnet_y_1_6gf", 27, 48, 20.71, 2.65, 24),
  row("regnet_y_3_2gf", 21, 80, 42.63, 2.66, 24),
  row("regnet_y_4gf", 22, 96, 31.41, 2.24, 64),
  row("regnet_y_6_4gf", 25, 112, 33.22, 2.27, 72),
  row("regnet_y_8gf", 17, 192, 76.82, 2.19, 56),
  row("regnet_y_12gf", 19, 168, 73.36, 2.37, 112),
  row("regnet_y_16gf", 18, 200, 106.23, 2.48, 112),
  row("regnet_y_32gf", 20, 232, 115.89, 2.53, 232),
  row("regnet_y_64gf", 20, 368, 102.79, 2.05, 496),
  row("regnet_y_128gf", 27, 456, 160.83, 2.52, 264),
  row("regnet_y_256gf", 27, 640, 124.47, 2.04, 848),
];

/** All names; the last two are those of sizes that nobody published. */
export const regnetArchs = [...published.map(({ arch }) => arch), "regnet_x", "regnet_y"];

/** The published name of a RegNet of such stages. */
export function regnetArch(options: { kind: "x" | "y"; widths: number[]; depths: number[] }): string {
  const { kind, widths, depths } = options;
  const found = published.find((one) => {
    const stages = stagesOf(one);
    return (
      one.arch.startsWith(`regnet_${kind}`) &&
      stages.depths.join() === depths.join() &&
      stages.widths.every((width, i) => widthsInGroups(width, one.group).includes(widths[i]!))
    );
  });
  return found?.arch ?? `regnet_${kind}`;
}

/** Widths grow linearly, and are rounded to powers of the factor and to eights; blocks of one width are a stage. */
function stagesOf({ depth, start, slope, factor }: Parameters): { widths: number[]; depths: number[] } {
  const blocks = Array.from({ length: depth }, (_, i) => {
    const power = roundToEven(Math.log((start + slope * i) / start) / Math.log(factor));
    return roundToEven((start * factor ** power) / 8) * 8;
  });
  const widths = [...new Set(blocks)];
  return { widths, depths: widths.map((width) => blocks.filter((one) => one === width).length) };
}

/** To whole groups: as timm and ClassyVision do it, and as torchvision does, which takes off a tenth at the most. */
function widthsInGroups(width: number, group: number): number[] {
  const own = Math.min(group, width);
  const nearest = Math.max(1, Math.round(width / own)) * own;
  return [nearest, nearest < 0.9 * width ? nearest + own : nearest];
}

/** As NumPy and PyTorch round a half. */
function roundToEven(value: number): number {
  const rounded = Math.round(value);
  return value % 1 === 0.5 && rounded % 2 === 1 ? rounded - 1 : rounded;
}
