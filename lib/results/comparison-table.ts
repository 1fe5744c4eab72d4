import type { ComparedRun, Comparison, PairedComparison } from "./comparison.js";
import { type Grid, gridLines } from "./grid.js";
import { layersOfRun, mergeLayers } from "./layer-order.js";
import type { TableOptions } from "./table.js";
import {
  capitalised,
  decimalsOf,
  headTitle,
  metricTitle,
  percent,
  seedsText,
  selectionText,
  settingText,
  splitsText,
  spreadText,
} from "./wording.js";

/**
 * Runs side by side: the best of each, every layer and head, and the paired tests; beneath, what the numbers mean and
 * what a reader should know.
 */
export function formatComparison(comparison: Comparison, { kind, color = false }: TableOptions): string {
  const { runs, data, protocol, best, layers } = comparison;
  const lines = (grid: Grid) => gridLines(grid, { kind, color });
  const heading = (text: string) => (kind === "markdown" ? `**${text}**` : text);
  const tests = (title: string, of: PairedComparison[]) =>
    of.length === 0 ? [] : [heading(title), "", ...lines(testsGrid(comparison, of)), ""];
  const { reference } = comparison;
  return [
    heading(`${runs.length} runs on ${data.name} (${protocol.id} v${protocol.version})`),
    "",
    ...lines(runsGrid(comparison)),
    "",
    ...lines(layersGrid(comparison)),
    "",
    ...tests(`The best of each run against the best of ${reference}`, best),
    ...tests(`The same layers and heads against those of ${reference}`, layers),
    ...explanations(comparison).map((text) => (kind === "markdown" ? `- ${text}` : text)),
    "",
  ].join("\n");
}

function metricsOf({ runs, metric }: Comparison): string[] {
  const all = new Set(runs.flatMap(({ entries }) => entries.flatMap(({ metrics }) => Object.keys(metrics))));
  return [metric, ...[...all].filter((name) => name !== metric)];
}

function runsGrid(comparison: Comparison): Grid {
  const { runs } = comparison;
  const decimals = decimalsOf(comparison);
  const metrics = metricsOf(comparison);
  const intervals = runs.some(({ entries }) => entries.some(({ interval }) => interval !== null));
  return {
    columns: [
      { name: "run", group: "", align: "left" },
      { name: "backbone", group: "", align: "left" },
      { name: "layer", group: "best", align: "left" },
      { name: "head", group: "best", align: "left" },
      ...metrics.map((name) => ({ name: `${metricTitle(name)} %`, group: "best", align: "right" as const })),
      ...(intervals ? [{ name: "95 % of top-1", group: "best", align: "right" as const }] : []),
      { name: "chosen", group: "best", align: "left" },
    ],
    rows: runs.map((run) => {
      const entry = run.entries.find(({ layer, head }) => layer === run.best?.layer && head === run.best.head);
      const measured = metrics.map((name) => entry?.metrics[name]);
      return [
        run.name,
        backboneText(run),
        entry?.layer ?? "",
        entry ? headTitle(entry.head) : "",
        ...measured.map((spread) => (spread ? spreadText(spread, decimals) : "")),
        ...(intervals ? [entry?.interval ? rangeText(entry.interval, decimals) : ""] : []),
        entry ? settingText(entry.chosen) : "",
      ].map((text) => ({ text }));
    }),
  };
}

function backboneText({ backbone }: ComparedRun): string {
  if (backbone === null) return "own features";
  return backbone.title === backbone.arch ? backbone.arch : `${backbone.arch} (${backbone.title})`;
}

function layersGrid(comparison: Comparison): Grid {
  const { runs, metric } = comparison;
  const decimals = decimalsOf(comparison);
  const orders = runs.map(layersOfRun);
  const layers = mergeLayers(orders) ?? [...new Set(orders.flat())];
  const heads = [...new Set(runs.flatMap(({ entries }) => entries.map(({ head }) => head)))];
  const rows = layers.flatMap((layer) => heads.map((head) => ({ layer, head })));
  const entryOf = (run: ComparedRun, row: { layer: string; head: string }) =>
    run.entries.find(({ layer, head }) => layer === row.layer && head === row.head);
  return {
    columns: [
      { name: "layer", group: "", align: "left" },
      { name: "head", group: "", align: "left" },
      ...runs.map(({ name }) => ({ name, group: `${metricTitle(metric)} %`, align: "right" as const })),
    ],
    rows: rows
      .filter((row) => runs.some((run) => entryOf(run, row)))
      .map((row) => [
        { text: row.layer },
        { text: headTitle(row.head) },
        ...runs.map((run) => {
          const measured = entryOf(run, row)?.metrics[metric];
          const best = run.best?.layer === row.layer && run.best.head === row.head;
          return { text: measured ? spreadText(measured, decimals) : "", best };
        }),
      ]),
  };
}

function testsGrid(comparison: Comparison, tests: PairedComparison[]): Grid {
  const decimals = decimalsOf(comparison);
  const several = tests.length > 1;
  const other = tests.some((one) => one.layer !== one.referenceLayer || one.head !== one.referenceHead);
  const pColumns = (group: string): Grid["columns"] => [
    { name: "p", group, align: "right" },
    ...(several ? [{ name: "Holm", group, align: "right" as const }] : []),
  ];
  const pTexts = ({ p, corrected }: { p: number; corrected: number }) => [
    pText(p),
    ...(several ? [pText(corrected)] : []),
  ];
  return {
    columns: [
      { name: "run", group: "", align: "left" },
      { name: "layer", group: "", align: "left" },
      { name: "head", group: "", align: "left" },
      ...(other ? [{ name: "against", group: "", align: "left" as const }] : []),
      { name: "difference", group: "paired bootstrap", align: "right" },
      { name: "95 %", group: "paired bootstrap", align: "right" },
      ...pColumns("paired bootstrap"),
      { name: "alone right", group: "McNemar", align: "right" },
      ...pColumns("McNemar"),
    ],
    rows: tests.map((one) => {
      const { bySeed } = one.mcNemar;
      const alone = [bySeed.map(({ onlyRun }) => onlyRun), bySeed.map(({ onlyReference }) => onlyReference)];
      return [
        one.run,
        one.layer,
        headTitle(one.head),
        ...(other ? [`${one.referenceLayer} ${headTitle(one.referenceHead)}`] : []),
        signed(one.difference, decimals),
        rangeText(one.interval, decimals, signed),
        ...pTexts(one.bootstrap),
        alone.map((counts) => counts.reduce((sum, count) => sum + count, 0)).join(" : "),
        ...pTexts(one.mcNemar),
      ].map((text) => ({ text }));
    }),
  };
}

function explanations(comparison: Comparison): string[] {
  const { best, layers, notes, images, bootstrap, reference, runs, seeds } = comparison;
  const repeated = seeds.length > 1;
  const chosen = [
    capitalised(selectionText(comparison)),
    `${seedsText(comparison)}${repeated ? " (± population standard deviation)" : ""}`,
    splitsText(comparison),
  ].join("; ");
  const lines = [`${chosen}.`];
  if (runs.some((run) => run.best !== null && run.entries.length > 1)) {
    lines.push("* The best of a run: the highest where settings were chosen, not on the reported images.");
  }
  if (runs.some(({ entries }) => entries.some(({ interval }) => interval !== null))) {
    lines.push(
      `"95 % of top-1": Wilson's interval of ${images.toLocaleString("en-US")} images, for one classifier by itself.`,
    );
  }
  if (best.length + layers.length > 0) {
    lines.push(
      `Differences: top-1 of the run less that of ${reference}, in points. Bootstrap over the same images, ` +
        `${bootstrap.samples.toLocaleString("en-US")} samples, seed ${bootstrap.seed}: what other images would do; ` +
        `what training again would do, the ± tells.`,
      `McNemar: images that only the run : only ${reference} is right on${repeated ? ", of all seeds; tested for each seed, and the p-values combined for any dependence between them" : ""}.`,
    );
    if (best.length > 1 || layers.length > 1) lines.push("Holm: p corrected for all tests of its table.");
  }
  return [...lines, ...notes];
}

function rangeText([low, high]: [number, number], decimals: number, text = percent): string {
  return `${text(low, decimals)} … ${text(high, decimals)}`;
}

function signed(share: number, decimals: number): string {
  const text = percent(share, decimals);
  return Number(text) === 0 ? text.replace("-", "") : share > 0 ? `+${text}` : text;
}

function pText(p: number): string {
  return p < 0.001 ? "<0.001" : p.toFixed(3);
}
