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
 * Images of a listing from which on native TensorFlow has a process a core with one thread each, which share the work more
 * evenly than the threads of one do. It goes by the whole listing, for the last bits of features depend on the number of
 * threads: so a part, and a run that goes on, computes what an undivided one would have.
 */
const leastImages = 2000;

/** Memory of the machine that a process of native TensorFlow may count on. */
const processBytes = 2 ** 31;

/**
 * Opens what extracts on the backend in use. Where processes are not numbered by the user, native TensorFlow goes by the
 * size of the listing; elsewhere the first batch passes here and tells whether the others are worth processes of their own.
 *
 * @param options.images of the whole listing.
 * @param options.batches that will come.
 * @param options.processes what the user wants; then only more than the batches are refused.
 */
export function openExtractor(options: {
  backbone: Backbone;
  layers: LayerRequest[];
  images: number;
  batches: number;
  processes?: number;
  progress?: Progress;
}): FeatureExtractor {
  const { images, batches, progress = silent } = options;
  const backend = currentBackend();
  const here = extractorHere(options);
  if (!backend) return here;
  const native = backend.device === "native";
  const wanted = options.processes ?? (native ? nativeProcesses(images, backend.threads) : undefined);
  if (wanted === 1 || (batches === 1 && !native)) return here;
  const startAll = async (count: number) => {
    const threads = native ? Math.max(1, Math.floor(backend.threads / (wanted ?? count))) : undefined;
    progress.note(`${count} processes pass images through the backbone side by side`);
    return startExtractors({ ...options, count, device: backend.device, threads });
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

function nativeProcesses(images: number, threads: number): number {
  if (images < leastImages) return 1;
  return Math.max(1, Math.min(threads, Math.floor(os.totalmem() / processBytes)));
}

/**
 * How many processes extract fastest: with WebAssembly one for each core, as far as the free memory holds as many
 * processes as large as this one; with CUDA one for each GPU. Native TensorFlow is not asked: it uses all cores in one
 * process too.
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
