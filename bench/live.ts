/**
 * One epoch of live training, JPEG files to a head's step: random resized crops and flips, EfficientNet-Lite0, one
 * linear head 1280 → 1000 of plain TensorFlow.js; beside PyTorch (channels-last, DataLoader, the same weights), in
 * turns:
 *
 *     node dist/bench/live.js [--python python3] [--images 256] [--rounds 3] [--batch 64]
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../lib/backend/backend.js";
import { loadBackbone } from "../lib/backbones/backbone.js";
import { convertCheckpoint } from "../lib/convert/convert.js";
import { openDataset } from "../lib/datasets/open.js";
import { zooCheckpoint } from "../lib/zoo/checkpoint.js";
import { liveFeatures } from "../lib/features/live.js";
import type { FeatureSource } from "../lib/features/source.js";
import { random } from "../lib/random.js";
import { median, openPeer } from "./peer.js";
import { makePhotographs } from "./photographs.js";

const classes = 1000;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      python: { type: "string", default: "python3" },
      images: { type: "string", default: "256" },
      rounds: { type: "string", default: "3" },
      batch: { type: "string", default: "64" },
      "image-batch": { type: "string", default: "16" },
    },
  });
  const [images, rounds, batchSize] = [Number(values.images), Number(values.rounds), Number(values.batch)];
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "frozen-eval-bench-"));
  const folders = ["a", "b"].map((name) => path.join(folder, "images", name));
  try {
    folders.forEach((name) => fs.mkdirSync(name, { recursive: true }));
    const files = await makePhotographs({ folder: folders[0]!, count: images });
    // A folder data set has two classes at least.
    fs.copyFileSync(files[0]!, path.join(folders[1]!, "00000.jpg"));
    const checkpoint = await zooCheckpoint({ name: "efficientnet-lite0" });
    const { dir } = await convertCheckpoint({ file: checkpoint, out: path.join(folder, "models"), title: "bench" });
    const { tensorflow, device } = await prepareBackend();
    const threads = String(os.availableParallelism());
    const args = [folders[0]!, checkpoint, "--batch", values.batch, "--threads", threads, "--workers", threads];
    const peer = openPeer({ python: values.python, script: "live.py", args });
    console.log(`${images} JPEGs; ${device} ${tensorflow ?? ""} beside ${await peer.next()}`);
    const backbone = await loadBackbone({ dir });
    const features = await liveFeatures({
      ...{ backbone, dataset: await openDataset({ spec: `folder:${path.join(folder, "images")}` }) },
      ...{ layers: "pooled", root: path.join(folder, "features"), batchSize: Number(values["image-batch"]) },
    });
    const source = features.splits.all!;
    const own: { rate: number; heads: number }[] = [];
    const theirs: Record<string, number[]> = { eager: [], folded: [] };
    for (let round = 0; round <= rounds; round++) {
      const { seconds, heads } = await epoch(source, batchSize);
      // The first round warms both up.
      if (round > 0) own.push({ rate: source.size / seconds, heads: heads / seconds });
      for (const mode of Object.keys(theirs)) {
        const { rate } = JSON.parse(await peer.ask(mode)) as { rate: number };
        if (round > 0) theirs[mode]!.push(rate);
      }
    }
    peer.end();
    await features.close();
    const ours = median(own.map(({ rate }) => rate));
    const share = median(own.map(({ heads }) => heads));
    console.log(`frozen-eval    ${ours.toFixed(1)} images/s; the head's steps take ${(100 * share).toFixed(1)} %`);
    for (const [mode, rates] of Object.entries(theirs)) {
      const ratio = (ours / median(rates)).toFixed(2);
      console.log(`PyTorch ${mode.padEnd(6)} ${median(rates).toFixed(1)} images/s: ${ratio} times as fast`);
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Seconds of one epoch, and those of them that the head's steps take. */
async function epoch(source: FeatureSource, batchSize: number): Promise<{ seconds: number; heads: number }> {
  const optimizer = tf.train.momentum(0.1, 0.9, true);
  const weight = tf.variable(tf.zeros([source.layers[0]!.width, classes]));
  const bias = tf.variable(tf.zeros([classes]));
  const rows = random(0, "order").permutation(source.size);
  let heads = 0;
  const started = performance.now();
  for await (const batch of source.pass({ rows, draws: rows.map(() => 1), batchSize })) {
    const begun = performance.now();
    tf.tidy(() => {
      const labels = tf.oneHot(Array.from(batch.rows, (row) => row % classes), classes); // prettier-ignore
      const scores = () => batch.features.features!.matMul(weight).add(bias);
      optimizer.minimize(() => tf.losses.softmaxCrossEntropy(labels, scores()).asScalar());
    });
    tf.dispose(batch.features);
    heads += performance.now() - begun;
  }
  const seconds = (performance.now() - started) / 1000;
  tf.dispose([weight, bias]);
  optimizer.dispose();
  return { seconds, heads: heads / 1000 };
}

void main();
