import * as tf from "@tensorflow/tfjs";

import type { ChannelStatistics } from "./batch-norm.js";
import type { Block, Regularised, Trial } from "./block.js";
import { createBlock } from "./block.js";
import type { HeadSpec, HeadWeights } from "./head.js";
import { headWidths } from "./head.js";
import { createMlpBody } from "./mlp-body.js";

/**
 * A product of 100 columns runs at two thirds of the speed of one of 300, and each block costs calls; but element-wise
 * passes over more than the caches hold are slow.
 */
const defaultBlockBytes = 2 ** 24;

/** A head with the settings that it is trained under. */
export interface BankHead {
  spec: HeadSpec;
  trials: Trial[];
}

/** A head's trials, divided into blocks. */
export interface HeadBlocks extends BankHead {
  blocks: { /** Positions among the head's trials. */ places: number[]; block: Block }[];
  /** Of the input's batch norm, [seeds, C]; one for all trials, which see the same batches. */
  running?: ChannelStatistics;
}

export interface HeadBlocksOptions {
  head: BankHead;
  /** The head's weights at the beginning, of each seed. */
  start: HeadWeights[];
  seeds: number[];
  classes: number;
  regularised: Regularised;
  blockBytes?: number;
}

export function createHeadBlocks(options: HeadBlocksOptions): HeadBlocks {
  const { head, start, seeds, classes, regularised, blockBytes = defaultBlockBytes } = options;
  const { spec, trials } = head;
  const widths = headWidths(spec, classes);
  const largest = Math.max(...widths.slice(1).map((width, i) => (widths[i]! + 1) * width));
  const fitting = Math.max(1, Math.floor(blockBytes / (4 * seeds.length * largest)));
  const own = spec.input === "batch_norm" ? start : start.map(({ batchNorm: _, ...weights }) => weights);
  const norms = start.flatMap(({ batchNorm }) => batchNorm ?? []);
  const statistics = (of: (norm: (typeof norms)[number]) => Float32Array) =>
    tf.keep(tf.stack(norms.map((norm) => tf.tensor1d(of(norm)))));
  return {
    ...head,
    blocks: alike(trials)
      .flatMap((places) => pieces(places, fitting))
      .map((places) => ({
        places,
        block: createBlock({
          trials: places.map((place) => trials[place]!),
          regularised,
          createBody: (createSlots) =>
            createMlpBody({
              start: own,
              hidden: spec.hidden,
              trials: places.length,
              classes,
              dropoutSeeds: seeds,
              createSlots,
            }),
        }),
      })),
    running:
      norms.length === 0
        ? undefined
        : tf.tidy(() => ({ mean: statistics(({ mean }) => mean), variance: statistics(({ variance }) => variance) })),
  };
}

/** Positions of trials with equal optimizer and schedule, group by group. */
function alike(trials: Trial[]): number[][] {
  const groups = new Map<string, number[]>();
  trials.forEach(({ optimizer, schedule }, place) => {
    const key = JSON.stringify([optimizer, schedule]);
    groups.set(key, [...(groups.get(key) ?? []), place]);
  });
  return [...groups.values()];
}

/** Cuts a list into as few pieces of about equal length as `fitting` allows. */
function pieces(places: number[], fitting: number): number[][] {
  const count = Math.ceil(places.length / fitting);
  const bound = (i: number) => Math.round((i * places.length) / count);
  return Array.from({ length: count }, (_, i) => places.slice(bound(i), bound(i + 1)));
}

/** A tensor that training changes, by a name that does not change between runs. */
export interface Slot {
  name: string;
  get: () => tf.Tensor;
  set: (tensor: tf.Tensor) => void;
}

/** What the slots of a parameter are called; they add `.value` and what the optimizer calls its own. */
export function parameterName(head: number, block: number, { name }: { name: string }): string {
  return `head${head}.block${block}.${name}`;
}

/** Every tensor that training changes, by name. */
export function slots(all: HeadBlocks[]): Slot[] {
  const slot = <K extends string>(name: string, holder: Record<K, tf.Tensor>, key: K): Slot => ({
    name: `${name}.${key}`,
    get: () => holder[key],
    set: (tensor) => void (holder[key] = tensor),
  });
  const each = (name: string, holder: Record<string, tf.Tensor>) =>
    Object.keys(holder).map((key) => slot(name, holder, key));
  return all.flatMap(({ blocks, running }, h) => [
    ...(running ? [slot(`head${h}`, running, "mean"), slot(`head${h}`, running, "variance")] : []),
    ...blocks.flatMap(({ block: { body } }, b) => {
      const ofParameters = body.parameters.flatMap((own) => [
        slot(parameterName(h, b, own), own.parameter, "value"),
        ...each(parameterName(h, b, own), own.parameter.slots),
      ]);
      return [...ofParameters, ...each(`head${h}.block${b}`, body.buffers)];
    }),
  ]);
}
