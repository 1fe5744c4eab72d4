/**
 * Batches of noise through a backbone, decoding aside: in one process and in as many as there are cores, in turns.
 *
 *     node dist/bench/processes.js [--backbone DIR] [--device wasm] [--processes 2] [--batch 4] [--batches 8] [--rounds 5]
 *
 * Beside the clock stands what also holds on a machine that has other work: the processor time of an image, of all
 * processes together, this one among them, and how much of the time the processes were busy.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { prepareBackend, type Device } from "../lib/backend/backend.js";
import { loadBackbone } from "../lib/backbones/backbone.js";
import { parseLayers } from "../lib/backbones/layers.js";
import { convertCheckpoint } from "../lib/convert/convert.js";
import { startExtractors } from "../lib/features/extraction-processes.js";
import type { FeatureExtractor } from "../lib/features/feature-extractor.js";
import { bytes } from "../lib/progress.js";
import { random } from "../lib/random.js";
import { zooCheckpoint } from "../lib/zoo/checkpoint.js";
import { peakOf, processesOf, processorSeconds, runnableSeconds } from "./memory.js";
import { median } from "./peer.js";

const program = "extraction-process.js";

interface Run {
  rate: number;
  /** Seconds of processor time an image. */
  cost: number;
  /** Share of the time in which the processes computed, or waited for a processor that others had. */
  busy: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      backbone: { type: "string" },
      device: { type: "string", default: "wasm" },
      processes: { type: "string", default: String(os.availableParallelism()) },
      batch: { type: "string", default: "4" },
      batches: { type: "string", default: "8" },
      rounds: { type: "string", default: "5" },
    },
  });
  const [most, batch, batches, rounds] = [values.processes, values.batch, values.batches, values.rounds].map(Number) as [number, number, number, number]; // prettier-ignore
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "frozen-eval-bench-"));
  const opened: FeatureExtractor[] = [];
  try {
    const dir = values.backbone ?? (await efficientNet(folder));
    const backend = await prepareBackend({ device: values.device as Device });
    const backbone = await loadBackbone({ dir });
    const layers = parseLayers({ text: "all", taps: backbone.taps });
    const { height, width } = backbone.manifest.input;
    const stream = random(0, "noise");
    const pixels = Float32Array.from({ length: batch * height * width * 3 }, () => stream.normal());
    const shape: [number, number, number, number] = [batch, height, width, 3];

    const pass = async (extractor: FeatureExtractor, count: number) => {
      const begun: Promise<unknown>[] = [];
      for (let left = count; left > 0; left--) {
        begun.push(extractor.extract({ pixels, shape }));
        if (begun.length >= extractor.atOnce) await begun.shift();
      }
      await Promise.all(begun);
    };
    const runs: { count: number; extractor: FeatureExtractor; runs: Run[] }[] = [];
    for (const count of [1, most]) {
      const extractor = await startExtractors({ backbone, layers, count, backend });
      opened.push(extractor);
      runs.push({ count, extractor, runs: [] });
      await pass(extractor, 2 * count);
    }
    for (let round = 0; round < rounds; round++) {
      for (const { count, extractor, runs: measured } of runs) {
        const workers = processesOf(program);
        const [clock, processor, runnable] = [performance.now(), processorSeconds(), runnableSeconds(workers)];
        await pass(extractor, batches * count);
        const images = batches * count * batch;
        const seconds = (performance.now() - clock) / 1000;
        const busy = (runnableSeconds(workers) - runnable) / seconds / count;
        measured.push({ rate: images / seconds, cost: (processorSeconds() - processor) / images, busy });
      }
    }
    console.log(`${backbone.manifest.arch}, ${layers.length} layers, batches of ${batch}, on ${values.device}; load ${os.loadavg()[0]!.toFixed(1)}`); // prettier-ignore
    for (const { count, runs: measured } of runs) {
      const [rate, cost, busy] = (["rate", "cost", "busy"] as const).map((key) => median(measured.map((run) => run[key]))) as [number, number, number]; // prettier-ignore
      console.log(`${count} process${count === 1 ? "  " : "es"}  ${rate.toFixed(1)} images/s, ${(1000 * cost).toFixed(1)} ms of processor time an image, busy ${(100 * busy).toFixed(0)} % of the time`); // prettier-ignore
    }
    const ratio = (of: (one: Run, all: Run) => number) =>
      median(runs[0]!.runs.map((one, i) => of(one, runs[1]!.runs[i]!))).toFixed(2);
    console.log(`of ${most} times the rate of one: ${ratio((one, all) => all.rate / one.rate / most)} by the clock, ${ratio((one, all) => one.cost / all.cost)} by processor time`); // prettier-ignore
    console.log(`peak memory of a process: ${processesOf(program).map((pid) => bytes(peakOf(pid))).join(", ")}; of this one ${bytes(peakOf())}`); // prettier-ignore
  } finally {
    opened.forEach((extractor) => extractor.close());
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function efficientNet(folder: string): Promise<string> {
  const checkpoint = await zooCheckpoint({ name: "efficientnet-lite0" });
  return (await convertCheckpoint({ file: checkpoint, out: folder, title: "bench" })).dir;
}

void main();
