import { combineDependent, holm, mcNemar, pairedBootstrap } from "../metrics/paired.js";
import { type Progress, silent } from "../progress.js";
import { answersOf, type Images, sameImages } from "./answers.js";
import { refuseIncomparable } from "./comparability.js";
import { bestBySelection, comparedRun, isSingleLabel, metricOf, openRuns, type Run } from "./compared-run.js";
import type { Comparison, PairedComparison } from "./comparison.js";
import { notesOn } from "./comparison-notes.js";
import type { LayerResult } from "./record.js";

export interface CompareOptions {
  /** Folders of two runs or more, or their `result.json`. */
  runs: string[];
  /** Of the bootstrap. Default: 0. */
  seed?: number;
  progress?: Progress;
}

const samples = 10_000;

/**
 * Sets runs of one protocol on the same images side by side: every layer and head with its spread over seeds, and
 * paired tests of their differences (`metrics/paired.ts`). The bootstrap takes for each image the share of seeds that
 * are right; McNemar's test is made for each seed, and its p-values are combined without taking the seeds for
 * independent.
 *
 * @throws UserError where fewer than two runs or one run twice are given, one has no result or predictions, or they
 * differ in data, classes, splits, reported images, seeds, selection, protocol or a setting that changes what a number
 * means.
 */
export async function compareRuns({ runs: places, seed = 0, progress = silent }: CompareOptions): Promise<Comparison> {
  const runs = await openRuns(places);
  const first = runs[0]!;
  for (const run of runs) refuseIncomparable(first, run);
  const { protocol, data, selection, seeds } = first.record;
  const images = await sameImages(runs);
  const notes = notesOn(runs);
  const reference = referenceOf(runs, notes);
  const others = runs.filter((run) => run !== reference);
  const bestPairs = others.flatMap((run) => bestPair(run, reference));
  const layerPairs = others.flatMap((run) => layerPairsOf(run, reference));
  const test = async (label: string, pairs: Pair[]) => {
    // Without single labels there are neither images to align nor pairs to test.
    if (!images) return [];
    const task = progress.task({ label, total: pairs.length, unit: "pairs" });
    try {
      const tested: PairedComparison[] = [];
      for (const pair of pairs) {
        tested.push(await testPair(pair, images, seed));
        task.advance(1);
      }
      return corrected(tested);
    } finally {
      task.end();
    }
  };
  const [best, layers] = [await test("compare the best", bestPairs), await test("compare layers", layerPairs)];
  return {
    format: 1,
    protocol,
    data: { name: data.name, digest: data.digest, splits: data.splits },
    selection,
    metric: metricOf(first.record),
    seeds,
    images: data.splits[selection.reportedOn]!,
    runs: runs.map(comparedRun),
    reference: reference.name,
    best,
    layers,
    bootstrap: { samples, seed },
    notes,
  };
}

function referenceOf(runs: Run[], notes: string[]): Run {
  if (runs.length === 2) return runs[0]!;
  const chosen = runs.map(({ record }) => bestBySelection(record)?.selection?.mean);
  if (chosen.some((score) => score === undefined)) {
    notes.push(
      `Nothing was chosen on images that are not reported, so the others stand against the first run, ${runs[0]!.name}.`,
    );
    return runs[0]!;
  }
  return runs[chosen.indexOf(Math.max(...chosen.map((score) => score!)))]!;
}

interface Pair {
  run: Run;
  entry: LayerResult;
  reference: Run;
  same: LayerResult;
}

function bestPair(run: Run, reference: Run): Pair[] {
  const [entry, same] = [bestBySelection(run.record), bestBySelection(reference.record)];
  return entry && same && isSingleLabel(entry) && isSingleLabel(same) ? [{ run, entry, reference, same }] : [];
}

/** Layers and heads of the same name. */
function layerPairsOf(run: Run, reference: Run): Pair[] {
  return run.record.results.flatMap((entry) => {
    const same = reference.record.results.find(({ layer, head }) => layer === entry.layer && head === entry.head);
    return same && isSingleLabel(entry) && isSingleLabel(same) ? [{ run, entry, reference, same }] : [];
  });
}

async function testPair(pair: Pair, images: Images, seed: number): Promise<PairedComparison> {
  const { run, entry, reference, same } = pair;
  const ofRun = await answersOf(run, entry, images);
  const ofReference = await answersOf(reference, same, images);
  const seeds = [...run.record.seeds].sort((a, b) => a - b);
  const differences = Float64Array.from({ length: images.places.size }, (_, i) => {
    const ahead = ofRun.reduce((sum, right, s) => sum + right[i]! - ofReference[s]![i]!, 0);
    return ahead / seeds.length;
  });
  const { difference, interval, p } = pairedBootstrap({ differences, seed, samples });
  const bySeed = seeds.map((of, s) => {
    const { onlyFirst, onlySecond, ...outcome } = mcNemar({ first: ofRun[s]!, second: ofReference[s]! });
    return { seed: of, onlyRun: onlyFirst, onlyReference: onlySecond, ...outcome };
  });
  const combined = combineDependent(bySeed.map((one) => one.p));
  return {
    run: run.name,
    reference: reference.name,
    layer: entry.layer,
    head: entry.head,
    referenceLayer: same.layer,
    referenceHead: same.head,
    difference,
    interval,
    bootstrap: { p, corrected: p },
    mcNemar: { p: combined, corrected: combined, bySeed },
  };
}

function corrected(comparisons: PairedComparison[]): PairedComparison[] {
  const bootstrap = holm(comparisons.map((one) => one.bootstrap.p));
  const byMcNemar = holm(comparisons.map((one) => one.mcNemar.p));
  return comparisons.map((one, i) => ({
    ...one,
    bootstrap: { ...one.bootstrap, corrected: bootstrap[i]! },
    mcNemar: { ...one.mcNemar, corrected: byMcNemar[i]! },
  }));
}
