import path from "node:path";

import { currentBackend } from "../../backend/backend.js";
import type { BankPlace } from "../../heads/bank.js";
import type { HeadSpec, HeadWeights } from "../../heads/head.js";
import { silent } from "../../progress.js";
import { spread } from "../../results/record.js";
import type { TrialLine } from "../../results/trial-line.js";
import type { CandidateScore } from "../../search/halving.js";
import { halve } from "../../search/halving.js";
import type { Rung } from "../../search/rungs.js";
import { planHalving } from "../../search/rungs.js";
import { trialSettings } from "../../search/setting.js";
import type { SearchTrial } from "../../search/space.js";
import { roundSizes } from "../../search/study.js";
import { stepOverhead } from "../../training/cost.js";
import type { Judgement, Score } from "../../training/judging.js";
import type { Candidate, TrainingPlan } from "../../training/open-trainer.js";
import { openTrainer } from "../../training/open-trainer.js";
import { processCount } from "../../training/process-count.js";
import type { TrainingProcess } from "../../training/process-trainer.js";
import { startProcesses } from "../../training/process-trainer.js";
import type { EpochReport, Trainer } from "../../training/trainer.js";
import type { FinishedRung, Outcome } from "./finished-rung.js";
import { outcomeOf, reportsOf, rungKey, type RungPlace, savedRung, saveRung } from "./finished-rung.js";
import type { LinearRun } from "./linear.js";
import { partsOf } from "./linear.js";
import { withWidth } from "./heads.js";
import { choose } from "./selection.js";
import { askStudies } from "./studies.js";
import { scaledRate } from "./trials.js";

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

/** Trains every head under all settings, under ever fewer of them for ever longer, or under those that studies ask for. */
export async function sweep(run: LinearRun): Promise<Sweep> {
  const { trials, heads, settings } = run;
  const rungs = rungsOf(run);
  const outcomes: Outcome[][] = heads.map(() => []);
  let processes: TrainingProcess[] | undefined;
  let finalists: { trainer: Trainer; survivors: number[][] } | undefined;
  const close = async () => {
    await finalists?.trainer.close();
    processes?.forEach((one) => one.end());
  };

  const train = async (place: RungPlace): Promise<FinishedRung> => {
    const { survivors, index } = place;
    const training = trainingPlan(run, place);
    const parts = partsOf(run);
    const count = processCount({ plan: training, parts, requested: run.processes });
    if (count > 1) processes ??= await startProcesses({ count, device: currentBackend()!.device });
    const trainer = await openTrainer({ plan: training, parts, processes: count > 1 ? processes! : [] });
    const isLast = index === rungs.length - 1;
    try {
      const found = await trainRung(run, { trainer, place, rungs: rungs.length });
      if (isLast) finalists = { trainer, survivors };
      else await saveRung(run, place, found);
      return found;
    } finally {
      if (!finalists) await trainer.close();
    }
  };
  const evaluate = async (survivors: number[][], rung: Rung, index: number): Promise<CandidateScore[][]> => {
    const place = { survivors, rung, index };
    const before = await savedRung(run, place);
    for (const report of before?.reports ?? []) tellEpoch(run, { report, place, rungs: rungs.length });
    const found = before ?? (await train(place));
    run.writer?.trials(trialLines(run, found, place));
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
    if (settings.search === "tpe") {
      await askStudies({ run, rungs: rungs.slice(0, -1), evaluate });
      // What an earlier rung has trained is gone.
      const chosen = heads.map((head, h) => choose({ head, trials: trials[h]!, outcomes: outcomes[h]! }).trial);
      await train({ survivors: chosen.map((trial) => [trial]), rung: rungs.at(-1)!, index: rungs.length - 1 });
    } else {
      await halve({ heads: heads.length, candidates: trials[0]!, rungs, evaluate });
    }
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
    specOf: (head, trial) => withWidth(heads[head]!, trials[head]![trial]!.headWidth),
    close,
  };
}

/** All at once, by halving, or as studies ask; says which where halving is asked for. */
function rungsOf(run: LinearRun): Rung[] {
  const { settings, heads, plan, progress = silent } = run;
  const { epochs, search } = settings;
  if (search === "tpe") return [...roundSizes(settings.trials!), 1].map((count) => ({ trials: count, epochs, rateFactor: 1 })); // prettier-ignore
  const trials = run.trials[0]!;
  const all: Rung = { trials: trials.length, epochs, rateFactor: 1 };
  // In live features the pass through the backbone costs an epoch the same, however few trials are left.
  if (search !== "halving") return [all];
  const isLive = plan.train.source.origin.kind === "live";
  const everyTrial = heads.map(() => trials.map((_, trial) => trial));
  const images = plan.train.rows.length;
  const overhead = stepOverhead(trainingPlan(run, { survivors: everyTrial, rung: all }), images);
  const batchSizes = trials.flatMap(({ batchSize }) => batchSize ?? []);
  const stepsPerEpoch = batchSizes.length === 0 ? undefined : Math.ceil(images / Math.max(...batchSizes));
  const { rungs, cost } = planHalving({ candidates: trials.length, epochs, stepsPerEpoch, overhead });
  if (isLive || rungs.length === 1) {
    progress.note(`halving would save little here: all ${trials.length} settings are trained to the end`);
    return [all];
  }
  const told = rungs.map((rung) => `${rung.trials} for ${rung.epochs}`).join(", ");
  progress.note(`halving trains ${told} epochs, about ${Math.round(100 * cost)} % of the work of the full sweep`);
  return rungs;
}

/** What a rung trains: of each head the survivors. */
function trainingPlan(run: LinearRun, options: Pick<RungPlace, "survivors" | "rung">): TrainingPlan {
  const { survivors, rung } = options;
  const { settings, classes, loss, regularised } = run;
  return {
    heads: run.heads.map((spec, h) => survivors[h]!.map((t) => candidateOf(run, spec, run.trials[h]![t]!, rung))),
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
  options: { trainer: Trainer; place: RungPlace; rungs: number },
): Promise<FinishedRung> {
  const { trainer, place, rungs } = options;
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
        tellEpoch(run, { report, place, rungs });
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

/** Writes an epoch's lines of metrics, and notes what diverged under its own rate. */
function tellEpoch(
  { heads, trials, settings, writer, progress = silent }: LinearRun,
  options: { report: EpochReport; place: RungPlace; rungs: number },
): void {
  const { report, place, rungs } = options;
  const { survivors, rung, index } = place;
  for (const { seed, head, trial } of rung.rateFactor === 1 ? report.diverged : []) {
    const { layer, name } = heads[head]!;
    const { lr, weightDecay } = trials[head]![survivors[head]![trial]!]!;
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
        ...(rungs > 1 && { rung: index }),
        ...(told.length < trials[h]!.length && { trials: told.map(({ trial }) => trial) }),
        loss: told.map(({ loss }) => loss),
      });
    }),
  );
}

/** What the log keeps of a rung: of every trial its curve and how it came out. */
function trialLines(run: LinearRun, found: FinishedRung, { survivors, rung, index }: RungPlace): TrialLine[] {
  return run.heads.flatMap(({ layer, name }, h) => {
    const settings = trialSettings(run.trials[h]!);
    return survivors[h]!.map((trial, i) => {
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
    });
  });
}

function finite(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null;
}

function candidateScore({ diverged }: Outcome, bySeed: Score[] | undefined): CandidateScore {
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  if (!bySeed) return { score: 0, loss: 0, diverged };
  return { score: mean(bySeed.map(({ metric }) => metric)), loss: mean(bySeed.map(({ loss }) => loss)), diverged };
}
