import { digestOf } from "../files.js";
import type { BankPlace } from "../heads/bank.js";
import type { TrainingJob } from "./job.js";
import type { EpochReport, Trainer, TrainOptions } from "./trainer.js";

/** A trainer of some of the heads and trials. */
export interface TrainerShare {
  trainer: Trainer;
  /** For each of its heads: which one of the whole job it is, and which of that one's trials. */
  places: { head: number; trials: number[] }[];
}

/**
 * Several trainers as one.
 *
 * @param options.job whose heads and trials the shares divide among them.
 * @param options.order `together` for trainers in processes of their own; `in turn` for banks of this process.
 */
export function combinedTrainer(options: {
  job: TrainingJob;
  shares: TrainerShare[];
  order: "together" | "in turn";
}): Trainer {
  const { job, shares, order } = options;
  const { seeds, heads } = job;
  const empty = <T>(): T[][][] => seeds.map(() => heads.map(() => []));
  /** Puts `[seed][head][trial]` of each share where it stands in the whole. */
  const merged = <T>(parts: (T[][][] | undefined)[]): T[][][] => {
    const whole = empty<T>();
    parts.forEach((part, p) => part && place(whole, part, shares[p]!));
    return whole;
  };
  const each = <T>(work: (share: TrainerShare) => Promise<T>) => Promise.all(shares.map(work));
  return {
    job,
    steps: shares.reduce((sum, { trainer }) => sum + trainer.steps, 0),
    train: async (training) => {
      if (order === "together") return trainTogether(shares, training, merged);
      for (const [p, { trainer, places }] of shares.entries()) {
        const onEpoch = (report: EpochReport) => {
          const whole = empty<number | undefined>();
          place(whole, report.losses, shares[p]!);
          training.onEpoch?.({ epoch: report.epoch, losses: whole, ...outwardPlaces(report, places) });
        };
        await trainer.train({ ...training, checkpoint: checkpointOf(training, p, places), onEpoch });
      }
    },
    diverged: async () => merged(await each(({ trainer }) => trainer.diverged())),
    scores: async () => merged(await each(({ trainer }) => trainer.scores())),
    judge: async ({ part, wanted = heads.map(({ trials }) => trials.map((_, t) => t)) }) => {
      const inside = shares.map(({ places }) =>
        places.map(({ head, trials }) => wanted[head]!.flatMap((t) => (trials.includes(t) ? [trials.indexOf(t)] : []))),
      );
      const judged = await Promise.all(
        shares.map(async ({ trainer }, p) => {
          // A share that is not asked for anything need not pass over the images.
          const isAsked = inside[p]!.some((trials) => trials.length > 0);
          return isAsked ? trainer.judge({ part, wanted: inside[p]! }) : [];
        }),
      );
      const whole = empty<(typeof judged)[number][number][number][number]>();
      judged.forEach((bySeed, p) =>
        bySeed.forEach((ofSeed, s) =>
          ofSeed.forEach((ofHead, h) => {
            const { head, trials } = shares[p]!.places[h]!;
            ofHead.forEach((judgement, i) => {
              whole[s]![head]![wanted[head]!.indexOf(trials[inside[p]![h]![i]!]!)] = judgement;
            });
          }),
        ),
      );
      return whole;
    },
    weights: ({ seed, head, trial }) => {
      for (const { trainer, places } of shares) {
        const own = places.findIndex((one) => one.head === head && one.trials.includes(trial));
        if (own >= 0) return trainer.weights({ seed, head: own, trial: places[own]!.trials.indexOf(trial) });
      }
      throw new Error(`No share holds trial ${trial} of head ${head}`);
    },
    close: async () => void (await each(({ trainer }) => trainer.close())),
  };
}

/** An epoch is told when all shares have made it; of L-BFGS, whose heads train in turn, some shares have more to tell. */
async function trainTogether(
  shares: TrainerShare[],
  training: TrainOptions,
  merged: (parts: ((number | undefined)[][][] | undefined)[]) => (number | undefined)[][][],
): Promise<void> {
  const reported: EpochReport[][] = shares.map(() => []);
  const finished = shares.map(() => false);
  let told = 0;
  const tell = () => {
    while (reported.every((reports, p) => reports.length > told || finished[p])) {
      const of = reported.map((reports) => reports[told]);
      const found = of.flatMap((report, p) => (report ? [outwardPlaces(report, shares[p]!.places)] : []));
      const report = of.find((one) => one);
      if (!report) return;
      told++;
      training.onEpoch?.({
        epoch: report.epoch,
        losses: merged(of.map((one) => one?.losses)),
        diverged: found.flatMap(({ diverged }) => diverged),
        ...(report.rested && { rested: found.flatMap(({ rested = [] }) => rested) }),
      });
    }
  };
  // Where one fails, the others stop too, and save what they have.
  const stop = new AbortController();
  const stopAll = () => stop.abort(training.signal?.reason);
  if (training.signal?.aborted) stopAll();
  training.signal?.addEventListener("abort", stopAll, { once: true });
  const failures: unknown[] = [];
  await Promise.all(
    shares.map(async ({ trainer, places }, p) => {
      try {
        await trainer.train({
          ...training,
          signal: stop.signal,
          checkpoint: checkpointOf(training, p, places),
          onEpoch: (report) => {
            reported[p]!.push(report);
            tell();
          },
        });
        finished[p] = true;
        tell();
      } catch (error) {
        failures.push(error);
        stop.abort(error);
      }
    }),
  );
  training.signal?.removeEventListener("abort", stopAll);
  if (failures.length > 0) throw failures[0];
}

function place<T>(whole: T[][][], part: T[][][], { places }: TrainerShare): void {
  part.forEach((ofSeed, s) =>
    ofSeed.forEach((ofHead, h) => {
      const { head, trials } = places[h]!;
      ofHead.forEach((value, t) => (whole[s]![head]![trials[t]!] = value));
    }),
  );
}

function outwardPlaces(
  { diverged, rested }: EpochReport,
  places: TrainerShare["places"],
): Pick<EpochReport, "diverged" | "rested"> {
  const all = (found: BankPlace[]) => found.map((one) => outward(one, places));
  return { diverged: all(diverged), ...(rested && { rested: all(rested) }) };
}

function outward({ seed, head, trial }: BankPlace, places: TrainerShare["places"]): BankPlace {
  return { seed, head: places[head]!.head, trial: places[head]!.trials[trial]! };
}

/** A share takes up only what was trained of the same heads and trials: with other processes they divide otherwise. */
function checkpointOf(
  { checkpoint }: TrainOptions,
  share: number,
  places: TrainerShare["places"],
): TrainOptions["checkpoint"] {
  const { file, key } = checkpoint ?? {};
  return checkpoint && { ...checkpoint, file: `${file}.${share}`, key: digestOf({ key, places }) };
}
