import * as tf from "@tensorflow/tfjs";

import type { ChannelStatistics } from "./batch-norm.js";
import type { HeadBankOptions } from "./bank.js";
import type { Block } from "./block.js";
import { createBlock, parametersOf } from "./block.js";
import type { HeadSpec } from "./head.js";
import { headWidth } from "./head.js";

/** On two cores with 1280-d features, pieces below 1 MB were slower and pieces above 2 MB about equal. */
const defaultBlockBytes = 2 ** 22;

/** A head's trials, cut into blocks. */
export interface HeadBlocks {
  head: HeadSpec;
  blocks: { first: number; block: Block }[];
  running?: ChannelStatistics;
}

export function createHeadBlocks(head: HeadSpec, options: HeadBankOptions): HeadBlocks {
  const { trials, seeds, classes, initial, blockBytes = defaultBlockBytes } = options;
  const start = seeds.map((seed) => initial(head, seed));
  const fitting = Math.max(1, Math.floor(blockBytes / (4 * seeds.length * headWidth(head) * classes)));
  const pieces = Math.ceil(trials.length / fitting);
  const bounds = Array.from({ length: pieces + 1 }, (_, i) => Math.round((i * trials.length) / pieces));
  const norms = start.flatMap(({ batchNorm }) => batchNorm ?? []);
  const statistics = (of: (norm: (typeof norms)[number]) => Float32Array) =>
    tf.keep(tf.stack(norms.map((norm) => tf.tensor1d(of(norm)))));
  return {
    head,
    blocks: bounds.slice(0, -1).map((first, i) => ({
      first,
      block: createBlock(start, trials.slice(first, bounds[i + 1]), classes),
    })),
    running:
      norms.length === 0
        ? undefined
        : tf.tidy(() => ({ mean: statistics(({ mean }) => mean), variance: statistics(({ variance }) => variance) })),
  };
}

/** A tensor that training changes, by a name that does not change between runs. */
export interface Slot {
  name: string;
  get: () => tf.Tensor;
  set: (tensor: tf.Tensor) => void;
}

/** Every tensor that training changes, by name. */
export function slots(all: HeadBlocks[]): Slot[] {
  const slot = <K extends string>(name: string, holder: Record<K, tf.Tensor>, key: K): Slot => ({
    name: `${name}.${key}`,
    get: () => holder[key],
    set: (tensor) => void (holder[key] = tensor),
  });
  return all.flatMap(({ blocks, running }, h) => [
    ...(running ? [slot(`head${h}`, running, "mean"), slot(`head${h}`, running, "variance")] : []),
    ...blocks.flatMap(({ block }, b) =>
      parametersOf(block).flatMap((parameter, p) => [
        slot(`head${h}.block${b}.parameter${p}`, parameter, "value"),
        slot(`head${h}.block${b}.parameter${p}`, parameter, "momentum"),
      ]),
    ),
  ]);
}
