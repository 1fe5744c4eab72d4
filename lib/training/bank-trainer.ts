import * as tf from "@tensorflow/tfjs";

import type { HeadBank } from "../heads/bank.js";
import { createHeadBank } from "../heads/bank.js";
import { initialWeights } from "../heads/head.js";
import { fullMoment } from "../search/rungs.js";
import { bankResults } from "./bank-results.js";
import type { BatchJob, Part, TrainingParts } from "./job.js";
import { layersOf } from "./job.js";
import type { TrainingPosition } from "./passes.js";
import { epochPass, stepsPerEpoch, targetsOf } from "./passes.js";
import { compileSteps } from "./record-steps.js";
import { resumeTraining, saveTraining } from "./state.js";
import type { EpochReport, Trainer, TrainOptions } from "./trainer.js";

/** Milliseconds after which signals and progress bars get their turn. */
const breath = 50;

/** Seconds between two savings of the training. */
const savingInterval = 20;

/** Training images on which the loss is told after each epoch. */
const lossSample = 256;

/** Trains a job in this process, as one bank, batch by batch. */
export function bankTrainer({ job, parts }: { job: BatchJob; parts: TrainingParts }): Trainer {
  const bank = createHeadBank({ ...job, initial: (head, seed) => initialWeights(head, job.classes, seed) });
  return {
    ...bankResults({ job, bank, parts }),
    job,
    steps: job.epochs * stepsPerEpoch(parts.train, job),
    train: (options) => train({ ...options, job, bank, part: parts.train }),
  };
}

async function train(options: TrainOptions & { job: BatchJob; bank: HeadBank; part: Part }): Promise<void> {
  const { job, bank, part, checkpoint, onSteps = () => undefined, onEpoch = () => undefined, signal } = options;
  const { epochs, scheduleEpochs = epochs } = job;
  const perEpoch = stepsPerEpoch(part, job);
  const saved = checkpoint && (await resumeTraining({ ...checkpoint, bank }));
  const from: TrainingPosition = saved?.position ?? { epoch: 0, step: 0 };
  const reports: EpochReport[] = saved?.reports ?? [];
  if (saved) {
    options.onResume?.(from);
    onSteps(from.epoch * perEpoch + from.step);
  }
  reports.forEach(onEpoch);

  await compileSteps({ bank, part, batchSize: job.batchSize, steps: epochs * perEpoch });

  let savedAt = Date.now();
  const afterStep = async (position: TrainingPosition) => {
    if (checkpoint && (signal?.aborted || isDue(position))) {
      await saveTraining({ ...checkpoint, bank, position, reports });
      savedAt = Date.now();
    }
    signal?.throwIfAborted();
  };
  const isDue = ({ epoch, step }: TrainingPosition): boolean => {
    if (epoch === epochs) return true;
    if (checkpoint?.every !== undefined) return step === 0 && epoch % checkpoint.every === 0;
    return Date.now() - savedAt > savingInterval * 1000;
  };

  let breathed = Date.now();
  for (let { epoch, step } = from; epoch < epochs; epoch++, step = 0) {
    for await (const { rows, features } of epochPass({ job, train: part, from: { epoch, step } })) {
      bank.step({
        features,
        targets: targetsOf(part.source, rows),
        moment: fullMoment({ epoch, epochs, step, stepsPerEpoch: perEpoch }, scheduleEpochs),
      });
      tf.dispose(features);
      step++;
      onSteps(1);
      if (Date.now() - breathed > breath) {
        await tf.nextFrame();
        breathed = Date.now();
      }
      if (step < perEpoch) await afterStep({ epoch, step });
    }
    const losses = await sampleLosses(bank, part);
    const report = { epoch: epoch + 1, losses, diverged: bank.freeze(losses) };
    reports.push(report);
    onEpoch(report);
    await afterStep({ epoch: epoch + 1, step: 0 });
  }
}

/** `[seed][head][trial]` */
async function sampleLosses(bank: HeadBank, { source, rows }: Part): Promise<number[][][]> {
  const sample = rows.slice(0, lossSample);
  for await (const batch of source.pass({ rows: sample, batchSize: sample.length, layers: layersOf(bank.heads) })) {
    const losses = await bank.losses({ features: batch.features, targets: targetsOf(source, batch.rows) });
    tf.dispose(batch.features);
    return losses;
  }
  throw new Error("the sample of training images is empty");
}
