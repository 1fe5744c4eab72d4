import fs from "node:fs/promises";
import path from "node:path";

import { digestOf } from "../../files.js";
import { initialWeights } from "../../heads/head.js";
import { random } from "../../random.js";
import { writeCogFiles } from "./files.js";
import type { LogregFit, LogregMethod, LogregTask } from "./method.js";
import { middleSetting, onlySetting, searchSetting } from "./search.js";
import { type Answers, answersOf, type Tally, tallyOf } from "./tally.js";
import { type EpochLog, logregHead, type LogregSetting, stepsPerEpoch, trainLogreg } from "./training.js";

/**
 * CoG's method: SGD under settings that are searched on the images of the choice; then, from its beginning, under the
 * best of them on all images. What the last epoch gives is the result.
 */
export const sgdMethod: LogregMethod = {
  name: "sgd",
  head: "logreg",
  searches: (settings) => onlySetting(settings) === undefined,
  fit,
  write: writeCogFiles,
};

async function fit(task: LogregTask): Promise<LogregFit> {
  const { settings, choice } = task;
  const only = onlySetting(settings);
  const found =
    choice && !only
      ? await searchSetting(task, (tried, epochs) => judged(task, choice, { tried, epochs }))
      : { trials: [], best: only ?? middleSetting(settings), selection: null };
  const { best, trials, selection } = found;
  return { chosen: { lr: best.lr, weightDecay: best.weightDecay }, selection, trials, ...(await final(task, best)) };
}

/** What all trainings of a task have in common. Each of its purposes has orders of its own. */
function common(
  { layer, classes, seed, settings, signal }: LogregTask,
  { purpose, images }: { purpose: string; images: number },
) {
  const { normalize, batchSize } = settings;
  return {
    layer,
    classes,
    normalize,
    batchSize,
    start: initialWeights(logregHead(layer, normalize), classes, seed),
    order: (epoch: number) => random(seed, "order", purpose, epoch).permutation(images),
    signal,
  };
}

async function judged(
  task: LogregTask,
  { train, val }: NonNullable<LogregTask["choice"]>,
  { tried, epochs }: { tried: LogregSetting[]; epochs: number },
): Promise<Tally[]> {
  const { key, folder, seed, layer, classes, settings, progress } = task;
  const shared = common(task, { purpose: "search", images: train.rows.length });
  const checkpoint = folder === undefined ? undefined : {
    file: path.join(folder, "search.safetensors"),
    key: digestOf([key, tried, epochs]),
  }; // prettier-ignore
  const bar = progress.task({
    label: `${layer.name}, seed ${seed}: ${tried.length} settings`,
    total: epochs * stepsPerEpoch({ rows: train.rows.length, batchSize: shared.batchSize }),
    unit: "steps",
  });
  try {
    const bank = await trainLogreg({
      ...shared,
      train,
      settings: tried,
      epochs,
      scheduleEpochs: settings.epochs,
      checkpoint,
      onSteps: (count) => bar.advance(count),
    });
    try {
      return await tallyOf(bank, val, classes);
    } finally {
      bank.dispose();
      if (checkpoint) await fs.rm(checkpoint.file, { force: true });
    }
  } finally {
    bar.end();
  }
}

async function final(
  task: LogregTask,
  best: LogregSetting,
): Promise<Pick<LogregFit, "top1" | "top5" | "converged" | "weights" | "answers" | "epochs">> {
  const { train, report, settings, seed, layer, progress } = task;
  const { epochs } = settings;
  const shared = common(task, { purpose: "final", images: train.rows.length });
  const seen: { log: EpochLog; answers: Answers }[] = [];
  const bar = progress.task({ label: `${layer.name}, seed ${seed}: all images`, total: epochs, unit: "epochs" });
  try {
    const bank = await trainLogreg({
      ...shared,
      train,
      settings: [best],
      epochs,
      watch: {
        part: report,
        onEpoch: async (log, trained) => {
          seen.push({ log, answers: await answersOf(trained, report) });
          bar.advance(1);
        },
      },
    });
    const weights = await bank.weights({ seed: 0, head: 0, trial: 0 });
    bank.dispose();
    const { log: last, answers } = seen.at(-1)!;
    return {
      top1: last.test.top1,
      top5: last.test.top5,
      converged: last.train !== undefined,
      weights,
      answers,
      epochs: seen.map(({ log, answers: { predicted } }) => ({ log, predicted })),
    };
  } finally {
    bar.end();
  }
}
