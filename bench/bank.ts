/**
 * Thirty trials of a linear head on stored features, beside a PyTorch loop over the same trials, in turns:
 *
 *     node dist/bench/bank.js [--python python3] [--images 8192] [--width 1280] [--classes 10,100] [--rounds 3]
 */
import os from "node:os";
import { parseArgs } from "node:util";

import { prepareBackend } from "../lib/backend/backend.js";
import { arraySource } from "../lib/features/array-source.js";
import type { FeatureSource } from "../lib/features/source.js";
import { createHeadBank } from "../lib/heads/bank.js";
import { initialWeights } from "../lib/heads/head.js";
import { bytes, silent } from "../lib/progress.js";
import { trainBank } from "../lib/protocols/training.js";
import { random } from "../lib/random.js";
import { median, openPeer, peakMemory } from "./peer.js";

const trials = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3].flatMap((lr) =>
  [0, 1e-5, 1e-4, 5e-4, 1e-3].map((weightDecay) => ({ lr, weightDecay })),
);
const batchSize = 256;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      python: { type: "string", default: "python3" },
      images: { type: "string", default: "8192" },
      width: { type: "string", default: "1280" },
      classes: { type: "string", default: "10,100" },
      rounds: { type: "string", default: "3" },
      device: { type: "string", default: "native" },
    },
  });
  const [images, width, rounds] = [Number(values.images), Number(values.width), Number(values.rounds)];
  const { device, tensorflow } = await prepareBackend({ device: values.device as "native" | "wasm" });
  const args = ["--images", String(images), "--width", String(width), "--threads", String(os.availableParallelism())];
  const peer = openPeer({ python: values.python, script: "bank.py", args });
  console.log(`${images} × ${width} features, ${trials.length} trials, batches of ${batchSize}`);
  console.log(`${device} ${tensorflow ?? ""} beside ${await peer.next()}`);
  const steps = Math.ceil(images / batchSize);
  for (const classes of values.classes.split(",").map(Number)) {
    const source = await randomFeatures(images, width, classes);
    const own: number[] = [];
    const theirs: Record<string, { seconds: number; memory: number }[]> = { indexed: [], dataloader: [] };
    await epoch(source, width, classes);
    for (let round = 0; round < rounds; round++) {
      for (const [mode, answers] of Object.entries(theirs)) {
        own.push(await epoch(source, width, classes));
        answers.push(JSON.parse(await peer.ask(`${mode} ${classes}`)) as { seconds: number; memory: number });
      }
    }
    await source.close();
    const ours = median(own);
    const perStep = (seconds: number) => `${((1000 * seconds) / steps).toFixed(2)} ms a step of all trials`;
    console.log(`${classes} classes`);
    console.log(`  frozen-eval         ${perStep(ours)}, peak memory ${bytes(peakMemory())}`);
    for (const [mode, answers] of Object.entries(theirs)) {
      const seconds = median(answers.map((answer) => answer.seconds));
      const memory = bytes(Math.max(...answers.map((answer) => answer.memory)));
      const ratio = (seconds / ours).toFixed(2);
      console.log(`  PyTorch ${mode.padEnd(11)} ${perStep(seconds)}, peak memory ${memory}: ${ratio} times as fast`);
    }
  }
  peer.end();
}

async function randomFeatures(images: number, width: number, classes: number): Promise<FeatureSource> {
  const stream = random(0, "features");
  return arraySource({
    layers: {
      features: { shape: [width], data: Float32Array.from({ length: images * width }, () => stream.uniform()) },
    },
    targets: { kind: "single", labels: Int32Array.from({ length: images }, () => stream.integer(classes)) },
  });
}

/** Seconds of one epoch of all trials, as the protocol trains them. */
async function epoch(source: FeatureSource, width: number, classes: number): Promise<number> {
  const bank = createHeadBank({
    heads: [{ layer: "features", shape: [width], kind: "fc" }],
    trials,
    seeds: [0],
    classes,
    sgd: { momentum: 0.9, nesterov: true },
    regularizeBias: true,
    initial: (head, seed) => initialWeights(head, classes, seed),
  });
  const rows = Uint32Array.from({ length: source.size }, (_, row) => row);
  const started = performance.now();
  await trainBank({
    bank,
    train: { source, rows },
    layers: ["features"],
    epochs: 1,
    batchSize,
    schedule: { kind: "constant" },
    afterEpoch: async () => void (await bank.freezeDiverged()),
    afterStep: async () => undefined,
    progress: silent,
  });
  const seconds = (performance.now() - started) / 1000;
  bank.dispose();
  return seconds;
}

void main();
