import { mkdir } from "node:fs/promises";
import path from "node:path";

import { parse, stringify } from "yaml";

import { show, UserError } from "../errors.js";
import { asWriteError, digestOf, exists, readText, writeFileAtomic, writeJson } from "../files.js";
import { classCsv, hasClasses } from "./class-table.js";
import { firstDifference } from "./difference.js";
import { depthFigure } from "./figure.js";
import { sweepFigure } from "./heat-map.js";
import { lowShotFigure } from "./low-shot-figure.js";
import { lowShotCsv, lowShotResults } from "./low-shot-table.js";
import { parseRecord, type ResultRecord } from "./record.js";
import { formatTable } from "./table.js";

/**
 * Makes the folder of a run, with `config.yaml` in it: every setting, defaults filled in. A folder of the same
 * configuration is gone on with, one of another never.
 *
 * @param options.settings plain values. Leave out what does not change a number (`out`, `quiet`).
 * @throws UserError where the folder holds another configuration, or cannot be written.
 */
export async function openRunFolder(options: { out: string; settings: Record<string, unknown> }): Promise<void> {
  const { out, settings } = options;
  await refuseOtherConfiguration(out, settings);
  await mkdir(out, { recursive: true }).catch((error: unknown) => {
    throw asWriteError(error, out);
  });
  const text = `# The resolved configuration of this run.\n${stringify(settings)}`;
  await writeFileAtomic(path.join(out, "config.yaml"), text);
}

/** Writes `result.json`, and before it all that is made from the record: tables and figures. */
export async function writeRecord({ out, record }: { out: string; record: ResultRecord }): Promise<void> {
  const inFolder = (name: string) => path.join(out, name);
  parseRecord(record, "of this run");
  const { svg, png } = await depthFigure(record);
  const sweep = await sweepFigure(record);
  await writeFileAtomic(inFolder("table.md"), formatTable(record, { kind: "markdown" }));
  if (hasClasses(record)) await writeFileAtomic(inFolder("table.csv"), classCsv(record));
  await writeFileAtomic(inFolder("depth.svg"), svg);
  await writeFileAtomic(inFolder("depth.png"), png);
  if (lowShotResults(record).length > 0) {
    const { svg, png } = await lowShotFigure(record);
    await writeFileAtomic(inFolder("low_shot.svg"), svg);
    await writeFileAtomic(inFolder("low_shot.png"), png);
    await writeFileAtomic(inFolder("low_shot.csv"), lowShotCsv(record));
  }
  if (sweep) {
    await writeFileAtomic(inFolder("sweep.svg"), sweep.svg);
    await writeFileAtomic(inFolder("sweep.png"), sweep.png);
  }
  await writeJson(inFolder("result.json"), record);
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
