import path from "node:path";

import { currentBackend } from "../backend/backend.js";
import type { BankPlace } from "../heads/bank.js";
import type { HeadSpec, HeadWeights } from "../heads/head.js";
import { silent } from "../progress.js";
import { spread } from "../results/record.js";
import type { TrialLine } from "../results/trial-line.js";
import type { CandidateScore, Rung } from "../search/halving.js";
import { halve, planHalving } from "../search/halving.js";
import { trialSettings } from "../search/setting.js";
import type { SearchTrial } from "../search/space.js";
import type { Judgement, Score } from "../training/judging.js";
import type { Candidate, TrainingPlan } from "../training/open-trainer.js";
import { openTrainer } from "../training/open-trainer.js";
import { processCount } from "../training/process-count.js";
import type { TrainingProcess } from "../training/process-trainer.js";
import { startProcesses } from "../training/process-trainer.js";
import type { EpochReport, Trainer } from "../training/trainer.js";
import type { FinishedRung, Outcome } from "./finished-rung.js";
import { outcomeOf, reportsOf, rungKey, savedRung, saveRung } from "./finished-rung.js";
import type { LinearRun } from "./linear.js";
import { partsOf } from "./linear.js";
import { withWidth } from "./linear-heads.js";
import { scaledRate } from "./linear-trials.js";

/** All heads trained, the finalists at hand. */
export interface Sweep {
  /** `[head][trial]` */
  outcomes: Outcome[][];
  /** What one finalist of each head says of the images that are reported: `[head][seed]`. */
  judge(chosen: number[]): Promise<Judgement[][]>;
  weights(place: BankPlace): Promise<HeadWeights>;
  specOf(head: number, trial: number): HeadSpec;
  close(): Promise<void>;
}

/** Trains every head under all settings, or under ever fewer of them for ever longer. */
export async function sweep(run: LinearRun): Promise<Sweep> {
  const { trials, heads, plan } = run;
  const rungs = rungsOf(run);
  const outcomes: Outcome[][] = heads.map(() => []);
  let processes: TrainingProcess[] | undefined;
  let finalists: { trainer: Trainer; survivors: number[][] } | undefined;
  const close = async () => {
    await finalists?.trainer.close();
    processes?.forEach((one) => one.end());
  };

  const train = async (survivors: number[][], rung: Rung, index: number): Promise<FinishedRung> => {
    const training = trainingPlan(run, { survivors, rung });
    const parts = partsOf(run);
    processes ??= await processesFor(run, training);
    const trainer = await openTrainer({ plan: training, parts, processes });
    const isLast = index === rungs.length - 1;
    try {
      const found = await trainRung(run, { trainer, survivors, index, rungs: rungs.length });
      if (isLast) finalists = { trainer, survivors };
      else await saveRung(run, { survivors, index }, found);
      return found;
    } finally {
      if (!finalists) await trainer.close();
    }
  };
  const evaluate = async (survivors: number[][], rung: Rung, index: number): Promise<CandidateScore[][]> => {
    const before = await savedRung(run, { survivors, index });
    for (const report of before?.reports ?? []) tellEpoch(run, { report, survivors, rung: index });
    const found = before ?? (await train(survivors, rung, index));
    run.writer?.trials(trialLines(run, { found, survivors, index, rung }));
    return survivors.map((own, h) =>
      own.map((t, i) => {
        const outcome = outcomeOf(found, rung, h, i);
        outcomes[h]![t] = outcome;
        return candidateScore(
          outcome,
          found.scores?.map((ofSeed) => ofSeed[h]![i]!),
        );
      }),
    );
  };
  try {
    const images = plan.select?.rows.length ?? 0;
    await halve({ heads: heads.length, rates: trials.map(({ lr }) => lr), rungs, images, evaluate });
  } catch (error) {
    await close();
    throw error;
  }
  const { trainer, survivors } = finalists!;
  const placeOf = (head: number, trial: number) => survivors[head]!.indexOf(trial);
  return {
    outcomes,
    judge: async (chosen) => {
      const judged = await trainer.judge({ part: "report", wanted: chosen.map((trial, h) => [placeOf(h, trial)]) });
      return heads.map((_, h) => judged.map((ofSeed) => ofSeed[h]![0]!));
    },
    weights: ({ seed, head, trial }) => trainer.weights({ seed, head, trial: placeOf(head, trial) }),
    specOf: (head, trial) => withWidth(heads[head]!, trials[trial]!.headWidth),
    close,
  };
}

function rungsOf({ settings, trials }: LinearRun): Rung[] {
  const { epochs, search } = settings;
  if (search === "halving") return planHalving({ candidates: trials.length, epochs }).rungs;
  return [{ trials: trials.length, epochs, rateFactor: 1 }];
}

async function processesFor(run: LinearRun, plan: TrainingPlan): Promise<TrainingProcess[]> {
  const count = processCount({ plan, parts: partsOf(run), requested: run.processes });
  return count > 1 ? startProcesses({ count, device: currentBackend()!.device }) : [];
}

/** What a rung trains: of each head the survivors. */
function trainingPlan(run: LinearRun, options: { survivors: number[][]; rung: Rung }): TrainingPlan {
  const { survivors, rung } = options;
  const { settings, classes, loss, regularised } = run;
  return {
    heads: run.heads.map((spec, h) => survivors[h]!.map((t) => candidateOf(run, spec, run.trials[t]!, rung))),
    seeds: settings.seeds,
    classes: classes.length,
    loss,
    regularised,
    epochs: rung.epochs,
    ...(rung.epochs < settings.epochs && { scheduleEpochs: settings.epochs }),
  };
}

function candidateOf({ settings }: LinearRun, spec: HeadSpec, trial: SearchTrial, { rateFactor }: Rung): Candidate {
  const { optimizer, schedule, batchSize, headWidth } = trial;
  const factor = optimizer.kind === "lbfgs" ? 1 : rateFactor;
  return {
    spec: withWidth(spec, headWidth),
    trial: { lr: scaledRate(settings, trial) * factor, weightDecay: trial.weightDecay * factor, optimizer, schedule },
    batchSize,
  };
}

async function trainRung(
  run: LinearRun,
  options: { trainer: Trainer; survivors: number[][]; index: number; rungs: number },
): Promise<FinishedRung> {
  const { trainer, survivors, index, rungs } = options;
  const { progress = silent, signal, folder, checkpointEvery } = run;
  const file = folder && path.join(folder, `rung${index}.safetensors`);
  const key = rungKey(run, { survivors, index });
  const label = rungs === 1 ? "train" : `train (${index + 1} of ${rungs})`;
  const task = progress.task({ label, total: trainer.steps, unit: "steps" });
  const reports: EpochReport[] = [];
  let resumed = false;
  try {
    await trainer.train({
      checkpoint: file === undefined ? undefined : { file, key, every: checkpointEvery },
      signal,
      onResume: ({ epoch, step }) => {
        const steps = step > 0 ? ` and ${step} steps` : "";
        if (!resumed) progress.note(`training goes on after epoch ${epoch} of ${trainer.job.epochs}${steps}`);
        resumed = true;
      },
      onSteps: (count) => task.advance(count),
      onEpoch: (report) => {
        reports.push(report);
        tellEpoch(run, { report, survivors, rung: rungs === 1 ? undefined : index });
      },
    });
  } finally {
    task.end();
  }
  return {
    scores: run.plan.select && (await trainer.scores()),
    diverged: await trainer.diverged(),
    reports,
  };
}

/** Writes an epoch's lines of metrics, and notes what diverged. */
function tellEpoch(
  { heads, trials, settings, writer, progress = silent }: LinearRun,
  options: { report: EpochReport; survivors: number[][]; rung?: number },
): void {
  const { report, survivors, rung } = options;
  for (const { seed, head, trial } of report.diverged) {
    const { layer, name } = heads[head]!;
    const { lr, weightDecay } = trials[survivors[head]![trial]!]!;
    const setting = JSON.stringify({ lr, weightDecay });
    progress.note(`diverged, and frozen: ${layer} ${name}, ${setting}, seed ${settings.seeds[seed]}`);
  }
  report.losses.forEach((ofSeed, s) =>
    heads.forEach(({ layer, name }, h) => {
      const told = ofSeed[h]!.flatMap((loss, i) => (loss === undefined ? [] : [{ loss, trial: survivors[h]![i]! }]));
      if (told.length === 0) return;
      writer?.metrics({
        epoch: report.epoch,
        seed: settings.seeds[s]!,
        layer,
        head: name,
        ...(rung !== undefined && { rung }),
        ...(told.length < trials.length && { trials: told.map(({ trial }) => trial) }),
        loss: told.map(({ loss }) => loss),
      });
    }),
  );
}

/** What the log keeps of a rung: of every trial its curve and how it came out. */
function trialLines(
  run: LinearRun,
  options: { found: FinishedRung; survivors: number[][]; index: number; rung: Rung },
): TrialLine[] {
  const { found, survivors, index, rung } = options;
  const settings = trialSettings(run.trials);
  return run.heads.flatMap(({ layer, name }, h) =>
    survivors[h]!.map((trial, i) => {
      const { scores, diverged } = outcomeOf(found, rung, h, i);
      return {
        id: trial,
        layer,
        head: name,
        setting: settings[trial]!,
        seeds: run.settings.seeds,
        rung: index,
        epochs: rung.epochs,
        curve: reportsOf(found, h, i).map(({ epoch, losses }) => ({
          epoch,
          loss: losses.map((ofSeed) => finite(ofSeed[h]![i])),
        })),
        diverged,
        selection: scores && !diverged ? finite(spread(scores).mean) : null,
      };
    }),
  );
}

function finite(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null;
}

function candidateScore({ diverged }: Outcome, bySeed: Score[] | undefined): CandidateScore {
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  if (!bySeed) return { score: 0, loss: 0, diverged };
  return { score: mean(bySeed.map(({ metric }) => metric)), loss: mean(bySeed.map(({ loss }) => loss)), diverged };
}
