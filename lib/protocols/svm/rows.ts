import * as tf from "@tensorflow/tfjs";

import { UserError } from "../../errors.js";
import { normaliseRows } from "../../svm/normalise.js";
import type { SvmRows } from "../../svm/problem.js";
import type { Part } from "../splits.js";

export interface LayerRowsOptions {
  part: Part;
  layer: string;
  normalize: boolean;
  signal?: AbortSignal;
}

/** Some rows of a layer, as SVMs see them. */
export interface RowBlock {
  /** Row by row. Shape [rows, width]. */
  data: Float32Array;
  count: number;
  /** Rows of zeros, which stay so when they are normalised. */
  zeros: number;
}

const rowsPerBlock = 4096;

/**
 * One pass over the rows of a layer, each divided by its length if wanted.
 *
 * @throws UserError naming layer, image and place of a number that is not finite.
 */
export async function* layerBlocks(options: LayerRowsOptions): AsyncGenerator<RowBlock> {
  const { part, layer, normalize, signal } = options;
  const { source, rows: all } = part;
  for await (const { rows, features } of source.pass({
    rows: all,
    batchSize: rowsPerBlock,
    layers: [layer],
    once: true,
  })) {
    signal?.throwIfAborted();
    const [count, width] = features[layer]!.shape;
    // What the backend gives may be its own memory.
    const data = new Float32Array(await features[layer]!.data());
    tf.dispose(features);
    const wrong = data.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) {
      const image = source.ids[rows[Math.floor(wrong / width)]!]!;
      throw new UserError(
        `Expected finite numbers for the features of layer ${layer} but image ${image} has ${data[wrong]} at place ${wrong % width}`,
        { hint: "Leave the image out, or extract its features again." },
      );
    }
    yield { data, count, zeros: normalize ? normaliseRows(data, width) : 0 };
  }
}

/**
 * All rows of a layer.
 *
 * @throws UserError as {@link layerBlocks}, and where all rows are equal.
 */
export async function layerRows(options: LayerRowsOptions & { width: number }): Promise<SvmRows & { zeros: number }> {
  const { layer, width } = options;
  const rows = { count: 0, width, blocks: [] as Float32Array[], zeros: 0 };
  let differ = false;
  for await (const { data, count, zeros } of layerBlocks(options)) {
    rows.blocks.push(data);
    rows.count += count;
    rows.zeros += zeros;
    const [first] = rows.blocks;
    differ ||= data.some((value, i) => value !== first![i % width]);
  }
  if (!differ) {
    throw new UserError(
      `Expected features that differ between images for layer ${layer} but all ${rows.count} rows are equal`,
      { hint: "Nothing can be learnt from them: see what the backbone was given, or leave the layer out." },
    );
  }
  return rows;
}
