/**
 * Heads on stored features, trained as the protocol trains them, beside PyTorch in turns:
 *
 *     node dist/bench/heads.js [fc-1000 trials-100 trials-20 trials-10 dinov2 vissl stream ...] [--python python3]
 *                              [--rounds 3] [--images n] [--classes n] [--device native] [--in-process]
 *
 * Several cases run one after the other, each in a process of its own. With `--device wasm` the peer is a plain loop of
 * TensorFlow.js. `stream` trains one head on more features than stay in memory, beside features that do; its flags are
 * `--images` and `--precision`.
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../lib/backend/backend.js";
import { openStore } from "../lib/features/store.js";
import { openStoredSource } from "../lib/features/stored-source.js";
import { headWidth } from "../lib/heads/head.js";
import { bytes } from "../lib/progress.js";
import type { TrainingParts } from "../lib/training/job.js";
import type { TrainingPlan } from "../lib/training/open-trainer.js";
import { openTrainer } from "../lib/training/open-trainer.js";
import { stepsPerEpoch } from "../lib/training/passes.js";
import { processCount } from "../lib/training/process-count.js";
import type { TrainingProcess } from "../lib/training/process-trainer.js";
import { startProcesses } from "../lib/training/process-trainer.js";
import type { Trainer } from "../lib/training/trainer.js";
import type { HeadCase } from "./head-cases.js";
import { headCases } from "./head-cases.js";
import { forgetPeak, peakOf, trainingProcesses } from "./memory.js";
import { median, openPeer } from "./peer.js";
import { plainTensorFlow } from "./plain-heads.js";
import { randomStore } from "./random-store.js";
import { stream } from "./stream.js";

const batchSize = 256;

/** Of a whole training; the bench measures single ones. */
const epochs = 28;

/** Of a training that is measured. */
const leastSeconds = 5;

interface Options {
  python: string;
  rounds: number;
  device: "native" | "wasm";
  inProcess: boolean;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      python: { type: "string", default: "python3" },
      rounds: { type: "string", default: "3" },
      images: { type: "string" },
      classes: { type: "string" },
      device: { type: "string", default: "native" },
      precision: { type: "string", default: "float32" },
      "in-process": { type: "boolean", default: false },
    },
  });
  const names = positionals.length > 0 ? positionals : [...Object.keys(headCases), "stream"];
  if (names.length > 1) {
    const flags = process.argv.slice(2).filter((argument) => !positionals.includes(argument));
    for (const name of names) spawnSync(process.execPath, [__filename, name, ...flags], { stdio: "inherit" });
    return;
  }
  const [name] = names as [string];
  const given = {
    ...(values.images !== undefined && { images: Number(values.images) }),
    ...(values.classes !== undefined && { classes: Number(values.classes) }),
  };
  const device = values.device as Options["device"];
  const { tensorflow } = await prepareBackend({ device });
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "frozen-eval-bench-"));
  try {
    console.log(`${name}: ${device} ${tensorflow ?? ""}`);
    const rounds = Number(values.rounds);
    if (name === "stream") {
      await stream({ folder, rounds, precision: values.precision as "float32" | "float16", ...given });
    } else {
      const options = { python: values.python, rounds, device, inProcess: values["in-process"] };
      await compare({ ...headCases[name]!, ...given }, folder, options);
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function compare(headCase: HeadCase, folder: string, options: Options): Promise<void> {
  const { rounds, device, inProcess } = options;
  const { layers, heads, classes, images } = headCase;
  const store = await openStore({ folder: await randomStore({ root: folder, layers, images, classes }) });
  const source = await openStoredSource({ store });
  const rows = Uint32Array.from({ length: images }, (_, row) => row);
  const parts: TrainingParts = { train: { source, rows }, report: { source, rows: rows.subarray(0, 1) } };
  const plan: TrainingPlan = {
    heads: heads.map(({ spec, trials }) => trials.map((trial) => ({ spec, trial, batchSize }))),
    seeds: [0],
    classes,
    loss: { kind: "cross_entropy", labelSmoothing: 0 },
    regularised: { bias: true, norm: false },
    epochs,
  };
  const peak = device === "native" ? productRate() : undefined;
  forgetPeak();
  const count = inProcess ? 1 : processCount({ plan, parts });
  const started = performance.now();
  const processes: TrainingProcess[] = count > 1 ? await startProcesses({ count, device }) : [];
  const first = await openTrainer({ plan: { ...plan, epochs: 1 }, parts, processes });
  const opening = (performance.now() - started) / 1000;
  const timed = async (trainer: Trainer) => {
    const begun = performance.now();
    await trainer.train({});
    return (performance.now() - begun) / 1000;
  };
  const peers = device === "native" ? pytorch(headCase, options.python) : plainTensorFlow(headCase, source, batchSize);

  const warmUp = await timed(first);
  await first.close();
  // Whole trainings, for what is done once in one is done for many epochs.
  const trained = Math.ceil(leastSeconds / warmUp);
  const trainer = await openTrainer({ plan: { ...plan, epochs: trained }, parts, processes });
  const own: number[] = [];
  const theirs = peers.modes.map((mode) => ({ mode, seconds: [] as number[], memory: 0 }));
  console.log(`${count} ${count > 1 ? "processes" : "process"} beside ${await peers.name()}`);
  for (let round = 0; round < rounds; round++) {
    for (const answers of theirs) {
      own.push((await timed(trainer)) / trained);
      const { seconds, memory } = await peers.epoch(answers.mode);
      answers.seconds.push(seconds);
      answers.memory = memory;
    }
  }
  const memory = trainingProcesses().reduce((sum, pid) => sum + peakOf(pid), peakOf());
  peers.end();
  await trainer.close();
  processes.forEach((one) => one.end());
  await source.close();

  const steps = stepsPerEpoch(parts.train, { batchSize });
  const flops = heads.reduce(
    (sum, { spec, trials }) => sum + 4 * batchSize * headWidth(spec) * classes * trials.length,
    0,
  );
  const line = (who: string, seconds: number, memoryPeak: number) => {
    const perStep = `${((1000 * seconds) / steps).toFixed(2)} ms a step`;
    const share =
      peak && `, ${((100 * flops * (images / batchSize)) / seconds / peak).toFixed(0)} % of the product's rate`;
    return `  ${who.padEnd(12)} ${perStep}${share ?? ""}, peak memory ${bytes(memoryPeak)}`;
  };
  const ours = median(own);
  if (peak) console.log(`  a product of 2048³ runs at ${(peak / 1e9).toFixed(0)} GFLOP/s`);
  console.log(
    `  start ${opening.toFixed(1)} s, first epoch ${warmUp.toFixed(1)} s, then ${own.map((one) => one.toFixed(2)).join(", ")} s in trainings of ${trained}`,
  );
  console.log(line("frozen-eval", ours, memory));
  for (const { mode, seconds, memory: theirPeak } of theirs) {
    console.log(`${line(mode, median(seconds), theirPeak)}: ${(median(seconds) / ours).toFixed(2)} times as fast`);
  }
}

/** What one's heads are compared with. */
export interface Peers {
  modes: string[];
  name(): Promise<string>;
  /** One epoch of all trials. */
  epoch(mode: string): Promise<{ seconds: number; memory: number }>;
  end(): void;
}

function pytorch({ layers, heads, classes, images, peer }: HeadCase, python: string): Peers {
  const each = heads.map(({ spec, trials }) =>
    trials.map(({ lr, weightDecay }) => {
      const channels = spec.input === "batch_norm" ? spec.shape[0]! : null;
      return { reads: spec.reads, width: headWidth(spec), channels, lr, weightDecay };
    }),
  );
  const runs = peer === "one run" ? [each.flat()] : each[0]!.map((_, trial) => each.map((ofHead) => ofHead[trial]!));
  const argument = JSON.stringify({
    ...{ images, batch: batchSize, classes, threads: os.availableParallelism(), runs },
    layers: Object.fromEntries(layers.map(({ name, shape }) => [name, shape])),
  });
  const program = openPeer({ python, script: "heads.py", args: [argument] });
  return {
    modes: ["indexed", "dataloader"],
    name: () => program.next(),
    epoch: async (mode) => JSON.parse(await program.ask(mode)) as { seconds: number; memory: number },
    end: () => program.end(),
  };
}

/** Operations a second of a product of 2048³, all threads: the best of ten. */
function productRate(): number {
  const size = 2048;
  return tf.tidy(() => {
    const [a, b] = [tf.randomUniform([size, size]), tf.randomUniform([size, size])] as [tf.Tensor2D, tf.Tensor2D];
    const seconds = Array.from({ length: 10 }, () => {
      const started = performance.now();
      tf.matMul(a, b).dispose();
      return (performance.now() - started) / 1000;
    });
    return (2 * size ** 3) / Math.min(...seconds);
  });
}

void main();
