/**
 * Makes faults, and tells what comes of them:
 *
 *     node dist/bench/faults.js [case ...] [--count N]
 *
 * Cases are the names below; all where none is given. `--count` is how often a case is tried where it is tried often.
 * What needs rights that the user lacks says so. The exit code is 1 where something did not come out as promised.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { damage } from "./faults/damage.js";
import { fullDisk, readOnlyFolder } from "./faults/disks.js";
import { decompressionBombs, images } from "./faults/images.js";
import { kills } from "./faults/kills.js";
import { climbingEntries, fileNames, links } from "./faults/names.js";
import { dyingWorker, interruptTwice, jumpingClock, twoProcesses } from "./faults/processes.js";
import { CannotTry, prepare } from "./faults/work.js";
import type { Outcome, Work } from "./faults/work.js";

const cases: Record<string, (work: Work, count?: number) => Promise<Outcome>> = {
  kills,
  "full-disk": fullDisk,
  damage,
  "two-processes": twoProcesses,
  "jumping-clock": jumpingClock,
  "read-only-folder": readOnlyFolder,
  "dying-worker": dyingWorker,
  images,
  "decompression-bombs": decompressionBombs,
  "file-names": fileNames,
  links,
  "climbing-entries": climbingEntries,
  "interrupt-twice": interruptTwice,
};

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ options: { count: { type: "string" } }, allowPositionals: true });
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "frozen-eval-faults-"));
  const work = await prepare(folder, 2600);
  for (const name of positionals.length > 0 ? positionals : Object.keys(cases)) {
    const started = performance.now();
    try {
      const { tried, failed, seen } = await cases[name]!(work, values.count === undefined ? undefined : Number(values.count)); // prettier-ignore
      const seconds = Math.round((performance.now() - started) / 1000);
      console.log(`${name}: ${tried} tried, ${failed.length} failed; ${seen} (${seconds} s)`);
      for (const line of failed) console.log(`  ${line}`);
      if (failed.length > 0) process.exitCode = 1;
    } catch (error) {
      if (!(error instanceof CannotTry)) throw error;
      console.log(`${name}: not tried, ${error.message}`);
    }
  }
  if (process.exitCode !== 1) fs.rmSync(folder, { recursive: true });
}

void main();
