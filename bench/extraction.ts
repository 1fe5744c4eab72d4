/**
 * Extraction end to end, JPEG files to a feature store, of eight layers of EfficientNet-Lite0, beside PyTorch
 * (channels-last, DataLoader, the same weights), in turns:
 *
 *     node dist/bench/extraction.js [--python python3] [--images 512] [--rounds 3]
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { prepareBackend } from "../lib/backend/backend.js";
import { loadBackbone } from "../lib/backbones/backbone.js";
import { convertCheckpoint } from "../lib/convert/convert.js";
import { openDataset } from "../lib/datasets/open.js";
import { zooCheckpoint } from "../lib/zoo/checkpoint.js";
import { extractFeatures } from "../lib/features/extract.js";
import { bytes } from "../lib/progress.js";
import { median, openPeer, peakMemory } from "./peer.js";
import { makePhotographs } from "./photographs.js";

const layers = "stem,block2,block4,block7,block10,block13,block15,pooled";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      python: { type: "string", default: "python3" },
      images: { type: "string", default: "512" },
      rounds: { type: "string", default: "3" },
      batch: { type: "string", default: "16" },
    },
  });
  const [images, rounds] = [Number(values.images), Number(values.rounds)];
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "frozen-eval-bench-"));
  const classes = ["a", "b"].map((name) => path.join(folder, "images", name));
  try {
    classes.forEach((name) => fs.mkdirSync(name, { recursive: true }));
    const files = await makePhotographs({ folder: classes[0]!, count: images });
    // A folder data set has two classes at least.
    fs.copyFileSync(files[0]!, path.join(classes[1]!, "00000.jpg"));
    const checkpoint = await zooCheckpoint({ name: "efficientnet-lite0" });
    const { dir } = await convertCheckpoint({ file: checkpoint, out: path.join(folder, "models"), title: "bench" });
    const { tensorflow, device } = await prepareBackend();
    const args = [classes[0]!, checkpoint, "--batch", values.batch, "--threads", String(os.availableParallelism())];
    const peer = openPeer({ python: values.python, script: "extraction.py", args });
    console.log(`${images} JPEGs; ${device} ${tensorflow ?? ""} beside ${await peer.next()}`);
    const backbone = await loadBackbone({ dir });
    const dataset = await openDataset({ spec: `folder:${path.join(folder, "images")}` });
    const own: number[] = [];
    const theirs: Record<string, { rate: number; memory: number }[]> = { eager: [], folded: [] };
    for (let round = 0; round <= rounds; round++) {
      const root = path.join(folder, `features-${round}`);
      const features = await extractFeatures({ backbone, dataset, layers, root, batchSize: Number(values.batch) });
      const { images: count, seconds } = features.extraction;
      await features.close();
      for (const mode of Object.keys(theirs)) {
        const answer = JSON.parse(await peer.ask(mode)) as { rate: number; memory: number };
        if (round > 0) theirs[mode]!.push(answer);
      }
      // The first round warms both up.
      if (round > 0) own.push(count / seconds);
    }
    peer.end();
    console.log(`frozen-eval  ${median(own).toFixed(1)} images/s, peak memory ${bytes(peakMemory())}`);
    for (const [mode, answers] of Object.entries(theirs)) {
      const rate = median(answers.map((answer) => answer.rate));
      const memory = Math.max(...answers.map((answer) => answer.memory));
      const ratio = median(own) / rate;
      console.log(
        `PyTorch ${mode.padEnd(7)} ${rate.toFixed(1)} images/s, peak memory ${bytes(memory)}: ${ratio.toFixed(2)} times as fast`,
      );
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

void main();
