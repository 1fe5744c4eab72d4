import { bytes as sizeOf, counted } from "../progress.js";
import { gridLines, type Grid, type TableKind } from "../results/grid.js";
import { isConvertible } from "./backbone.js";
import type { ZooEntry, ZooScores } from "./entry.js";

const scoreNames = {
  linear: "linear",
  knn: "k-NN",
  zero_shot: "zero-shot",
  top1: "top-1",
} satisfies Partial<Record<keyof ZooScores, string>>;

/** The checkpoints as a table: name, architecture, publisher, size, licence, published accuracy on ImageNet-1k. */
export function formatZoo(entries: ZooEntry[], kind: TableKind = "text"): string {
  const grid: Grid = {
    columns: ["name", "arch", "publisher", "size", "licence", "ImageNet-1k %"].map((name) => ({
      name,
      group: "",
      align: name === "size" ? "right" : "left",
    })),
    rows: entries.map((entry) =>
      [
        entry.name,
        entry.arch,
        entry.publisher,
        entry.bytes === undefined ? "" : sizeOf(entry.bytes),
        entry.licence ?? "not told",
        scoreText(entry.scores),
      ].map((text) => ({ text })),
    ),
  };
  // Without groups of columns their line is empty.
  return [...gridLines(grid, { kind }).filter((line) => line !== ""), "", summary(entries), ""].join("\n");
}

/** The published accuracy that says most of a frozen backbone: `71.1 linear`. */
export function scoreText(scores: ZooScores): string {
  for (const [key, name] of Object.entries(scoreNames)) {
    const score = scores[key as keyof typeof scoreNames];
    if (score !== undefined) return `${score} ${name}`;
  }
  return "";
}

function summary(entries: ZooEntry[]): string {
  const others = [...new Set(entries.filter((entry) => !isConvertible(entry)).map(({ arch }) => arch))].sort();
  const count = `${counted(entries.length, "checkpoint")}.`;
  return others.length === 0 ? count : `${count} This version does not convert yet: ${others.join(", ")}.`;
}
