import { mkdir } from "node:fs/promises";
import path from "node:path";

import { parse, stringify } from "yaml";

import { show, UserError } from "../errors.js";
import { asWriteError, digestOf, exists, readText, writeFileAtomic, writeJson } from "../files.js";
import { firstDifference } from "./difference.js";
import { depthFigure } from "./figure.js";
import { openJsonLines } from "./json-lines.js";
import type { MetricsLine } from "./metrics-line.js";
import { type SeedPredictions, type SeedScores, writePredictions, writeScores } from "./predictions.js";
import { parseRecord, type ResultRecord } from "./record.js";
import { sweepFigure } from "./heat-map.js";
import { formatTable } from "./table.js";
import type { TrialLine } from "./trial-line.js";
import { fileNameOf } from "./wording.js";

/**
 * The folder of one run:
 *
 *     config.yaml                     every setting, defaults filled in
 *     metrics.jsonl                   one line an epoch and group of trials, while training goes
 *     trials.jsonl                    one line a training of a trial, with its curve
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
  await refuseOtherConfiguration(out, settings);
  await mkdir(out, { recursive: true }).catch((error: unknown) => {
    throw asWriteError(error, out);
  });
  await writeFileAtomic(inFolder("config.yaml"), `# The resolved configuration of this run.\n${stringify(settings)}`);
  const metrics = openJsonLines<MetricsLine>({
    file: inFolder("metrics.jsonl"),
    ...(epochs > 0 && { stays: ({ epoch }) => epoch <= epochs }),
  });
  const trials = openJsonLines<TrialLine>({ file: inFolder("trials.jsonl") });
  return {
    folder: out,
    metrics: (line) => metrics.append([line]),
    trials: (lines) => trials.append(lines),
    headFolder: (of) => inFolder("heads", fileNameOf(of)),
    predictions: ({ classes, seeds, ...of }) => writePredictions({ file: predictionsFile(of), classes, seeds }),
    scores: ({ classes, seeds, ...of }) => writeScores({ file: predictionsFile(of), classes, seeds }),
    finish: async (record) => {
      parseRecord(record, "of this run");
      const { svg, png } = await depthFigure(record);
      const sweep = await sweepFigure(record);
      await writeFileAtomic(inFolder("table.md"), formatTable(record, { kind: "markdown" }));
      await writeFileAtomic(inFolder("depth.svg"), svg);
      await writeFileAtomic(inFolder("depth.png"), png);
      if (sweep) {
        await writeFileAtomic(inFolder("sweep.svg"), sweep.svg);
        await writeFileAtomic(inFolder("sweep.png"), sweep.png);
      }
      await writeJson(inFolder("result.json"), record);
    },
    close: () => {
      metrics.close();
      trials.close();
    },
  };
}

async function refuseOtherConfiguration(out: string, settings: Record<string, unknown>): Promise<void> {
  const file = path.join(out, "config.yaml");
  const hint = "Choose another folder with --out, or remove this one.";
  if (!(await exists(file))) {
    if (!(await exists(path.join(out, "result.json")))) return;
    throw new UserError(`Expected config.yaml beside result.json in ${out} but there is none`, { hint });
  }
  const there = await readConfiguration(file);
  const here = plain(settings);
  if (digestOf(there) === digestOf(here)) return;
  const { key, a, b } = firstDifference(there, here) ?? { key: "the file", a: there, b: here };
  throw new UserError(
    `Expected ${out} to hold this configuration but it holds another: ${key} is ${show(a)} there and ${show(b)} here`,
    { hint },
  );
}

async function readConfiguration(file: string): Promise<unknown> {
  const text = await readText(file, "the configuration of a run");
  try {
    return plain(parse(text));
  } catch (error) {
    throw new UserError(`Expected YAML for the configuration ${file} but received text that does not parse`, {
      hint: "Choose another folder with --out.",
      cause: error,
    });
  }
}

/** As JSON has it: no undefined keys, no NaN. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value ?? null)) as unknown;
}
