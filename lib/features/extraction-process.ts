/**
 * A process that passes images through a backbone for another one, on a TensorFlow of its own. It is started by
 * `startExtractors`, is asked by messages, and ends with the process that asks.
 */
import { answerQuestions } from "../asked-process.js";
import { type Device, prepareBackend } from "../backend/backend.js";
import { type DescribedBackbone, loadBackbone } from "../backbones/backbone.js";
import type { Execution } from "../backbones/forward-pass.js";
import { parseLayers } from "../backbones/layers.js";
import { extractorHere, type FeatureExtractor, type PixelBatch } from "./feature-extractor.js";

/** What it is asked: once to open a backbone with some of its layers, then a batch at a time. */
export type ExtractionQuestion =
  | ({ ask: "open"; device: Device; threads?: number; layers: string[] } & Pick<
      DescribedBackbone,
      "dir" | "computePrecision"
    >)
  | { ask: "extract"; batch: PixelBatch };

/** Its answer to a batch. */
export interface ExtractionAnswer {
  features: Record<string, Float32Array>;
  execution: Execution | undefined;
}

let extractor: FeatureExtractor;
// TensorFlow works on one batch at a time: the next one waits here.
let last: Promise<unknown> = Promise.resolve();

answerQuestions<ExtractionQuestion>(async (question) => {
  if (question.ask === "extract") return (last = last.then(() => extract(question.batch)));
  const { device, threads, dir, computePrecision, layers } = question;
  await prepareBackend({ device, threads });
  const backbone = await loadBackbone({ dir, computePrecision });
  extractor = extractorHere({ backbone, layers: parseLayers({ text: layers, taps: backbone.taps }) });
  return undefined;
});

async function extract(batch: PixelBatch): Promise<ExtractionAnswer> {
  const features = await extractor.extract(batch);
  return { features, execution: extractor.execution };
}
