import { openLogisticPath } from "../../logistic/path.js";
import type { LogisticSolution } from "../../logistic/problem.js";
import { trainLogisticPath } from "../../logistic/train-path.js";
import { transposed } from "../../matrices/transposed.js";
import { gridPoints } from "../../search/range.js";
import { featureRows } from "../../training/feature-rows.js";
import { targetsOf } from "../../training/passes.js";
import type { Part } from "../splits.js";
import { writeModel } from "./files.js";
import type { LogregFit, LogregMethod, LogregTask } from "./method.js";
import type { LogregProtocol } from "./protocol.js";
import { answersOf, tallyOf } from "./tally.js";
import { logregBank, logregSchedule } from "./training.js";

/**
 * The least of the loss that SGD has under a weight decay λ of weights and biases. It is followed by L-BFGS from the
 * largest λ to smaller ones, chosen on the images of the choice, and at the chosen λ moved on to all images.
 */
export const lbfgsMethod: LogregMethod = {
  name: "lbfgs",
  head: "logreg_lbfgs",
  searches: (settings) => penaltiesOf(settings).length > 1,
  fit,
  write: writeModel,
};

/** Relative gap of what is only to be chosen from; the last solution has the tolerance of the path itself. */
const searchTolerance = 1e-3;

/** Penalties in a row that are worse than the best, after which smaller ones are not tried. */
const patience = 2;

/** From the largest down. */
export function penaltiesOf({ penalties }: Pick<LogregProtocol, "penalties">): number[] {
  return [...gridPoints(penalties, "--penalties")].sort((a, b) => b - a);
}

interface Chosen {
  penalty: number;
  selection: number | null;
  trials: LogregFit["trials"];
  /** Where the last training goes on from. */
  start?: LogisticSolution;
  passes: number;
}

async function fit(task: LogregTask): Promise<LogregFit> {
  const { layer, seed, settings, choice, progress } = task;
  const penalties = penaltiesOf(settings);
  const bar = progress.task({
    label: `${layer.name}, seed ${seed}: L-BFGS`,
    total: choice && penalties.length > 1 ? penalties.length + 1 : 1,
    unit: "penalties",
  });
  try {
    const middle = penalties[(penalties.length - 1) >> 1]!;
    const chosen: Chosen =
      choice && penalties.length > 1
        ? await choose(task, { choice, penalties, onTrial: () => bar.advance(1) })
        : { penalty: middle, selection: null, trials: [], passes: 0 };
    const solution = await solve(task, chosen);
    bar.advance(1);
    const { penalty, selection, trials, passes } = chosen;
    const { gap, converged, evaluations } = solution;
    return {
      chosen: { penalty },
      selection,
      trials,
      converged,
      solution: { gap, passes: passes + evaluations },
      ...(await judge(task, solution)),
    };
  } finally {
    bar.end();
  }
}

async function choose(
  task: LogregTask,
  options: { choice: NonNullable<LogregTask["choice"]>; penalties: number[]; onTrial: () => void },
): Promise<Chosen> {
  const { choice, ...others } = options;
  const found = await trainLogisticPath({
    ...problemOf(task, choice.train),
    ...others,
    validation: problemOf(task, choice.val),
    tolerance: searchTolerance,
    patience,
  });
  const [trials, start] = [found.trials[0]!, found.chosen[0]!];
  return {
    penalty: start.penalty,
    selection: Math.max(...trials.map(({ accuracy }) => accuracy)),
    trials: trials.map(({ penalty, accuracy }) => ({ setting: { penalty }, selection: accuracy })),
    start,
    passes: trials.reduce((sum, { evaluations }) => sum + evaluations, 0),
  };
}

/** The least on all images. */
async function solve(task: LogregTask, { penalty, start }: Chosen): Promise<LogisticSolution> {
  const path = await openLogisticPath(problemOf(task, task.train));
  try {
    if (start) path.move(0, start);
    const [solution] = await path.solve(penalty);
    return solution!;
  } finally {
    path.dispose();
  }
}

function problemOf({ layer, classes, settings, signal }: LogregTask, { source, rows: some }: Part) {
  // Every pass reads them; sorted, they lie one behind the other.
  const rows = some.slice().sort();
  return {
    rows: featureRows({ source, rows, layer: layer.name, normalize: settings.normalize }),
    labels: targetsOf(source, rows),
    classes,
    regularizeBias: true,
    signal,
  };
}

/** Judged as SGD's are. */
async function judge(
  { layer, classes, settings, report }: LogregTask,
  { penalty, weights, bias }: LogisticSolution,
): Promise<Pick<LogregFit, "top1" | "top5" | "answers" | "weights">> {
  const start = { weight: transposed(weights, classes, layer.width), bias };
  const bank = logregBank({
    layer,
    classes,
    normalize: settings.normalize,
    // It is judged and not trained: any rate will do.
    settings: [{ lr: 1, weightDecay: penalty }],
    schedule: logregSchedule(1),
    start,
  });
  try {
    const [tally] = await tallyOf(bank, report, classes);
    return { top1: tally!.top1, top5: tally!.top5, answers: await answersOf(bank, report), weights: start };
  } finally {
    bank.dispose();
  }
}
