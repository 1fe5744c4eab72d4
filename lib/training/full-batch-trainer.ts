import * as tf from "@tensorflow/tfjs";

import type { HeadBank } from "../heads/bank.js";
import { createHeadBank } from "../heads/bank.js";
import type { ChannelStatistics } from "../heads/batch-norm.js";
import type { Block } from "../heads/block.js";
import type { HeadProblems } from "../heads/full-batch.js";
import { headProblems } from "../heads/full-batch.js";
import { checkFullBatch } from "../heads/full-batch-heads.js";
import type { HeadSpec } from "../heads/head.js";
import { initialWeights } from "../heads/head.js";
import type { MinimiserState, Problem } from "../optim/lbfgs.js";
import { minimise } from "../optim/lbfgs.js";
import { bankResults } from "./bank-results.js";
import type { FullBatchObjective } from "./full-batch-objective.js";
import { fullBatchObjective } from "./full-batch-objective.js";
import type { Part, TrainingJob, TrainingParts } from "./job.js";
import { resumeTraining, saveTraining } from "./state.js";
import type { EpochReport, Trainer, TrainOptions } from "./trainer.js";

/** Seconds between two savings of the training. */
const savingInterval = 20;

/** In single precision the gradient of a mean loss hardly goes lower; mostly the loss stops moving before. */
const toleranceGradient = 1e-6;

/** Trials of one head that are minimised together. */
interface Piece {
  spec: HeadSpec;
  head: number;
  places: number[];
  block: Block;
  running?: ChannelStatistics;
}

/**
 * Trains a job in this process by L-BFGS: each trial and seed of a head is a problem of its own, whose loss is the mean
 * over all training images (as they are without augmentation) + ½·λ‖w‖². An epoch is one iteration; the learning rate
 * is the step that its line search tries first. Schedules do not apply. A batch norm in front of a head goes by the
 * statistics of all training images; in evaluation by the same, its variance the unbiased one.
 *
 * The pieces of a bank are trained one after another, for what L-BFGS remembers is large: 2 · history times the
 * weights.
 *
 * @throws UserError where a head has hidden batch norm or dropout.
 */
export function fullBatchTrainer({ job, parts }: { job: TrainingJob; parts: TrainingParts }): Trainer {
  job.heads.forEach(({ spec }) => checkFullBatch(spec));
  const bank = createHeadBank({ ...job, initial: (head, seed) => initialWeights(head, job.classes, seed) });
  const pieces = bank.parts.flatMap(({ spec, blocks, running }, head) =>
    blocks.map(({ places, block }): Piece => ({ spec, head, places, block, running })),
  );
  return {
    ...bankResults({ job, bank, parts }),
    job,
    steps: job.epochs * pieces.length,
    train: (options) => train({ ...options, job, bank, pieces, part: parts.train }),
  };
}

async function train(
  options: TrainOptions & { job: TrainingJob; bank: HeadBank; pieces: Piece[]; part: Part },
): Promise<void> {
  const { job, bank, pieces, part, checkpoint, onSteps = () => undefined, onEpoch = () => undefined, signal } = options;
  const { epochs } = job;
  const saved = checkpoint && (await resumeTraining({ ...checkpoint, bank }));
  // Every piece tells of every epoch, so their number says where the training is.
  const reports: EpochReport[] = saved?.reports ?? [];
  if (saved) options.onResume?.(saved.position);
  onSteps(reports.length);
  reports.forEach(onEpoch);

  let savedAt = Date.now();
  const isDue = (epoch: number): boolean => {
    if (reports.length === epochs * pieces.length) return true;
    if (checkpoint?.every !== undefined) return epoch % checkpoint.every === 0;
    return Date.now() - savedAt > savingInterval * 1000;
  };
  const afterEpoch = async (epoch: number, state?: () => Promise<MinimiserState>) => {
    if (checkpoint && (signal?.aborted || isDue(epoch))) {
      const minimiser = await state?.();
      await saveTraining({ ...checkpoint, bank, position: { epoch, step: 0 }, reports, minimiser });
      savedAt = Date.now();
    }
    signal?.throwIfAborted();
  };

  for (const [p, piece] of pieces.entries()) {
    const told = reports.length - p * epochs;
    if (told >= epochs) continue;
    await minimisePiece({
      job,
      bank,
      part,
      piece,
      told,
      from: told > 0 ? saved?.minimiser : undefined,
      onReport: (report) => {
        reports.push(report);
        onSteps(1);
        onEpoch(report);
      },
      afterEpoch,
    });
    await afterEpoch(epochs);
  }
}

async function minimisePiece(options: {
  job: TrainingJob;
  bank: HeadBank;
  part: Part;
  piece: Piece;
  /** Epochs that were told before. */
  told: number;
  from?: MinimiserState;
  onReport: (report: EpochReport) => void;
  /** Called after each epoch but the last. */
  afterEpoch: (epoch: number, state: () => Promise<MinimiserState>) => Promise<void>;
}): Promise<void> {
  const { job, bank, part, piece, from, onReport, afterEpoch } = options;
  const { spec, block, running } = piece;
  const { epochs, seeds } = job;
  const { optimizer } = block.trials[0]!;
  if (optimizer.kind !== "lbfgs") throw new Error("Full-batch training is by L-BFGS");
  const problems = headProblems(block, seeds.length);
  const start = problems.read();
  let objective: FullBatchObjective | undefined;
  let x: tf.Tensor2D | undefined;
  let epoch = options.told;
  const resting = new Set(from?.problems.flatMap(({ converged }, k) => (converged ? [k] : [])));
  const tell = (states: readonly Problem[], penalties: ArrayLike<number>) => {
    epoch++;
    onReport(reportOf({ bank, piece, epoch, states, penalties, resting }));
  };
  try {
    const whole = await fullBatchObjective({ job, part, spec, problems });
    objective = whole;
    const found = await minimise({
      start,
      evaluate: (at) => whole.evaluate(at),
      history: optimizer.history,
      lineSearch: optimizer.lineSearch,
      lr: problems.lr,
      maxIterations: epochs,
      // Iterations are counted, not the evaluations that their line searches take.
      maxEvaluations: Number.MAX_SAFE_INTEGER,
      toleranceGradient,
      from,
      onIteration: async (iteration) => {
        tell(iteration.problems, await penaltiesOf(problems, iteration.x));
        if (epoch < epochs) await afterEpoch(epoch, iteration.state);
      },
    });
    x = found.x;
    const penalties = await penaltiesOf(problems, x);
    // All of them rest: what is left of the epochs changes nothing.
    while (epoch < epochs) tell(found.problems, penalties);
    const kept = tf.tidy(() => zeroedRows(found.x, found.problems.map(hasDiverged)));
    problems.write(kept);
    kept.dispose();
    if (running && whole.statistics) setRunning(running, whole, seeds.length);
  } finally {
    tf.dispose([start, ...(x ? [x] : [])]);
    problems.dispose();
    objective?.dispose();
  }
}

async function penaltiesOf(problems: HeadProblems, x: tf.Tensor2D): Promise<ArrayLike<number>> {
  const penalty = problems.penalty(x);
  try {
    return await penalty.data();
  } finally {
    penalty.dispose();
  }
}

function hasDiverged({ stopped }: Problem): boolean {
  return stopped === "not finite";
}

/** What an epoch came to; freezes in the bank what diverged in it. */
function reportOf(options: {
  bank: HeadBank;
  piece: Piece;
  epoch: number;
  states: readonly Problem[];
  penalties: ArrayLike<number>;
  /** Problems that were told to rest; those told now are added. */
  resting: Set<number>;
}): EpochReport {
  const { bank, piece, epoch, states, penalties, resting } = options;
  const { head, places } = piece;
  const losses = bank.seeds.map(() =>
    bank.heads.map(({ trials }) => new Array<number | undefined>(trials.length).fill(undefined)),
  );
  const rested: EpochReport["rested"] = [];
  states.forEach((state, k) => {
    const seed = Math.floor(k / places.length);
    const trial = places[k % places.length]!;
    losses[seed]![head]![trial] = hasDiverged(state) ? NaN : state.loss - penalties[k]!;
    if (!state.converged || resting.has(k)) return;
    resting.add(k);
    rested.push({ seed, head, trial });
  });
  // Those of other pieces are not in question.
  const known = losses.map((ofSeed) => ofSeed.map((ofHead) => ofHead.map((loss) => loss ?? 0)));
  return { epoch, losses, diverged: bank.freeze(known), rested };
}

/** Zeros in the marked rows, even where they are not finite. */
function zeroedRows(x: tf.Tensor2D, marked: boolean[]): tf.Tensor2D {
  const mask = tf.tensor2d(marked.map(Number), [marked.length, 1], "bool");
  return tf.where(tf.logicalAnd(mask, tf.onesLike(x).toBool()), tf.zerosLike(x), x);
}

/** What heads go by in evaluation; the variance is the unbiased one, as PyTorch keeps it. */
function setRunning(running: ChannelStatistics, { statistics, count }: FullBatchObjective, seeds: number): void {
  const { mean, variance } = statistics!;
  tf.dispose({ ...running });
  running.mean = tf.keep(tf.tile(mean, [seeds, 1]));
  running.variance = tf.tidy(() => tf.keep(tf.mul(tf.tile(variance, [seeds, 1]), count / Math.max(count - 1, 1))));
}
