import type { Device } from "../backend/backend.js";
import type { StorePlaces } from "../features/source.js";
import type { BankPlace } from "../heads/bank.js";
import type { TrainingJob } from "./job.js";
import type { TrainingPosition } from "./passes.js";
import type { Checkpoint, EpochReport } from "./trainer.js";

/** A part of the images, where a process finds it. */
export interface StoredPart {
  stored: StorePlaces;
  rows: Uint32Array;
}

export interface StoredParts {
  train: StoredPart;
  select?: StoredPart;
  report: StoredPart;
}

/** What a training process is asked. Each question has one answer. */
export type Question =
  | { ask: "prepare"; device: Device; residentBytes: number }
  /** Answered with the number of the trainer. */
  | { ask: "open"; job: TrainingJob; parts: StoredParts }
  | { ask: "train"; trainer: number; checkpoint?: Checkpoint }
  | { ask: "abort"; trainer: number }
  | { ask: "diverged"; trainer: number }
  | { ask: "judge"; trainer: number; part: "select" | "report"; wanted?: number[][] }
  | { ask: "scores"; trainer: number }
  | { ask: "weights"; trainer: number; place: BankPlace }
  | { ask: "close"; trainer: number };

/** What happens while training goes. */
export type TrainingEvent =
  | { kind: "resumed"; trainer: number; position: TrainingPosition }
  | { kind: "steps"; trainer: number; count: number }
  | { kind: "epoch"; trainer: number; report: EpochReport };
