import * as tf from "@tensorflow/tfjs";

import type { Backbone } from "../backbones/backbone.js";
import type { LayerRequest } from "../backbones/layers.js";
import type { DatasetSplit } from "../datasets/dataset.js";
import { UserError } from "../errors.js";
import { imageBatches } from "../images/pipeline.js";
import type { FeatureBatch, FeaturePass, FeatureSource } from "./source.js";

export interface LiveSourceOptions {
  backbone: Backbone;
  split: DatasetSplit;
  layers: LayerRequest[];
  /** What is done to an image in a pass with draws; its random steps draw from seed, image and draw alone. */
  transform: string;
  /** Features of the same images without augmentation, for passes without draws. It is closed with this source. */
  plain: FeatureSource;
  /** Where each image of `plain` stands in the split. */
  positions: Uint32Array;
  seed: number;
  /** Images that pass through the backbone at once; taken down to a power of two. Default: 16. */
  batchSize?: number;
  /** Threads that read images. Default: one for each core. */
  workers?: number;
  /** Batches of images that are read before they are needed. */
  lookAhead?: number;
}

/**
 * Images that are read, augmented and run through the frozen backbone anew in every pass: each draw of an image is
 * another view of it. While the backbone works on one batch of images, and while the consumer has a batch of features,
 * worker threads read the images of the next ones.
 *
 * Images enter the backbone in batches that never reach across two batches of features: a pass that starts at a later
 * batch gives the same bits as one that came there.
 *
 * @throws UserError during a pass that names the image where one cannot be read or transformed.
 */
export function openLiveSource(options: LiveSourceOptions): FeatureSource {
  const { plain, split, transform, seed } = options;
  let closed = false;
  return {
    size: plain.size,
    layers: plain.layers,
    targets: plain.targets,
    ids: plain.ids,
    origin: {
      kind: "live",
      transform,
      seed,
      dataset: { split: split.name, digest: split.digest },
      plain: plain.origin,
    },
    pass: (pass) => {
      if (closed) throw new Error("The source of features is closed");
      const { draws } = pass;
      return draws === undefined ? plain.pass(pass) : augmented(options, { ...pass, draws });
    },
    close: () => {
      closed = true;
      return plain.close();
    },
  };
}

async function* augmented(
  options: LiveSourceOptions,
  pass: FeaturePass & { draws: Uint32Array },
): AsyncGenerator<FeatureBatch> {
  const { backbone, split, transform, positions, seed, workers, lookAhead } = options;
  const { rows, draws, batchSize } = pass;
  const layers = wantedLayers(options.layers, pass.layers);
  if (draws.length !== rows.length) throw new Error(`${draws.length} draws for ${rows.length} rows`);
  const images = imageBatches({
    count: split.size,
    source: (index) => split.source(index),
    id: (index) => split.ids[index]!,
    order: rows.map((row) => positions[row]!),
    draws,
    seed,
    transform,
    batchSize: 2 ** Math.floor(Math.log2(options.batchSize ?? 16)),
    cutEvery: batchSize,
    workers,
    lookAhead,
    onBadImage: "skip",
  });
  let parts: Record<string, tf.Tensor2D>[] = [];
  let start = 0;
  try {
    for await (const { positions: taken, pixels, height, width } of images) {
      if (images.bad.length > 0) throw unreadableView(images.bad[0]!, transform);
      parts.push(await forward({ backbone, layers, pixels, shape: [taken.length, height, width, 3] }));
      const end = taken.at(-1)! + 1;
      if (end < Math.min(start + batchSize, rows.length)) continue;
      const whole = joined(parts, layers);
      parts = [];
      yield { rows: rows.slice(start, end), features: whole };
      start = end;
    }
  } finally {
    tf.dispose(parts);
  }
}

function wantedLayers(layers: LayerRequest[], names: string[] | undefined): LayerRequest[] {
  if (names === undefined) return layers;
  return names.map((name) => {
    const layer = layers.find((one) => one.name === name);
    if (!layer) throw new Error(`The live source has no layer ${name}`);
    return layer;
  });
}

async function forward(options: {
  backbone: Backbone;
  layers: LayerRequest[];
  pixels: Float32Array;
  shape: [number, number, number, number];
}): Promise<Record<string, tf.Tensor2D>> {
  const { backbone, layers, pixels, shape } = options;
  const images = tf.tensor4d(pixels, shape);
  try {
    return await backbone.extract({ pixels: images, layers });
  } finally {
    images.dispose();
  }
}

/** The parts of a batch of features as one; they are disposed. */
function joined(parts: Record<string, tf.Tensor2D>[], layers: LayerRequest[]): Record<string, tf.Tensor2D> {
  if (parts.length === 1) return parts[0]!;
  const whole = layers.map(({ name }) => [name, tf.concat2d(parts.map((part) => part[name]!), 0)] as const); // prettier-ignore
  tf.dispose(parts);
  return Object.fromEntries(whole);
}

function unreadableView({ id, reason }: { id: string; reason: string }, transform: string): UserError {
  return new UserError(`Expected an image that ${transform} can be done to but received ${id}: ${reason}`, {
    hint: "It could be read when the features without augmentation were made: repair it, or take it out of the data.",
  });
}
