import path from "node:path";

import { type AskedProcess, startProcess } from "../asked-process.js";
import type { BackendDescription } from "../backend/backend.js";
import { visibleGpus } from "../backend/gpu.js";
import type { Backbone } from "../backbones/backbone.js";
import type { Execution } from "../backbones/forward-pass.js";
import type { LayerRequest } from "../backbones/layers.js";
import type { ExtractionAnswer, ExtractionQuestion } from "./extraction-process.js";
import type { FeatureExtractor } from "./feature-extractor.js";

/** Batches that a process has at a time: the next one is there when it has done with one. */
const inFlight = 2;

/**
 * Extracts in processes side by side, each with a backbone on a backend of its own: with WebAssembly, which has one
 * thread under Node, one for each core; with CUDA one for each GPU. Batches go to whoever has the fewest. The pixels of
 * a batch are sent before `extract` returns, and may then be written anew.
 *
 * @param options.backend what this process computes on; the others take the same, and divide its threads.
 * @throws UserError where a process cannot start; from `extract`, where one has ended.
 */
export async function startExtractors(options: {
  backbone: Backbone;
  layers: LayerRequest[];
  count: number;
  backend: BackendDescription;
}): Promise<FeatureExtractor> {
  const { backbone, layers, count, backend } = options;
  const { device } = backend;
  const gpus = device === "cuda" ? await visibleGpus() : [];
  const threads = device === "native" ? Math.max(1, Math.floor(backend.threads / count)) : backend.threads;
  const processes = Array.from({ length: count }, (_, i) => {
    const environment = gpus.length > 0 ? { CUDA_VISIBLE_DEVICES: gpus[i % gpus.length]! } : {};
    return { process: start({ number: i + 1, count, environment }), busy: 0 };
  });
  const end = () => processes.forEach(({ process }) => process.end());
  const { dir, computePrecision } = backbone;
  const names = layers.map(({ name }) => name);
  const question = { ask: "open", device, threads, dir, computePrecision, layers: names } as const;
  try {
    await Promise.all(processes.map(({ process }) => process.ask(question)));
  } catch (error) {
    end();
    throw error;
  }
  let execution: Execution | undefined;
  return {
    atOnce: inFlight * count,
    processes: count,
    threads,
    get execution() {
      return execution;
    },
    extract: async (batch) => {
      const idlest = processes.reduce((least, other) => (other.busy < least.busy ? other : least));
      idlest.busy++;
      try {
        const answer = await idlest.process.ask<ExtractionAnswer>({ ask: "extract", batch });
        execution ??= answer.execution;
        return answer.features;
      } finally {
        idlest.busy--;
      }
    },
    close: end,
  };
}

function start(options: {
  number: number;
  count: number;
  environment: NodeJS.ProcessEnv;
}): AskedProcess<ExtractionQuestion> {
  const { number, count, environment } = options;
  return startProcess({
    module: path.join(__dirname, "extraction-process.js"),
    name: `process ${number} of ${count} that pass images through the backbone`,
    hint:
      "It may have run out of memory. The same command goes on after the last whole shard; with fewer --processes it " +
      "needs less.",
    environment,
  });
}
