import path from "node:path";

import { expected, UserError } from "../../errors.js";
import { openStudyJournal } from "../../results/study-journal.js";
import { halve } from "../../search/halving.js";
import { planHalving } from "../../search/rungs.js";
import { between, type Numbers, type Range } from "../../search/range.js";
import { type SearchTrial, trialsOf } from "../../search/space.js";
import { openStudy, roundSize, type Study } from "../../search/study.js";
import { stepOverhead } from "../../training/cost.js";
import type { LogregTask, LogregTrial } from "./method.js";
import { logregHead, logregSchedule, type LogregSetting, stepsPerEpoch } from "./training.js";
import type { Tally } from "./tally.js";

/** Trains settings from their beginning for so many epochs and judges them on the images of the choice. */
export type Judge = (settings: LogregSetting[], epochs: number) => Promise<Tally[]>;

/** The one setting where nothing is searched; undefined where there are several. */
export function onlySetting({ lr, weightDecay }: { lr: Numbers; weightDecay: Numbers }): LogregSetting | undefined {
  const single = (numbers: Numbers) => (Array.isArray(numbers) && numbers.length === 1 ? numbers[0] : undefined);
  const [rate, decay] = [single(lr), single(weightDecay)];
  return rate === undefined || decay === undefined ? undefined : { lr: rate, weightDecay: decay };
}

/** What is taken where there are no images to choose on: the middle of each range, by ratio where it is logarithmic. */
export function middleSetting({ lr, weightDecay }: { lr: Numbers; weightDecay: Numbers }): LogregSetting {
  const middle = (numbers: Numbers) =>
    Array.isArray(numbers) ? numbers[(numbers.length - 1) >> 1]! : between(numbers, 1 / 2);
  return { lr: middle(lr), weightDecay: middle(weightDecay) };
}

/**
 * Searches a setting.
 *
 * @returns all that was tried, and the best by top-1 on the images of the choice, the first of equals.
 * @throws UserError where every setting diverged.
 */
export async function searchSetting(
  task: LogregTask,
  judge: Judge,
): Promise<{ trials: LogregTrial[]; best: LogregSetting; selection: number }> {
  const { search } = task.settings;
  const trials =
    search === "tpe" || search === "random"
      ? await study(task, judge)
      : search === "grid"
        ? await grid(task, judge)
        : await halving(task, judge);
  const finished = trials.filter(({ selection, last }) => selection !== null && last);
  if (finished.length === 0) {
    throw new UserError(`Expected a setting under which the loss stays finite but all ${trials.length} diverged`, {
      hint: "Search smaller learning rates: --lr log(0.01,10).",
    });
  }
  const best = finished.reduce((a, b) => (b.selection! > a.selection! ? b : a));
  return {
    trials: trials.map(({ setting: { lr, weightDecay }, selection }) => ({ setting: { lr, weightDecay }, selection })),
    best: best.setting,
    selection: best.selection!,
  };
}

interface Tried {
  setting: LogregSetting;
  selection: number | null;
  /** Whether it was trained for all epochs. */
  last: boolean;
}

const valueOf = ({ loss, top1 }: Tally) => (Number.isFinite(loss) ? top1 : NaN);
const selectionOf = (tally: Tally) => (Number.isFinite(tally.loss) ? tally.top1 : null);

/** TPE, or draws alone; in a journal where the run has a folder. */
async function study(task: LogregTask, judge: Judge): Promise<Tried[]> {
  const { settings, seed, folder } = task;
  const { trials: count, epochs, search, asPublished, lr, weightDecay } = settings;
  const given = { lr, weightDecay };
  const ranges = Object.entries(given).filter((entry): entry is [string, Range] => !Array.isArray(entry[1]));
  const fixed = Object.entries(given).flatMap(([name, numbers]) => {
    if (!Array.isArray(numbers)) return [];
    if (numbers.length > 1) throw listed(name, numbers, search);
    return [[name, numbers[0]!] as const];
  });
  const options = { space: Object.fromEntries(ranges), goal: "maximize" as const, seed };
  const open: Study & { close?: () => void } =
    folder === undefined
      ? openStudy(options)
      : openStudyJournal({ ...options, file: path.join(folder, "study.jsonl"), name: studyName(task) });
  const settingOf = (parameters: Record<string, number>) =>
    ({ ...Object.fromEntries(fixed), ...parameters }) as unknown as LogregSetting;
  const atOnce = (asked: number) => (search === "random" ? count : roundSize(asked, asPublished ? 1 : undefined));
  try {
    for (;;) {
      const { trials } = open;
      const running = trials.filter(({ state }) => state === "running").length;
      const left = count - trials.length;
      if (running === 0 && left <= 0) break;
      const asked = open.ask(running > 0 ? running : Math.min(left, atOnce(trials.length)));
      const tallies = await judge(
        asked.map(({ parameters }) => settingOf(parameters)),
        epochs,
      );
      open.tell(asked.map(({ number }, i) => ({ number, value: valueOf(tallies[i]!) })));
    }
    return open.trials.map(({ parameters, value = null }) => ({
      setting: settingOf(parameters),
      selection: value,
      last: true,
    }));
  } finally {
    open.close?.();
  }
}

/** Other images are another study. */
function studyName({ key }: LogregTask): string {
  return `logreg-${key.slice(0, 8)}`;
}

async function grid(task: LogregTask, judge: Judge): Promise<Tried[]> {
  const { trials: count, epochs, lr, weightDecay } = task.settings;
  // As many points as trials are allowed, more of them of the rate, which matters more.
  const rates = Math.max(2, Math.ceil(Math.sqrt(count)));
  const points = (numbers: Numbers, wanted: number): Numbers =>
    Array.isArray(numbers) || numbers.count !== undefined ? numbers : { ...numbers, count: wanted };
  const settings = candidates(task, {
    lr: points(lr, rates),
    weightDecay: points(weightDecay, Math.max(2, Math.floor(count / rates))),
    search: "grid",
  });
  const tallies = await judge(settings, epochs);
  return settings.map((setting, i) => ({ setting, selection: selectionOf(tallies[i]!), last: true }));
}

async function halving(task: LogregTask, judge: Judge): Promise<Tried[]> {
  const { settings, classes, seed, choice, layer } = task;
  const { epochs, lr, weightDecay, trials: count, batchSize, normalize } = settings;
  const all = candidates(task, { lr, weightDecay, search: "random", count });
  const images = choice!.train.rows.length;
  const spec = logregHead(layer, normalize);
  const work = {
    heads: [all.map((trial) => ({ spec, trial, batchSize: Math.min(batchSize, images) }))],
    seeds: [seed],
    classes,
  };
  const overhead = stepOverhead(work, images);
  const perEpoch = stepsPerEpoch({ rows: images, batchSize });
  const { rungs } = planHalving({ candidates: all.length, epochs, stepsPerEpoch: perEpoch, overhead });
  const { scores } = await halve({
    heads: 1,
    candidates: all,
    rungs,
    evaluate: async ([survivors], rung) => {
      const scaled = survivors!.map((i) => ({
        lr: all[i]!.lr * rung.rateFactor,
        weightDecay: all[i]!.weightDecay * rung.rateFactor,
      }));
      const tallies = await judge(scaled, rung.epochs);
      return [tallies.map(({ top1, loss }) => ({ score: top1, loss, diverged: !Number.isFinite(loss) }))];
    },
  });
  return all.map((setting, i) => {
    const own = scores[0]![i]!;
    const { score, diverged } = own.at(-1)!;
    return { setting, selection: diverged ? null : score, last: own.length === rungs.length };
  });
}

function candidates(
  { settings, seed }: LogregTask,
  options: { lr: Numbers; weightDecay: Numbers; search: "grid" | "random"; count?: number },
): SearchTrial[] {
  const { search, count, lr, weightDecay } = options;
  const { epochs, batchSize } = settings;
  const space = {
    lr,
    weightDecay,
    optimizer: [{ kind: "sgd" as const, momentum: 0.9, nesterov: false }],
    schedule: [logregSchedule(epochs)],
    batchSize: [batchSize],
  };
  return trialsOf({ space, search, count, seed }).trials;
}

function listed(name: string, numbers: number[], search: string): UserError {
  const flag = name === "lr" ? "--lr" : "--weight-decay";
  return expected(
    "a range or one value",
    flag,
    numbers,
    `--search ${search} draws from ranges; --search grid takes lists.`,
  );
}
