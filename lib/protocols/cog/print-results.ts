import fs from "node:fs/promises";
import path from "node:path";

import { readPickleFile } from "../../checkpoints/plain-pickle.js";
import { UserError } from "../../errors.js";
import { asReadError } from "../../files.js";
import { type Spread, spread } from "../../results/record.js";

/** What the seeds in a folder of CoG's come to, in percent. */
export interface CogResults {
  folder: string;
  /** Names of the seeds' folders that count. */
  seeds: string[];
  top1: Spread;
  top5: Spread;
  /** Why others do not. */
  left: string[];
}

/**
 * Mean and population standard deviation of the last epoch over the folders `seed*`, of CoG's program or ours. A seed
 * counts that has one `final*` folder and as many epochs as are wanted.
 *
 * Source: ImageNet-CoG, `print_results.py` (protocols.md 2.6).
 *
 * @param options.epochs CoG asks for 100.
 * @throws UserError where no seed counts.
 */
export async function cogResults(options: { folder: string; epochs?: number }): Promise<CogResults> {
  const { folder, epochs = 100 } = options;
  const names = await fs.readdir(folder).catch((error: unknown) => {
    throw asReadError(error, folder, "a folder of CoG's results");
  });
  const found: { seed: string; top1: number; top5: number }[] = [];
  const left: string[] = [];
  for (const seed of names.filter((name) => name.startsWith("seed")).sort()) {
    const finals = (await fs.readdir(path.join(folder, seed))).filter((name) => name.startsWith("final"));
    if (finals.length !== 1) {
      left.push(`${seed} has ${finals.length} folders final*`);
      continue;
    }
    const [top1, top5] = await lastOf(path.join(folder, seed, finals[0]!, "logs.pkl"));
    if (top1!.length === epochs) found.push({ seed, top1: top1!.at(-1)!, top5: top5!.at(-1)! });
    else left.push(`${seed} has ${top1!.length} epochs, not ${epochs}`);
  }
  if (found.length === 0) {
    const why = left.length > 0 ? left.join("; ") : "there is none";
    throw new UserError(`Expected finished seeds in ${folder} but ${why}`, {
      hint: "Name the folder that holds seed_22, seed_37, ....",
    });
  }
  const over = (of: "top1" | "top5") => spread(found.map((seed) => seed[of]));
  return { folder, seeds: found.map(({ seed }) => seed), top1: over("top1"), top5: over("top5"), left };
}

/** Test accuracies after each epoch. */
async function lastOf(file: string): Promise<number[][]> {
  const logs = await readPickleFile(file);
  return ["test/top1", "test/top5"].map((key) => {
    const values: unknown = logs instanceof Map ? logs.get(key) : undefined;
    if (isNumbers(values)) return values;
    throw new UserError(`Expected a list of numbers under ${key} in ${file} but received something else`, {
      hint: "It is no logs.pkl of CoG's logistic regression.",
    });
  });
}

function isNumbers(values: unknown): values is number[] {
  return Array.isArray(values) && values.every((value) => typeof value === "number");
}

/** As CoG prints them. */
export function formatCogResults({ folder, seeds, top1, top5, left }: CogResults): string {
  const line = (name: string, { mean, std }: Spread) => `  ${name}: ${mean.toFixed(1)} ± ${std.toFixed(1)}`;
  return [
    `${folder}: ${seeds.length} seeds`,
    line("test/top1", top1),
    line("test/top5", top5),
    ...left.map((reason) => `  left out: ${reason}`),
  ].join("\n");
}
