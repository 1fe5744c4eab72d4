import { parentPort, workerData } from "node:worker_threads";

import sharp from "sharp";

import { UserError } from "../errors.js";
import { random } from "../random.js";
import type { ImageSource } from "./image.js";
import { applyTransformInto, parseTransform } from "./transform.js";

/** What all images of a pass have in common; plain data, sent to a worker thread when it starts. */
export interface FillerOptions {
  transform: string;
  seed: number | string;
  valuesPerImage: number;
  /** Where the images are written, one behind the other. */
  values: Float32Array;
}

export interface FillJob {
  /** Position in the listing; random steps depend on it. */
  row: number;
  /** Which view of it; so do they on this. */
  draw: number;
  /** Where the image is written, counted in images. */
  place: number;
  source: ImageSource;
}

export interface FillResult {
  place: number;
  /** What is wrong with the image. */
  reason?: string;
  /** An error that is not the image's. */
  defect?: Error;
}

/** Makes the function that reads, transforms and writes one image. */
export function imageFiller(options: FillerOptions): (job: FillJob) => Promise<FillResult> {
  const { seed, valuesPerImage, values } = options;
  const transform = parseTransform(options.transform);
  return async ({ row, draw, place, source }) => {
    const into = values.subarray(place * valuesPerImage, (place + 1) * valuesPerImage);
    try {
      const chance = transform.random ? random(seed, "augment", draw, row) : undefined;
      await applyTransformInto({ transform, source, random: chance, into });
      return { place };
    } catch (error) {
      if (error instanceof UserError) return { place, reason: error.message };
      return { place, defect: error instanceof Error ? error : new Error(String(error)) };
    }
  };
}

if (parentPort && isFiller(workerData)) {
  // Each worker keeps one core busy by itself; a cache would only fill memory.
  sharp.concurrency(1);
  sharp.cache(false);
  const port = parentPort;
  const fill = imageFiller(workerData);
  port.on("message", (job: FillJob) => void fill(job).then((result) => port.postMessage(result)));
}

/** Other programs' worker threads may load this module too. */
function isFiller(data: unknown): data is FillerOptions {
  return typeof data === "object" && data !== null && "valuesPerImage" in data && "transform" in data;
}
