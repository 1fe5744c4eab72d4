/**
 * Reads mutated checkpoints, of which each must come out as tensors or as a sentence for the user, soon and in little
 * memory:
 *
 *     node dist/bench/fuzz-checkpoints.js [--format torch-zip] [--files 100000] [--seed 1] [--seconds 600]
 *
 * The files are bit flips, changed bytes and lengths, cuts, repetitions and splices of small whole ones; in archives
 * also of one file within, with its checksum made anew. What fails is kept, with its address.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { mutated, mutatedInside } from "../__tests__/checkpoints/mutations.js";
import { seeds } from "../__tests__/checkpoints/seeds.js";
import { goldenPath } from "../__tests__/golden.js";
import { readCheckpoint } from "../lib/checkpoints/checkpoint.js";
import { readOnnx } from "../lib/checkpoints/onnx/model.js";
import type { TensorEntry } from "../lib/checkpoints/tensor.js";
import { traceOnnx } from "../lib/convert/onnx/graph.js";
import { UserError } from "../lib/errors.js";
import { random } from "../lib/random.js";

const mostSeconds = 5;
const mostBytes = 1.5e9;

interface Format {
  /** Small whole files. */
  originals: () => Buffer[];
  /** Reads a file as far as it goes. */
  read: (file: string) => Promise<void>;
}

const formats: Record<string, Format> = {
  ...Object.fromEntries(Object.entries(seeds).map(([name, originals]) => [name, { originals, read: readTensors }])),
  onnx: { originals: networks, read: readNetwork },
};

async function readTensors(file: string): Promise<void> {
  await readAll((await readCheckpoint({ file })).tensors);
}

/** Of each operator, one; it is also written as a graph. */
function networks(): Buffer[] {
  const { cases } = JSON.parse(fs.readFileSync(goldenPath("onnx/operators.json"), "utf8")) as {
    cases: { model: string }[];
  };
  return cases.map(({ model }) => Buffer.from(model, "base64"));
}

async function readNetwork(file: string): Promise<void> {
  const model = await readOnnx({ file });
  await readAll(model.initializers);
  await traceOnnx({ model, taps: ["y"] });
}

async function readAll(tensors: ReadonlyMap<string, TensorEntry>): Promise<void> {
  for (const tensor of tensors.values()) await tensor.read();
}

interface Outcome {
  files: number;
  refused: number;
  failed: number;
  slowest: number;
  seconds: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      format: { type: "string" },
      files: { type: "string", default: "100000" },
      seed: { type: "string", default: "1" },
      seconds: { type: "string", default: "600" },
    },
  });
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "frozen-eval-fuzz-"));
  for (const format of values.format ? [values.format] : Object.keys(formats)) {
    const options = { format, folder, files: Number(values.files), seed: values.seed, limit: Number(values.seconds) };
    const { files, refused, failed, slowest, seconds } = await fuzz(options);
    const memory = process.resourceUsage().maxRSS / 1024;
    console.log(
      `${format}: ${files} files in ${seconds.toFixed(0)} s, ${files - refused - failed} read, ${refused} refused, ` +
        `${failed} failed; the slowest ${slowest.toFixed(2)} s; at most ${memory.toFixed(0)} MB`,
    );
    if (failed > 0 || memory * 1024 * 1024 > mostBytes) process.exitCode = 1;
  }
  if (process.exitCode === undefined) fs.rmSync(folder, { recursive: true });
}

async function fuzz(options: {
  format: string;
  folder: string;
  files: number;
  seed: string;
  limit: number;
}): Promise<Outcome> {
  const { format, folder, files, seed, limit } = options;
  const { read } = formats[format]!;
  const originals = formats[format]!.originals();
  const chance = random(seed, "fuzz", format);
  const file = path.join(folder, `${format}.bin`);
  const began = performance.now();
  const outcome: Outcome = { files: 0, refused: 0, failed: 0, slowest: 0, seconds: 0 };
  while (outcome.files < files && outcome.seconds < limit) {
    const original = originals[chance.integer(originals.length)]!;
    const inside = format.endsWith("z") || format.endsWith("zip") ? chance.integer(2) === 0 : false;
    const bytes = inside ? mutatedInside(original, chance) : mutated(original, chance);
    fs.writeFileSync(file, bytes);
    const start = performance.now();
    let error: unknown;
    try {
      await read(file);
    } catch (reason) {
      error = reason;
    }
    const took = (performance.now() - start) / 1000;
    outcome.files++;
    outcome.slowest = Math.max(outcome.slowest, took);
    outcome.seconds = (performance.now() - began) / 1000;
    if (error instanceof UserError) outcome.refused++;
    if ((error !== undefined && !(error instanceof UserError)) || took > mostSeconds) {
      outcome.failed++;
      const kept = path.join(folder, `${format}-${outcome.files}.failed`);
      fs.writeFileSync(kept, bytes);
      console.log(kept, took, error);
    }
  }
  return outcome;
}

void main();
