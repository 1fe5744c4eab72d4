import os from "node:os";

import type { Backbone } from "../backbones/backbone.js";
import type { LayerRequest } from "../backbones/layers.js";
import { currentBackend } from "../backend/backend.js";
import { visibleGpus } from "../backend/gpu.js";
import { silent, type Progress } from "../progress.js";
import { startExtractors } from "./extraction-processes.js";
import { fasterExtractor } from "./faster-extractor.js";
import { extractorHere, type FeatureExtractor } from "./feature-extractor.js";

/** Seconds of work for one process below which others cost more than they save: each needs more than a second to start. */
const leastSeconds = 4;

/**
 * Opens what extracts on the backend in use. Where processes are not numbered by the user, the first batch passes here
 * and tells whether the others are worth processes of their own; with native TensorFlow, which uses all cores by
 * itself, it is measured whether a process a core with one thread is faster.
 *
 * @param options.batches that will come.
 * @param options.batchSize images of each but the last.
 * @param options.processes what the user wants; then only more than the batches are refused.
 */
export function openExtractor(options: {
  backbone: Backbone;
  layers: LayerRequest[];
  batches: number;
  batchSize: number;
  processes?: number;
  progress?: Progress;
}): FeatureExtractor {
  const { batches, processes: wanted, progress = silent } = options;
  const backend = currentBackend();
  const here = extractorHere(options);
  if (!backend || wanted === 1 || batches === 1) return here;
  if (wanted === undefined && backend.device === "native") {
    const count = Math.min(processesInMemory(backend.threads), batches);
    if (count === 1) return here;
    const start = () => startExtractors({ ...options, count, backend });
    return fasterExtractor({ ...options, here, start, note: (text) => progress.note(text) });
  }
  const startAll = async (count: number) => {
    progress.note(`${count} processes pass images through the backbone side by side`);
    return startExtractors({ ...options, count, backend });
  };
  let chosen: FeatureExtractor | undefined;
  return {
    get atOnce() {
      return chosen?.atOnce ?? 1;
    },
    get processes() {
      return chosen?.processes ?? 1;
    },
    get threads() {
      return (chosen ?? here).threads;
    },
    get execution() {
      return (chosen ?? here).execution;
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
 * How many processes extract fastest: with WebAssembly one for each core, as far as memory goes; with CUDA one for
 * each GPU. Native TensorFlow uses all cores by itself.
 */
export async function mostProcesses(): Promise<number> {
  switch (currentBackend()?.device) {
    case "wasm":
      return processesInMemory(os.availableParallelism());
    case "cuda":
      return Math.max(1, (await visibleGpus()).length);
    default:
      return 1;
  }
}

/** So many, or as many as the free memory holds that are as large as this one. */
function processesInMemory(most: number): number {
  return Math.max(1, Math.min(most, Math.floor(os.freemem() / process.memoryUsage.rss())));
}
