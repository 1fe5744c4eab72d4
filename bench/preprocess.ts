/**
 * Decode + resize(256,bilinear) + center_crop(224) + normalize, images a second, beside torchvision on Pillow with the
 * same number of workers, pass by pass in turns:
 *
 *     node dist/bench/preprocess.js [--python python3] [--images 600] [--workers 2] [--rounds 5]
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { imageBatches } from "../lib/images/pipeline.js";
import { median, openPeer } from "./peer.js";
import { makePhotographs } from "./photographs.js";

/** What one pass over the images took, in seconds on the clock and of all processors together. */
interface Pass {
  seconds: number;
  processor: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      python: { type: "string", default: "python3" },
      images: { type: "string", default: "600" },
      workers: { type: "string", default: String(os.availableParallelism()) },
      rounds: { type: "string", default: "5" },
    },
  });
  const [images, workers, rounds] = [Number(values.images), Number(values.workers), Number(values.rounds)];
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "frozen-eval-bench-"));
  try {
    const files = await makePhotographs({ folder, count: images });
    const size = files.reduce((sum, file) => sum + fs.statSync(file).size, 0) / images;
    const args = [folder, "--workers", String(workers)];
    const peer = openPeer({ python: values.python, script: "preprocess.py", args });
    console.log(
      `${images} JPEGs, ${(size / 1000).toFixed(0)} kB each on average; ${workers} workers; ${await peer.next()}`,
    );
    const passes: Record<string, Pass[]> = { "frozen-eval": [], dataloader: [], pool: [] };
    await ownPass(files, workers);
    for (let round = 0; round < rounds; round++) {
      passes["frozen-eval"]!.push(await ownPass(files, workers));
      for (const mode of ["dataloader", "pool"]) passes[mode]!.push(JSON.parse(await peer.ask(mode)) as Pass);
    }
    peer.end();
    const middle = (name: string, key: keyof Pass) => median(passes[name]!.map((pass) => pass[key]));
    console.log("medians        images/s   processor ms an image   frozen-eval is faster by (time, processor time)");
    for (const name of Object.keys(passes)) {
      const [rate, processor] = [images / middle(name, "seconds"), (1000 * middle(name, "processor")) / images];
      const ratios = (["seconds", "processor"] as const).map((key) => middle(name, key) / middle("frozen-eval", key));
      console.log(
        `${name.padEnd(12)} ${rate.toFixed(1).padStart(10)} ${processor.toFixed(2).padStart(15)}` +
          `              ${ratios.map((ratio) => ratio.toFixed(2)).join(", ")}`,
      );
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function ownPass(files: string[], workers: number): Promise<Pass> {
  const start = performance.now();
  const before = process.cpuUsage();
  const batches = imageBatches({
    count: files.length,
    source: (index) => ({ kind: "file", path: files[index]! }),
    transform: "resize(256,bilinear)|center_crop(224)|normalize(imagenet)",
    batchSize: 64,
    workers,
    onBadImage: "stop",
  });
  for await (const { rows } of batches) if (rows.length === 0) throw new Error("An empty batch");
  const { user, system } = process.cpuUsage(before);
  return { seconds: (performance.now() - start) / 1000, processor: (user + system) / 1e6 };
}

void main();
