import * as tf from "@tensorflow/tfjs";

import type { FeatureLayer } from "../../features/source.js";
import { createHeadBank, type HeadBank } from "../../heads/bank.js";
import type { HeadSpec, HeadWeights } from "../../heads/head.js";
import { linearHead } from "../../heads/head.js";
import type { Schedule } from "../../optim/schedule.js";
import { fullMoment } from "../../search/rungs.js";
import { compileSteps } from "../../training/record-steps.js";
import { resumeTraining, saveTraining } from "../../training/state.js";
import { targetsOf } from "../../training/passes.js";
import type { Checkpoint } from "../../training/trainer.js";
import type { Part } from "../splits.js";
import { crossEntropy, type Tally, tallyOf, type TallySums, tallySums } from "./tally.js";

/** What is searched. */
export interface LogregSetting {
  /** Base learning rate, above 0. */
  lr: number;
  /** At least 0; of weights and biases. */
  weightDecay: number;
}

/**
 * The rate of each epoch as a part of the base rate. CoG sets the cosine of an epoch when that epoch is over, so the
 * first two run at the base rate, and the last at ½(1 + cos(π(epochs − 2)/epochs)).
 */
export function logregSchedule(epochs: number): Schedule {
  const factor = (epoch: number) => (1 + Math.cos((Math.PI * Math.max(0, epoch - 1)) / epochs)) / 2;
  return { kind: "step", factors: Array.from({ length: epochs }, (_, epoch) => factor(epoch)) };
}

const momentum = { kind: "sgd", momentum: 0.9, nesterov: false } as const;

/** Milliseconds after which signals and progress bars get their turn. */
const breath = 50;

/** Seconds between two savings of the training. */
const savingInterval = 20;

/** What was seen of one setting in one epoch. */
export interface EpochLog {
  /** Over the epoch, each batch before its step; undefined where the loss was not finite, which ends the training. */
  train?: Tally;
  /** After the epoch. */
  test: Tally;
}

export interface LogregTraining {
  train: Part;
  layer: FeatureLayer;
  classes: number;
  /** Of L2. */
  normalize: boolean;
  settings: LogregSetting[];
  epochs: number;
  /** That the schedule is made for; it runs through in the epochs that there are. Default: `epochs`. */
  scheduleEpochs?: number;
  /** At most; all images where there are fewer. */
  batchSize: number;
  /** Where all settings start. */
  start: HeadWeights;
  /** Positions among the training images in the order of an epoch. */
  order: (epoch: number) => ArrayLike<number>;
  /** Watches the one setting, epoch by epoch. */
  watch?: { part: Part; onEpoch: (log: EpochLog, bank: HeadBank) => void | Promise<void> };
  checkpoint?: Checkpoint;
  /** Called as steps are made; at first with those that were made before. */
  onSteps?: (count: number) => void;
  signal?: AbortSignal;
}

/** Steps of a training: a last batch that is not full counts. */
export function stepsPerEpoch({ rows, batchSize }: { rows: number; batchSize: number }): number {
  return Math.ceil(rows / Math.min(batchSize, rows));
}

/** The head: one linear layer. */
export function logregHead({ name, shape }: FeatureLayer, normalize: boolean): HeadSpec {
  return { ...linearHead({ layer: name, shape, name: "fc" }), name: "logreg", input: normalize ? "l2" : "raw" };
}

/** Logistic regressions side by side, from where they start; the caller disposes the bank, which is of one head and one seed. */
export function logregBank(
  options: Pick<LogregTraining, "layer" | "classes" | "normalize" | "settings" | "start"> & { schedule: Schedule },
): HeadBank {
  const { layer, classes, normalize, settings, start, schedule } = options;
  const spec = logregHead(layer, normalize);
  return createHeadBank({
    heads: [{ spec, trials: settings.map((setting) => ({ ...setting, optimizer: momentum, schedule })) }],
    seeds: [0],
    classes,
    loss: crossEntropy,
    regularised: { bias: true, norm: false },
    initial: () => start,
  });
}

/**
 * Trains settings side by side, each as a training of its own would: mean cross-entropy, SGD with momentum 0.9.
 *
 * @returns the trained bank, of one head and one seed; the caller disposes it.
 * @throws what the signal gives as its reason, where it stops the training; it is saved first.
 */
export async function trainLogreg(options: LogregTraining): Promise<HeadBank> {
  const { train, classes, epochs, checkpoint, watch, onSteps, signal } = options;
  const { scheduleEpochs = epochs } = options;
  const bank = logregBank({ ...options, schedule: logregSchedule(scheduleEpochs) });
  const layers = [options.layer.name];
  const perEpoch = stepsPerEpoch({ rows: train.rows.length, batchSize: options.batchSize });
  const batchSize = Math.min(options.batchSize, train.rows.length);
  const { source } = train;
  let sums: TallySums | undefined;
  try {
    const saved = checkpoint && (await resumeTraining({ ...checkpoint, bank }));
    const from = saved?.position ?? { epoch: 0, step: 0 };
    if (!watch) await compileSteps({ bank, part: train, batchSize, steps: epochs * perEpoch });
    onSteps?.(from.epoch * perEpoch + from.step);
    let [savedAt, breathed] = [Date.now(), Date.now()];
    for (let { epoch, step } = from; epoch < epochs; epoch++, step = 0) {
      const order = Uint32Array.from(options.order(epoch), (at) => train.rows[at]!).subarray(step * batchSize);
      sums = watch && tallySums(bank, classes);
      for await (const { rows, features } of source.pass({ rows: order, batchSize, layers })) {
        const targets = targetsOf(source, rows);
        sums?.add({ features, labels: targets });
        const moment = { epoch, epochs, step, stepsPerEpoch: perEpoch };
        bank.step({ features, targets, moment: fullMoment(moment, scheduleEpochs) });
        tf.dispose(features);
        step++;
        onSteps?.(1);
        if (Date.now() - breathed > breath) {
          await tf.nextFrame();
          breathed = Date.now();
        }
        if (checkpoint && (signal?.aborted || Date.now() - savedAt > savingInterval * 1000)) {
          await saveTraining({ ...checkpoint, bank, position: { epoch, step }, reports: [] });
          savedAt = Date.now();
        }
        signal?.throwIfAborted();
      }
      if (watch && sums) {
        const [seen] = await sums.read();
        sums.dispose();
        sums = undefined;
        const finite = Number.isFinite(seen!.loss);
        const [test] = await tallyOf(bank, watch.part, classes);
        await watch.onEpoch({ ...(finite && { train: seen }), test: test! }, bank);
        if (!finite) break;
      }
    }
    return bank;
  } catch (error) {
    sums?.dispose();
    bank.dispose();
    throw error;
  }
}
