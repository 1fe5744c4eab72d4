import { bytes, counted } from "../progress.js";
import type { StoreInfo, StoredLayerInfo } from "./store-info.js";
import type { StoreVerification } from "./verify-store.js";

/** What a store holds, for a person. */
export function formatStoreInfo(info: StoreInfo): string {
  const { folder, state, key, dataset, rows, skipped, layers } = info;
  const part = key.part && `part ${key.part.index} of ${key.part.count}: positions ${rows.from} to ${rows.to - 1}`;
  const views = key.views && `${key.views.count} of each image, by the seed ${key.views.seed}`;
  const facts: [string, string | undefined][] = [
    [
      "data",
      `${dataset.name}, split ${dataset.split}: ${counted(dataset.size, "image")} of ${counted(dataset.classes, "class")}`,
    ],
    ["part", part],
    ["views", views],
    ["skipped", skipped.length > 0 ? `${counted(skipped.length, "image")} that could not be read` : undefined],
    ["transform", key.transform],
    ["precision", key.precision],
    ["backbone", key.weights],
    ["listing", key.dataset],
    ["size", bytes(info.bytes)],
  ];
  return [
    `${folder}: ${state === "whole" ? "whole" : "its extraction is not over"}`,
    ...facts.flatMap(([name, fact]) => (fact === undefined ? [] : [`${name.padEnd(11)}${fact}`])),
    "",
    ...layerTable(layers),
  ].join("\n");
}

function layerTable(layers: StoredLayerInfo[]): string[] {
  const rows = layers.map(({ name, shape, rows, shards, bytes: size, state }) => [
    name,
    shape.join("x"),
    String(rows),
    String(shards),
    bytes(size),
    ...(state === "begun" ? ["begun"] : []),
  ]);
  const lines = [["layer", "shape", "rows", "shards", "size"], ...rows];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map((line) =>
    line
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}

/** What a verification found, a line each damaged file. */
export function formatVerification({ files, bytes: size, damaged }: StoreVerification): string {
  if (damaged.length === 0) return `All ${files} files (${bytes(size)}) are as they were written.`;
  return [
    `Expected ${files} files as they were written but ${damaged.length} ${damaged.length === 1 ? "is" : "are"} damaged:`,
    ...damaged.map(({ file, finding }) => `  ${file}: ${finding}`),
    "Delete them and run the extraction again with the same settings: they are made again.",
  ].join("\n");
}
