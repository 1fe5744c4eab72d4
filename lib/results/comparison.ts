import type { McNemar } from "../metrics/paired.js";
import type { LayerResult, ResultRecord, Spread } from "./record.js";

/** One layer under one head of one run. */
export interface ComparedEntry {
  layer: string;
  head: string;
  /** On the reported images, under the record's names; fractions. */
  metrics: Record<string, Spread>;
  /** Wilson's interval at 95 % of the mean top-1 over the reported images; null where there is no top-1. */
  interval: [low: number, high: number] | null;
  /** The selection metric on the images it was chosen on; null where there was nothing to choose. */
  selection: Spread | null;
  chosen: LayerResult["chosen"];
}

export interface ComparedRun {
  /** What tells its folder from the others'. */
  name: string;
  folder: string;
  backbone: ResultRecord["backbone"];
  entries: ComparedEntry[];
  /**
   * The entry of the highest selection metric, not of the highest reported one: that would be chosen on what is told.
   * null where there are several entries and nothing was chosen on other images.
   */
  best: { layer: string; head: string } | null;
}

/** A run beside the reference, on the same images. */
export interface PairedComparison {
  run: string;
  reference: string;
  layer: string;
  head: string;
  referenceLayer: string;
  referenceHead: string;
  /** Of top-1, run less reference; a fraction. Mean over seeds and images. */
  difference: number;
  /** Paired bootstrap over images, percentile interval at 95 %. */
  interval: [low: number, high: number];
  bootstrap: Significance;
  mcNemar: Significance & { bySeed: ({ seed: number; onlyRun: number; onlyReference: number } & Outcome)[] };
}

type Outcome = Pick<McNemar, "method" | "p">;

export interface Significance {
  p: number;
  /** With Holm's correction over all comparisons of its list. */
  corrected: number;
}

/** `compare.json`: runs side by side. Told in docs/compare.md. */
export interface Comparison {
  format: 1;
  protocol: ResultRecord["protocol"];
  data: Pick<ResultRecord["data"], "name" | "digest" | "splits">;
  selection: ResultRecord["selection"];
  /** The metric of tables and figure: that which settings are chosen by. */
  metric: string;
  seeds: number[];
  /** Reported images. */
  images: number;
  runs: ComparedRun[];
  /** Name of the run that the others stand against: of two the first, of more the best by the selection metric. */
  reference: string;
  /** The best of each run against the best of the reference. */
  best: PairedComparison[];
  /** Layers and heads of the same name. */
  layers: PairedComparison[];
  bootstrap: { samples: number; seed: number };
  /** Sentences that a reader should know. */
  notes: string[];
}
