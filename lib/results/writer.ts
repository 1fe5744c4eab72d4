import path from "node:path";

import { openJsonLines } from "./json-lines.js";
import type { MetricsLine } from "./metrics-line.js";
import { type SeedPredictions, type SeedScores, writePredictions, writeScores } from "./predictions.js";
import type { ResultRecord } from "./record.js";
import { openRunFolder, writeRecord } from "./run-folder.js";
import type { TrialLine } from "./trial-line.js";
import { fileNameOf } from "./wording.js";

/**
 * The folder of one run:
 *
 *     config.yaml                     every setting, defaults filled in
 *     metrics.jsonl                   one line an epoch and group of trials, while training goes
 *     trials.jsonl                    one line a training of a trial, with its curve
 *     studies/<layer>.<head>.jsonl    where a search learnt from its trials: its study, as Optuna keeps one
 *     predictions/<layer>.<head>.csv  what the chosen heads said of each image
 *     heads/<layer>.<head>/           the chosen heads themselves (export-head.ts)
 *     table.md, depth.svg, depth.png  made from the record
 *     sweep.svg, sweep.png            where settings were swept
 *     result.json                     the record; written last, so that where it stands the run is whole
 */
export interface ResultWriter {
  folder: string;
  metrics(line: MetricsLine): void;
  /** The curves of one rung of the sweep. */
  trials(lines: readonly TrialLine[]): void;
  /** Where the study of a head is kept. */
  studyFile(of: { layer: string; head: string }): string;
  /** Where the head of a layer is exported to. */
  headFolder(of: { layer: string; head: string }): string;
  predictions(options: HeadPlace & { seeds: readonly SeedPredictions[] }): Promise<void>;
  /** The same of images with several labels. */
  scores(options: HeadPlace & { seeds: readonly SeedScores[] }): Promise<void>;
  /** Writes the record, its table and its figure. */
  finish(record: ResultRecord): Promise<void>;
  /** To be called in the end, whether the run finished or not. */
  close(): void;
}

interface HeadPlace {
  layer: string;
  head: string;
  classes: readonly string[];
}

export interface ResultWriterOptions {
  /** The folder; made where it is not there. */
  out: string;
  /** The resolved settings, plain values. Leave out what does not change a number (`out`, `quiet`). */
  settings: Record<string, unknown>;
  /** Whole epochs of an earlier run that training goes on from: `metrics.jsonl` is continued after them. Default: 0. */
  epochs?: number;
}

/**
 * Opens the folder of a run. Files of the same configuration are replaced; of another, never.
 *
 * @throws UserError where the folder holds another configuration, or cannot be written.
 */
export async function resultWriter({ out, settings, epochs = 0 }: ResultWriterOptions): Promise<ResultWriter> {
  const inFolder = (...names: string[]) => path.join(out, ...names);
  const predictionsFile = (of: { layer: string; head: string }) => inFolder("predictions", `${fileNameOf(of)}.csv`);
  await openRunFolder({ out, settings });
  const metrics = openJsonLines<MetricsLine>({
    file: inFolder("metrics.jsonl"),
    ...(epochs > 0 && { stays: ({ epoch }) => epoch <= epochs }),
  });
  const trials = openJsonLines<TrialLine>({ file: inFolder("trials.jsonl") });
  return {
    folder: out,
    metrics: (line) => metrics.append([line]),
    trials: (lines) => trials.append(lines),
    studyFile: (of) => inFolder("studies", `${fileNameOf(of)}.jsonl`),
    headFolder: (of) => inFolder("heads", fileNameOf(of)),
    predictions: ({ classes, seeds, ...of }) => writePredictions({ file: predictionsFile(of), classes, seeds }),
    scores: ({ classes, seeds, ...of }) => writeScores({ file: predictionsFile(of), classes, seeds }),
    finish: (record) => writeRecord({ out, record }),
    close: () => {
      metrics.close();
      trials.close();
    },
  };
}
