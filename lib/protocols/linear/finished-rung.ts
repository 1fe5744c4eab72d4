import path from "node:path";

import { digestOf, exists, readJson, writeJson } from "../../files.js";
import type { Rung } from "../../search/rungs.js";
import type { Score } from "../../training/judging.js";
import { asPlainReport, fromPlainReport, type PlainReport } from "../../training/plain-report.js";
import type { EpochReport } from "../../training/trainer.js";

/** What came of one setting of one head. */
export interface Outcome {
  /** The selection metric by seed, in the last rung that it was trained in; undefined where nothing was chosen. */
  scores?: number[];
  /** For some seed. */
  diverged: boolean;
  /** Epochs of the last rung that it was trained in. */
  epochsRun: number;
  /** Whether its loss on the sample moved by less than a hundredth in the last epoch, for every seed. */
  settled: boolean;
  /** Epoch after which L-BFGS had reached its tolerance for every seed. */
  solved?: number;
}

/** What a rung came to; plain data. Positions are those among the survivors. */
export interface FinishedRung {
  /** `[seed][head][trial]`; undefined where there is nothing to choose. */
  scores?: Score[][][];
  diverged: boolean[][][];
  reports: EpochReport[];
}

/** Which rung it is: what it trains, how, and its number. */
export interface RungPlace {
  survivors: number[][];
  rung: Rung;
  index: number;
}

/** The epochs of one trial: one that trains after others tells its own after theirs. */
export function reportsOf({ reports }: FinishedRung, h: number, i: number): EpochReport[] {
  return reports.filter(({ losses }) => losses[0]![h]![i] !== undefined);
}

export function outcomeOf(found: FinishedRung, { epochs }: Rung, h: number, i: number): Outcome {
  const { scores, diverged } = found;
  const lossesOf = (report: EpochReport | undefined) => report?.losses.map((ofSeed) => ofSeed[h]![i] ?? NaN);
  const own = reportsOf(found, h, i);
  const [before, last] = [lossesOf(own.at(-2)), lossesOf(own.at(-1))];
  const solved = own.flatMap(({ epoch, rested = [] }) =>
    rested.filter(({ head, trial }) => head === h && trial === i).map(() => epoch),
  );
  return {
    ...(solved.length > 0 && solved.length === last!.length && { solved: Math.max(...solved) }),
    scores: scores?.map((ofSeed) => ofSeed[h]![i]!.metric),
    diverged: diverged.some((ofSeed) => ofSeed[h]![i]!),
    epochsRun: epochs,
    settled: last!.every((loss, s) => Math.abs(loss - (before ?? last!)[s]!) < 0.01 * (before ?? last!)[s]!),
  };
}

/** Digest of all that the training of a rung depends on. */
export function rungKey({ key }: { key: string }, { survivors, rung, index }: RungPlace): string {
  return digestOf({ state: 3, key, survivors, rung, index });
}

/** A rung that an earlier run has finished, as it was. */
export async function savedRung(
  run: { folder?: string; key: string },
  place: RungPlace,
): Promise<FinishedRung | undefined> {
  const file = rungFile(run, place);
  if (file === undefined || !(await exists(file))) return undefined;
  const { key, found } = (await readJson(file, "a rung of the sweep")) as {
    key: string;
    found: Omit<FinishedRung, "reports"> & { reports: PlainReport[] };
  };
  if (key !== rungKey(run, place)) return undefined;
  const scores = found.scores && withScores(found.scores, Number);
  return { ...found, scores, reports: found.reports.map(fromPlainReport) };
}

export async function saveRung(
  run: { folder?: string; key: string },
  place: RungPlace,
  found: FinishedRung,
): Promise<void> {
  const file = rungFile(run, place);
  if (file === undefined) return;
  const reports = found.reports.map(asPlainReport);
  const scores = found.scores && withScores(found.scores, String);
  await writeJson(file, { key: rungKey(run, place), found: { ...found, scores, reports } });
}

function rungFile({ folder }: { folder?: string }, { index }: RungPlace): string | undefined {
  return folder && path.join(folder, `rung${index}.json`);
}

/** JSON knows no NaN. */
function withScores<A, B>(
  scores: Record<"metric" | "loss", A>[][][],
  convert: (value: A) => B,
): Record<"metric" | "loss", B>[][][] {
  return scores.map((ofSeed) =>
    ofSeed.map((ofHead) => ofHead.map(({ metric, loss }) => ({ metric: convert(metric), loss: convert(loss) }))),
  );
}
