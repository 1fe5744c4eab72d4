import { silent } from "../progress.js";
import type { Rung, Scale } from "../search/halving.js";
import { planHalving, unscaled } from "../search/halving.js";
import { stepOverhead } from "../training/cost.js";
import type { Candidate, TrainingPlan } from "../training/open-trainer.js";
import type { LinearRun } from "./linear.js";
import { withWidth } from "./linear-heads.js";

/** One training of a rung: a trial under one of the rung's scales. */
export interface RungTraining {
  trial: number;
  scale: Scale;
}

/** What is trained one after another: all at once, or by halving. Says which where halving is asked for. */
export function rungsOf(run: LinearRun): Rung[] {
  const { settings, trials, heads, plan, progress = silent } = run;
  const { epochs, search } = settings;
  const all: Rung = { trials: trials.length, epochs, scales: [unscaled] };
  if (search !== "halving") return [all];
  const everyTrial = trials.map((_, trial) => trial);
  const whole = trainingPlan(run, { trainings: heads.map(() => trainingsOf(run, everyTrial, all)), rung: all });
  const overhead = stepOverhead(whole, plan.train.rows.length);
  // Of live features an epoch costs the pass through the backbone, however many trials see it.
  const isLive = plan.train.source.origin.kind === "live";
  const { rungs, cost } = isLive
    ? { rungs: [all], cost: 1 }
    : planHalving({ candidates: trials.length, epochs, overhead });
  const told = rungs.map((rung) => `${rung.trials} for ${rung.epochs}`).join(", ");
  progress.note(
    rungs.length > 1
      ? `halving: of ${trials.length} settings, ${told} epochs; about ${Math.round(100 * cost)} % of the work of all`
      : `halving would save little here, where few settings take nearly as long as all: all ${trials.length} are trained to the end`,
  );
  return rungs;
}

/** The trainings of one head in a rung, trial by trial. */
export function trainingsOf({ trials }: LinearRun, survivors: number[], { scales }: Rung): RungTraining[] {
  return survivors.flatMap((trial) =>
    (trials[trial]!.optimizer.kind === "lbfgs" ? [unscaled] : scales).map((scale) => ({ trial, scale })),
  );
}

/** What a rung trains: of each head its trainings. */
export function trainingPlan(run: LinearRun, options: { trainings: RungTraining[][]; rung: Rung }): TrainingPlan {
  const { trainings, rung } = options;
  const { settings, classes, loss, regularised } = run;
  return {
    heads: run.heads.map((_, h) => trainings[h]!.map((training) => candidateOf(run, h, training))),
    seeds: settings.seeds,
    classes: classes.length,
    loss,
    regularised,
    epochs: rung.epochs,
    ...(rung.epochs < settings.epochs && { scheduleEpochs: settings.epochs }),
  };
}

function candidateOf({ settings, heads, trials }: LinearRun, h: number, { trial, scale }: RungTraining): Candidate {
  const { lr, weightDecay, optimizer, schedule, batchSize, headWidth } = trials[trial]!;
  const { lrBatch } = settings.optimizer;
  const byBatch = lrBatch === undefined || batchSize === undefined ? 1 : batchSize / lrBatch;
  return {
    spec: withWidth(heads[h]!, headWidth),
    trial: { lr: lr * byBatch * scale.rate, weightDecay: weightDecay * scale.decay, optimizer, schedule },
    batchSize,
  };
}
