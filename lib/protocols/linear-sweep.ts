import path from "node:path";

import { currentBackend } from "../backend/backend.js";
import type { BankPlace } from "../heads/bank.js";
import type { HeadSpec, HeadWeights } from "../heads/head.js";
import { silent } from "../progress.js";
import { spread } from "../results/record.js";
import type { TrialLine } from "../results/trials-log.js";
import type { CandidateScore, Rung } from "../search/halving.js";
import { byScore, halve } from "../search/halving.js";
import { trialSettings } from "../search/setting.js";
import type { Judgement, Score } from "../training/judging.js";
import { openTrainer } from "../training/open-trainer.js";
import { processCount } from "../training/process-count.js";
import type { TrainingProcess } from "../training/process-trainer.js";
import { startProcesses } from "../training/process-trainer.js";
import type { EpochReport, Trainer } from "../training/trainer.js";
import type { FinishedRung, Outcome } from "./finished-rung.js";
import { outcomeOf, reportsOf, rungKey, type RungPlace, savedRung, saveRung } from "./finished-rung.js";
import type { LinearRun } from "./linear.js";
import { partsOf } from "./linear.js";
import { withWidth } from "./linear-heads.js";
import type { RungTraining } from "./linear-rungs.js";
import { rungsOf, trainingPlan, trainingsOf } from "./linear-rungs.js";

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
  const { trials, heads } = run;
  const rungs = rungsOf(run);
  const outcomes: Outcome[][] = heads.map(() => []);
  let processes: TrainingProcess[] | undefined;
  let finalists: { trainer: Trainer; survivors: number[][] } | undefined;
  const close = async () => {
    await finalists?.trainer.close();
    processes?.forEach((one) => one.end());
  };

  const train = async (place: RungPlace, trainings: RungTraining[][]): Promise<FinishedRung> => {
    const training = trainingPlan(run, { trainings, rung: place.rung });
    const count = processCount({ plan: training, parts: partsOf(run), requested: run.processes });
    if (count > 1) processes ??= await startProcesses({ count, device: currentBackend()!.device });
    const own = count > 1 ? processes! : [];
    const trainer = await openTrainer({ plan: training, parts: partsOf(run), processes: own });
    const isLast = place.index === rungs.length - 1;
    try {
      const found = await trainRung(run, { trainer, place, trainings, rungs: rungs.length });
      if (isLast) finalists = { trainer, survivors: place.survivors };
      else await saveRung(run, place, found);
      return found;
    } finally {
      if (!finalists) await trainer.close();
    }
  };
  const evaluate = async (survivors: number[][], rung: Rung, index: number): Promise<CandidateScore[][]> => {
    const place = { survivors, rung, index };
    const trainings = survivors.map((own) => trainingsOf(run, own, rung));
    const before = await savedRung(run, place);
    for (const report of before?.reports ?? []) tellEpoch(run, { report, trainings, rung: index });
    const found = before ?? (await train(place, trainings));
    run.writer?.trials(trialLines(run, { found, trainings, place }));
    return survivors.map((own, h) =>
      own.map((trial) => {
        const readings = trainings[h]!.flatMap((training, i) =>
          training.trial === trial ? [readingOf(found, rung, h, i)] : [],
        );
        const { outcome, score } = readings.sort((a, b) => byScore(a.score, b.score))[0]!;
        outcomes[h]![trial] = outcome;
        return score;
      }),
    );
  };
  try {
    await halve({ heads: heads.length, candidates: trials, rungs, evaluate });
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

async function trainRung(
  run: LinearRun,
  options: { trainer: Trainer; place: RungPlace; trainings: RungTraining[][]; rungs: number },
): Promise<FinishedRung> {
  const { trainer, place, trainings, rungs } = options;
  const { index } = place;
  const { progress = silent, signal, folder, checkpointEvery } = run;
  const file = folder && path.join(folder, `rung${index}.safetensors`);
  const key = rungKey(run, place);
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
        tellEpoch(run, { report, trainings, rung: rungs === 1 ? undefined : index });
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

/** Writes an epoch's lines of metrics, and notes what diverged under its own settings. */
function tellEpoch(
  { heads, trials, settings, writer, progress = silent }: LinearRun,
  options: { report: EpochReport; trainings: RungTraining[][]; rung?: number },
): void {
  const { report, trainings, rung } = options;
  for (const { seed, head, trial: i } of report.diverged) {
    const { layer, name } = heads[head]!;
    const { trial, scale } = trainings[head]![i]!;
    if (scale.rate !== 1) continue;
    const { lr, weightDecay } = trials[trial]!;
    const setting = JSON.stringify({ lr, weightDecay });
    progress.note(`diverged, and frozen: ${layer} ${name}, ${setting}, seed ${settings.seeds[seed]}`);
  }
  report.losses.forEach((ofSeed, s) =>
    heads.forEach(({ layer, name }, h) => {
      const all = trainings[h]!.flatMap(({ trial, scale }, i) => {
        const loss = ofSeed[h]![i];
        return loss === undefined ? [] : [{ loss, trial, rate: scale.rate }];
      });
      for (const rate of new Set(all.map((one) => one.rate))) {
        const told = all.filter((one) => one.rate === rate);
        writer?.metrics({
          epoch: report.epoch,
          seed: settings.seeds[s]!,
          layer,
          head: name,
          ...(rung !== undefined && { rung }),
          ...(rate !== 1 && { rateFactor: rate }),
          ...(told.length < trials.length && { trials: told.map(({ trial }) => trial) }),
          loss: told.map(({ loss }) => loss),
        });
      }
    }),
  );
}

/** What the log keeps of a rung: of every training its curve and how it came out. */
function trialLines(
  run: LinearRun,
  options: { found: FinishedRung; trainings: RungTraining[][]; place: RungPlace },
): TrialLine[] {
  const { found, trainings, place } = options;
  const { rung, index } = place;
  const settings = trialSettings(run.trials);
  return run.heads.flatMap(({ layer, name }, h) =>
    trainings[h]!.map(({ trial, scale }, i) => {
      const { scores, diverged } = outcomeOf(found, rung, h, i);
      return {
        id: trial,
        layer,
        head: name,
        setting: settings[trial]!,
        seeds: run.settings.seeds,
        rung: index,
        ...(scale.rate !== 1 && { rateFactor: scale.rate }),
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

function readingOf(found: FinishedRung, rung: Rung, h: number, i: number): { outcome: Outcome; score: CandidateScore } {
  const outcome = outcomeOf(found, rung, h, i);
  return {
    outcome,
    score: candidateScore(
      outcome,
      found.scores?.map((ofSeed) => ofSeed[h]![i]!),
    ),
  };
}

function candidateScore({ diverged }: Outcome, bySeed: Score[] | undefined): CandidateScore {
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  if (!bySeed) return { score: 0, loss: 0, diverged };
  return { score: mean(bySeed.map(({ metric }) => metric)), loss: mean(bySeed.map(({ loss }) => loss)), diverged };
}
