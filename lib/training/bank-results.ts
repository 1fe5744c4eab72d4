import type { HeadBank } from "../heads/bank.js";
import type { TrainingJob, TrainingParts } from "./job.js";
import { judge, scoreOf } from "./judging.js";
import type { Trainer } from "./trainer.js";

/** What a trainer tells of the heads of a bank in this process. */
export function bankResults(options: {
  job: TrainingJob;
  bank: HeadBank;
  parts: TrainingParts;
}): Pick<Trainer, "diverged" | "judge" | "scores" | "weights" | "close"> {
  const { bank, parts } = options;
  const { classes } = options.job;
  return {
    diverged: async () => structuredClone(bank.diverged),
    judge: ({ part, wanted }) => judge({ bank, part: parts[part]!, classes, wanted }),
    scores: async () => {
      const part = parts.select!;
      const judged = await judge({ bank, part, classes });
      return judged.map((ofSeed) => ofSeed.map((ofHead) => ofHead.map((one) => scoreOf(one, part, classes))));
    },
    weights: (place) => bank.weights(place),
    close: async () => bank.dispose(),
  };
}
