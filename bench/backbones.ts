/**
 * Backbones alone, no images read, the pooled layer out: ResNet-50, ViT-B/16 and EfficientNet-Lite0 with random weights
 * in TensorFlow's session, beside PyTorch (channels-last, inference mode, eager and compiled) and ONNX Runtime in
 * turns, and beside a product of two matrices of 2048 × 2048. All in float32 with as many threads.
 *
 *     node dist/bench/backbones.js [NETWORK ...] [--python python3] [--rounds 3] [--seconds 2] [--batch 16] [--threads 2]
 *
 * `--without compiled` leaves peers out.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../lib/backend/backend.js";
import { loadBackbone, type Backbone } from "../lib/backbones/backbone.js";
import { parseLayers } from "../lib/backbones/layers.js";
import { convertCheckpoint } from "../lib/convert/convert.js";
import { median, openPeer, type Peer } from "./peer.js";

const networks = ["resnet50", "vit_base_patch16", "tf_efficientnet_lite0"];

/** Images a second, and seconds of processor time an image. */
interface Speed {
  rate: number;
  processor: number;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      python: { type: "string", default: "python3" },
      rounds: { type: "string", default: "3" },
      seconds: { type: "string", default: "2" },
      batch: { type: "string", default: "16" },
      threads: { type: "string", default: String(os.availableParallelism()) },
      without: { type: "string", default: "" },
    },
  });
  const names = positionals.length > 0 ? positionals : networks;
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "frozen-eval-bench-"));
  const { tensorflow, device } = await prepareBackend({ threads: Number(values.threads) });
  const peer = openPeer({
    python: values.python,
    script: "backbones.py",
    args: [folder, ...names, "--threads", values.threads],
  });
  try {
    console.log(`${device} ${tensorflow ?? ""} beside ${await peer.next()}; ${values.threads} threads`);
    const runtimes = ["eager", "compiled", "onnx"].filter((runtime) => !values.without.split(",").includes(runtime));
    for (const name of names) await compare({ ...values, name, folder, peer, runtimes });
  } finally {
    peer.end();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function compare(options: {
  name: string;
  folder: string;
  peer: Peer;
  runtimes: string[];
  rounds: string;
  seconds: string;
  batch: string;
}): Promise<void> {
  const { name, folder, peer, runtimes, rounds, seconds, batch } = options;
  const { dir, manifest } = await convertCheckpoint({
    file: path.join(folder, `${name}.pth`),
    out: path.join(folder, "models"),
    title: "bench",
  });
  const backbone = await loadBackbone({ dir });
  const speeds: Record<string, Speed[]> = {};
  const products: number[] = [];
  for (let round = 0; round <= Number(rounds); round++) {
    const own = await measure({ backbone, batch: Number(batch), seconds: Number(seconds) });
    const product = await matrixProduct();
    const theirs: [string, Speed][] = [];
    for (const runtime of runtimes) {
      const answer = await peer.ask(`${runtime} ${name} ${batch} ${seconds}`);
      theirs.push([runtime, JSON.parse(answer) as Speed]);
    }
    // The first round warms up.
    if (round === 0) continue;
    products.push(product);
    for (const [runtime, speed] of [["frozen-eval", own] as const, ...theirs]) (speeds[runtime] ??= []).push(speed);
  }
  backbone.dispose();
  const middle = (runtime: string, key: keyof Speed) => median(speeds[runtime]!.map((speed) => speed[key]));
  const flops = manifest.flops!;
  const share = (flops * middle("frozen-eval", "rate")) / median(products);
  const processorShare = flops / middle("frozen-eval", "processor") / median(products);
  console.log(`\n${name}, batches of ${batch}, medians of ${rounds}; load ${os.loadavg()[0]!.toFixed(1)}`);
  for (const runtime of Object.keys(speeds)) {
    const ratio = middle("frozen-eval", "rate") / middle(runtime, "rate");
    const byProcessor = middle(runtime, "processor") / middle("frozen-eval", "processor");
    const faster = runtime === "frozen-eval" ? "" : `; ours is ${ratio.toFixed(2)} times as fast, ${byProcessor.toFixed(2)} by processor time`; // prettier-ignore
    console.log(`${runtime.padEnd(12)} ${middle(runtime, "rate").toFixed(1)} images/s, ${(1000 * middle(runtime, "processor")).toFixed(1)} ms of processor time an image${faster}`); // prettier-ignore
  }
  console.log(`of a product of 2048³ (${(median(products) / 1e9).toFixed(1)} GFLOP a second of processor time): ${(100 * processorShare).toFixed(0)} % by processor time, ${(100 * share).toFixed(0)} % of one core's by the clock`); // prettier-ignore
}

async function measure(options: { backbone: Backbone; batch: number; seconds: number }): Promise<Speed> {
  const { backbone, batch, seconds } = options;
  const { height, width } = backbone.manifest.input;
  const layers = parseLayers({ text: [backbone.taps.filter(({ name }) => /pooled|avg$/.test(name)).at(-1)!.name], taps: backbone.taps }); // prettier-ignore
  const pixels = tf.randomNormal<tf.Rank.R4>([batch, height, width, 3]);
  const start = process.hrtime.bigint();
  const used = process.cpuUsage();
  const elapsed = () => Number(process.hrtime.bigint() - start) / 1e9;
  let count = 0;
  while (count === 0 || elapsed() < seconds) {
    const features = await backbone.extract({ pixels, layers });
    await Promise.all(Object.values(features).map((tensor) => tensor.data()));
    tf.dispose(features);
    count += batch;
  }
  pixels.dispose();
  const { user, system } = process.cpuUsage(used);
  return { rate: count / elapsed(), processor: (user + system) / 1e6 / count };
}

/** FLOP a second of processor time. */
async function matrixProduct(): Promise<number> {
  const size = 2048;
  const [left, right] = [tf.randomNormal([size, size]), tf.randomNormal([size, size])];
  const used = process.cpuUsage();
  const times = 5;
  for (let i = 0; i < times; i++) {
    const product = tf.matMul(left, right);
    await product.data();
    product.dispose();
  }
  const { user, system } = process.cpuUsage(used);
  tf.dispose([left, right]);
  return (times * 2 * size ** 3) / ((user + system) / 1e6);
}

void main();
