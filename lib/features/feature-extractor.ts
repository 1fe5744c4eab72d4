import * as tf from "@tensorflow/tfjs";

import { currentBackend } from "../backend/backend.js";
import type { Backbone } from "../backbones/backbone.js";
import type { Execution } from "../backbones/forward-pass.js";
import type { LayerRequest } from "../backbones/layers.js";

/** Images as numbers: a batch that passes through the backbone at once. */
export interface PixelBatch {
  pixels: Float32Array;
  /** [images, height, width, 3] */
  shape: [number, number, number, number];
}

/** Takes images through a backbone, batch by batch. */
export interface FeatureExtractor {
  /** Batches that keep it busy while they are all under way. */
  readonly atOnce: number;
  /** Processes that do it, and threads of each. */
  readonly processes: number;
  readonly threads: number;
  /** How images passed through the backbone; undefined before the first. */
  readonly execution: Execution | undefined;
  /** @returns of each layer, [images, width] as plain numbers. */
  extract(batch: PixelBatch): Promise<Record<string, Float32Array>>;
  close(): void;
}

/** Extracts on the backend of this process. The pixels are read until the features are there. */
export function extractorHere(options: { backbone: Backbone; layers: LayerRequest[] }): FeatureExtractor {
  const { backbone, layers } = options;
  return {
    atOnce: 1,
    processes: 1,
    threads: currentBackend()?.threads ?? 1,
    get execution() {
      return backbone.execution;
    },
    extract: async ({ pixels, shape }) => {
      if (shape[0] === 0) return Object.fromEntries(layers.map(({ name }) => [name, new Float32Array(0)]));
      const images = tf.tensor4d(pixels, shape);
      try {
        const features = await backbone.extract({ pixels: images, layers });
        try {
          const read = Object.entries(features).map(async ([name, tensor]) => [name, await tensor.data()] as const);
          return Object.fromEntries(await Promise.all(read)) as Record<string, Float32Array>;
        } finally {
          tf.dispose(features);
        }
      } finally {
        images.dispose();
      }
    },
    close: () => {},
  };
}
