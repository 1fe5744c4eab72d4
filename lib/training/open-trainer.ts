import type { Trial } from "../heads/block.js";
import type { HeadSpec } from "../heads/head.js";
import { headWidths } from "../heads/head.js";
import type { BankHead } from "../heads/head-blocks.js";
import { trainerHere } from "./trainer-here.js";
import type { TrainerShare } from "./combined-trainer.js";
import { combinedTrainer } from "./combined-trainer.js";
import type { TrainingJob, TrainingParts } from "./job.js";
import type { TrainingProcess } from "./process-trainer.js";
import { processTrainer } from "./process-trainer.js";
import type { Trainer } from "./trainer.js";

/** A setting that a head is tried with. */
export interface Candidate {
  /** The head; candidates may differ in the width of its hidden layers. */
  spec: HeadSpec;
  trial: Trial;
  /** undefined where every step sees all images. */
  batchSize?: number;
}

/** A training whose settings may differ in batch size and head too. */
export interface TrainingPlan extends Omit<TrainingJob, "heads" | "batchSize"> {
  /** Of each head its candidates. */
  heads: Candidate[][];
}

/**
 * A trainer of all candidates of all heads: those of one batch size are one bank, and each bank is divided among the
 * processes, where there are any. Trials of the whole are numbered as the candidates of their head.
 */
export async function openTrainer(options: {
  plan: TrainingPlan;
  parts: TrainingParts;
  /** None: all is trained in this process. */
  processes: TrainingProcess[];
}): Promise<Trainer> {
  const { plan, parts, processes } = options;
  const { heads, ...rest } = plan;
  const whole = jobOf(rest, heads);
  const shares: TrainerShare[] = [];
  for (const batchSize of new Set(heads.flat().map((candidate) => candidate.batchSize))) {
    const bank = bankOf(heads, batchSize);
    const job: TrainingJob = { ...rest, batchSize, heads: bank.map(({ head }) => head) };
    const trainer = processes.length > 1 ? await dividedTrainer(job, parts, processes) : trainerHere({ job, parts });
    shares.push({ trainer, places: bank.map(({ place }) => place) });
  }
  return combinedTrainer({ job: whole, shares, order: "in turn" });
}

function jobOf(rest: Omit<TrainingPlan, "heads">, heads: Candidate[][], batchSize?: number): TrainingJob {
  return {
    ...rest,
    batchSize,
    heads: heads.map((candidates) => ({ spec: candidates[0]!.spec, trials: candidates.map(({ trial }) => trial) })),
  };
}

/** The candidates of one batch size; those of one head with equal widths are one head of the bank. */
function bankOf(heads: Candidate[][], batchSize?: number): { head: BankHead; place: TrainerShare["places"][number] }[] {
  return heads.flatMap((candidates, h) => {
    const groups = new Map<string, { head: BankHead; place: TrainerShare["places"][number] }>();
    candidates.forEach((candidate, t) => {
      if (candidate.batchSize !== batchSize) return;
      const key = JSON.stringify(candidate.spec);
      const group = groups.get(key) ?? { head: { spec: candidate.spec, trials: [] }, place: { head: h, trials: [] } };
      group.head.trials.push(candidate.trial);
      group.place.trials.push(t);
      groups.set(key, group);
    });
    return [...groups.values()];
  });
}

async function dividedTrainer(job: TrainingJob, parts: TrainingParts, processes: TrainingProcess[]): Promise<Trainer> {
  const shares: TrainerShare[] = [];
  for (const [p, { places }] of divide(job, processes.length).entries()) {
    if (places.length === 0) continue;
    const heads = places.map(({ head, trials }) => {
      const whole = job.heads[head]!;
      return { spec: whole.spec, trials: trials.map((t) => whole.trials[t]!) };
    });
    const trainer = await processTrainer({ on: processes[p]!, job: { ...job, heads }, parts });
    shares.push({ trainer, places });
  }
  return combinedTrainer({ job, shares, order: "together" });
}

/**
 * About equal work for each process: the trials of a head are cut evenly where there are enough of them; what is left
 * over goes, largest first, to where least is.
 */
function divide({ heads, classes }: TrainingJob, count: number): { work: number; places: TrainerShare["places"] }[] {
  const shares = Array.from({ length: count }, () => ({ work: 0, places: [] as TrainerShare["places"] }));
  const units = heads.flatMap(({ spec, trials }, head) => {
    const widths = headWidths(spec, classes);
    const cost = widths.slice(1).reduce((sum, width, i) => sum + (widths[i]! + 1) * width, 0);
    const cuts = Math.min(count, trials.length);
    const bound = (i: number) => Math.round((i * trials.length) / cuts);
    return Array.from({ length: cuts }, (_, i) => {
      const own = Array.from({ length: bound(i + 1) - bound(i) }, (_, t) => bound(i) + t);
      return { head, trials: own, work: cost * own.length };
    });
  });
  units.sort((a, b) => b.work - a.work || a.head - b.head);
  for (const { work, head, trials } of units) {
    const least = shares.reduce((best, share) => (share.work < best.work ? share : best));
    least.work += work;
    least.places.push({ head, trials });
  }
  return shares;
}

/** How many times as long as the mean the longest share would be; 1 is even. */
export function divideEvenly({ heads, ...rest }: TrainingPlan, count: number): number {
  const shares = divide(jobOf(rest, heads), count).map(({ work }) => work);
  return (Math.max(...shares) * count) / shares.reduce((sum, work) => sum + work, 0);
}
