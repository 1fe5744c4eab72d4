import os from "node:os";

import { bombs } from "../../__tests__/images/bombs.js";
import { formats, smallPhotographs } from "../../__tests__/images/photographs.js";
import { mutated } from "../../__tests__/checkpoints/mutations.js";
import { imageBatches } from "../../lib/images/pipeline.js";
import { random } from "../../lib/random.js";
import { forgetPeak, peakOf } from "../memory.js";

import type { Outcome, Work } from "./work.js";

const transform = "resize(72,bilinear)|center_crop(64)|normalize(imagenet)";
/** Passes images through worker threads, as an extraction does. @returns which were bad. */
async function pass(images: readonly Uint8Array[]): Promise<number> {
  const batches = imageBatches({
    count: images.length,
    source: (index) => ({ kind: "bytes", bytes: images[index]! }),
    transform,
    batchSize: 16,
    workers: os.availableParallelism(),
    onBadImage: "skip",
  });
  let good = 0;
  for await (const { rows, pixels } of batches) {
    good += rows.length;
    if (!pixels.every((value) => Number.isFinite(value))) throw new Error("a pixel is not finite");
  }
  if (good + batches.bad.length !== images.length) throw new Error("an image is neither read nor named");
  return batches.bad.length;
}

/** Images that a fuzzer has damaged: each is read or named, and memory does not grow with them. */
export async function images(_: Work, count = 1000): Promise<Outcome> {
  const chance = random(Number(process.env.SEED ?? 0), "fuzzer");
  const sound = await smallPhotographs();
  const damaged = Array.from({ length: count }, (_, i) => mutated(sound[i % sound.length]!, chance));
  const bad = await pass(damaged);
  const resident: number[] = [];
  for (let round = 0; round < 8; round++) {
    await pass(damaged);
    resident.push(process.memoryUsage().rss);
  }
  const growth = Math.round((resident.at(-1)! - resident[3]!) / 2 ** 20);
  const failed = growth > 64 ? [`memory grew by ${growth} MB in four more passes`] : [];
  return {
    tried: count,
    failed,
    seen: `of ${formats.join(", ")}; ${bad} named, ${count - bad} still readable; memory grew by ${growth} MB in four more passes`,
  };
}

/** Small files that announce huge images. */
export async function decompressionBombs(): Promise<Outcome> {
  const all = Object.entries(bombs());
  await pass([all[0]![1]]);
  forgetPeak();
  const before = process.memoryUsage().rss;
  const failed: string[] = [];
  for (const [name, bytes] of all) if ((await pass([bytes])) !== 1) failed.push(`${name} was read`);
  const grown = Math.round((peakOf() - before) / 2 ** 20);
  if (grown > 256) failed.push(`memory rose by ${grown} MB`);
  return {
    tried: all.length,
    failed,
    seen: `${all.map(([name]) => name).join(", ")}; memory rose by ${grown} MB at most`,
  };
}
