import { bankTrainer } from "./bank-trainer.js";
import { fullBatchTrainer } from "./full-batch-trainer.js";
import type { TrainingJob, TrainingParts } from "./job.js";
import type { Trainer } from "./trainer.js";

/** A trainer of one job in this process. */
export function trainerHere({ job, parts }: { job: TrainingJob; parts: TrainingParts }): Trainer {
  const { batchSize } = job;
  return batchSize === undefined
    ? fullBatchTrainer({ job, parts })
    : bankTrainer({ job: { ...job, batchSize }, parts });
}
