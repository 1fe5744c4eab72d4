import os from "node:os";

import { bombs } from "../../__tests__/images/bombs.js";
import { formats, smallPhotographs } from "../../__tests__/images/photographs.js";
import { mutated } from "../../__tests__/checkpoints/mutations.js";
import { imageBatches } from "../../lib/images/pipeline.js";
import { random } from "../../lib/random.js";
import { forgetPeak, peakOf } from "../memory.js";

import type { Outcome, Work } from "./work.js";

const transform = "resize(72,bilinear)|center_crop(64)|normalize(imagenet)";
/** Passes images through worker threads, as an extraction does, so many times. @returns how many were bad. */
async function pass(images: readonly Uint8Array[], times = 1): Promise<number> {
  const count = times * images.length;
  const batches = imageBatches({
    count,
    source: (index) => ({ kind: "bytes", bytes: images[index % images.length]! }),
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
  if (good + batches.bad.length !== count) throw new Error("an image is neither read nor named");
  return batches.bad.length;
}

/** Images that a fuzzer has damaged: each is read or named, and memory does not grow with them. */
export async function images(_: Work, count = 1000): Promise<Outcome> {
  const chance = random(Number(process.env.SEED ?? 0), "fuzzer");
  const sound = await smallPhotographs();
  const damaged = Array.from({ length: count }, (_, i) => mutated(sound[i % sound.length]!, chance));
  const bad = await pass(damaged);
  // Allocators take their share of any images; what damaged ones take beyond that is lost.
  const times = Math.ceil(6000 / count);
  await pass(
    damaged.map((_, i) => sound[i % sound.length]!),
    times,
  );
  const before = process.memoryUsage().rss;
  await pass(damaged, times);
  const growth = Math.round((process.memoryUsage().rss - before) / 2 ** 20);
  const failed = growth > 128 ? [`memory grew by ${growth} MB`] : [];
  return {
    tried: count,
    failed,
    seen: `of ${formats.join(", ")}; ${bad} named, ${count - bad} still readable; after as many sound ones, ${times * count} damaged ones made memory grow by ${growth} MB`,
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
