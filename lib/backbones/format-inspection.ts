import type { Inspection } from "./inspect.js";

/** An inspection as a person reads it in a terminal: a few lines on the graph, then a table of its taps. */
export function formatInspection(inspection: Inspection): string {
  const { manifest, modelFile, manifestFile, proposed, layers, total, warnings } = inspection;
  const { input, title, arch, transform } = manifest;
  const batch = input.batch === "any" ? "any batch" : `batch of ${input.batch}`;
  const rows = layers.map(({ tap, shape, width, parameters, flops }) => [
    tap.name,
    tap.kind,
    tap.shape.join("x"),
    tap.pooling,
    `${shape.join("x")}${shape.length > 1 ? ` = ${width}` : ""}`,
    count(parameters),
    count(flops),
    tap.node,
  ]);
  return [
    `${title}/${arch}: ${modelFile}`,
    `input      ${input.node}, ${input.height}x${input.width}x3, ${batch}`,
    `transform  ${transform}`,
    `graph      ${count(total.parameters)} parameters, ${count(total.flops)} FLOPs an image, ${manifest.precision}`,
    proposed ? `manifest   proposed, not in ${manifestFile} yet` : `manifest   ${manifestFile}`,
    "",
    ...table([["layer", "kind", "shape", "pooling", "features", "parameters", "FLOPs", "node"], ...rows]),
    ...warnings.flatMap((warning) => ["", `Note: ${warning}`]),
  ].join("\n");
}

/** Parameters and FLOPs are of all up to the layer, and stand to the right of their columns. */
const rightAligned = new Set([5, 6]);

function table(rows: string[][]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const pad = (cell: string, column: number) =>
    rightAligned.has(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!);
  return rows.map((row) => row.map(pad).join("  ").trimEnd());
}

/** 4650000 as `4.65 M`. */
function count(value: number): string {
  const units = ["", " k", " M", " G", " T"];
  let [scaled, unit] = [value, 0];
  for (; scaled >= 1000 && unit < units.length - 1; unit++) scaled /= 1000;
  return `${unit === 0 ? scaled : scaled.toPrecision(3)}${units[unit]}`;
}
