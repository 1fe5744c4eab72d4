import os from "node:os";

import type { Backbone } from "../backbones/backbone.js";
import type { LayerRequest } from "../backbones/layers.js";
import { currentBackend } from "../backend/backend.js";
import { visibleGpus } from "../backend/gpu.js";
import { silent, type Progress } from "../progress.js";
import { startExtractors } from "./extraction-processes.js";
import { extractorHere, type FeatureExtractor } from "./feature-extractor.js";

/** Seconds of work for one process below which others cost more than they save: each needs more than a second to start. */
const leastSeconds = 4;

/**
 * Opens what extracts on the backend in use. Where processes are not numbered by the user, the first batch passes here
 * and tells whether the others are worth processes of their own.
 *
 * @param options.batches that will come.
 * @param options.processes what the user wants; then only more than the batches are refused.
 */
export function openExtractor(options: {
  backbone: Backbone;
  layers: LayerRequest[];
  batches: number;
  processes?: number;
  progress?: Progress;
}): FeatureExtractor {
  const { batches, processes: wanted, progress = silent } = options;
  const backend = currentBackend();
  const here = extractorHere(options);
  if (!backend || wanted === 1 || batches === 1) return here;
  const startAll = async (count: number) => {
    progress.note(`${count} processes pass images through the backbone side by side`);
    return startExtractors({ ...options, count, backend });
  };
  let chosen: FeatureExtractor | undefined;
  return {
    get atOnce() {
      return chosen?.atOnce ?? 1;
    },
    extract: async (batch) => {
      if (wanted !== undefined) chosen ??= await startAll(Math.min(wanted, batches));
      if (chosen) return chosen.extract(batch);
      const begun = performance.now();
      const features = await here.extract(batch);
      const seconds = ((performance.now() - begun) / 1000) * (batches - 1);
      const count = seconds < leastSeconds ? 1 : Math.min(await mostProcesses(), batches - 1);
      chosen = count > 1 ? await startAll(count) : here;
      return features;
    },
    close: () => chosen?.close(),
  };
}

/**
 * How many processes extract fastest: with WebAssembly one for each core, as far as the free memory holds as many
 * processes as large as this one; with CUDA one for each GPU. Native TensorFlow uses all cores by itself.
 */
export async function mostProcesses(): Promise<number> {
  switch (currentBackend()?.device) {
    case "wasm":
      return Math.max(1, Math.min(os.availableParallelism(), Math.floor(os.freemem() / process.memoryUsage.rss())));
    case "cuda":
      return Math.max(1, (await visibleGpus()).length);
    default:
      return 1;
  }
}
