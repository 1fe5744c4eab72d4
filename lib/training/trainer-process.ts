/**
 * A process that trains heads for another one, with a TensorFlow of one thread of its own. It is started by
 * `startProcesses`, is asked by messages, and ends with the process that asks.
 */
import { prepareBackend } from "../backend/backend.js";
import type { FeatureSource } from "../features/source.js";
import { openStore } from "../features/store.js";
import { openStoredSource } from "../features/stored-source.js";
import { answerQuestions } from "../processes/answering.js";
import type { Part, TrainingJob, TrainingParts } from "./job.js";
import type { Question, StoredPart, StoredParts, TrainingEvent } from "./process-messages.js";
import type { Trainer } from "./trainer.js";
import { trainerHere } from "./trainer-here.js";

/** Milliseconds between two reports of steps. */
const reportInterval = 200;

interface Opened {
  trainer: Trainer;
  abort: AbortController;
}

const opened: Opened[] = [];
const sources = new Map<string, Promise<FeatureSource>>();
let residentBytes = 0;

const tell = answerQuestions<Question, TrainingEvent>(answer);

async function answer(question: Question): Promise<unknown> {
  switch (question.ask) {
    case "prepare":
      residentBytes = question.residentBytes;
      await prepareBackend({ device: question.device, threads: 1 });
      return undefined;
    case "open":
      return open(question.job, question.parts);
    case "train":
      return train(question.trainer, question.checkpoint);
    case "abort":
      opened[question.trainer]!.abort.abort(new Error("stopped"));
      return undefined;
    case "diverged":
      return trainerOf(question).diverged();
    case "judge":
      return trainerOf(question).judge(question);
    case "scores":
      return trainerOf(question).scores();
    case "weights":
      return trainerOf(question).weights(question.place);
    case "close":
      return trainerOf(question).close();
  }
}

function trainerOf({ trainer }: { trainer: number }): Trainer {
  return opened[trainer]!.trainer;
}

async function open(job: TrainingJob, stored: StoredParts): Promise<{ trainer: number; steps: number }> {
  const parts: TrainingParts = {
    train: await partOf(stored.train),
    select: stored.select && (await partOf(stored.select)),
    report: await partOf(stored.report),
  };
  const trainer = trainerHere({ job, parts });
  opened.push({ trainer, abort: new AbortController() });
  return { trainer: opened.length - 1, steps: trainer.steps };
}

async function partOf({ stored, rows }: StoredPart): Promise<Part> {
  const { folder, layers } = stored;
  const key = JSON.stringify(stored);
  let source = sources.get(key);
  if (!source) {
    source = openStore({ folder }).then((store) => openStoredSource({ store, layers, residentBytes }));
    sources.set(key, source);
  }
  return { source: await source, rows };
}

async function train(number: number, checkpoint?: Extract<Question, { ask: "train" }>["checkpoint"]): Promise<void> {
  const { trainer, abort } = opened[number]!;
  let steps = 0;
  const report = () => {
    if (steps > 0) tell({ kind: "steps", trainer: number, count: steps });
    steps = 0;
  };
  const timer = setInterval(report, reportInterval);
  try {
    await trainer.train({
      checkpoint,
      signal: abort.signal,
      onResume: (position) => tell({ kind: "resumed", trainer: number, position }),
      onSteps: (count) => (steps += count),
      onEpoch: (epoch) => tell({ kind: "epoch", trainer: number, report: epoch }),
    });
  } finally {
    clearInterval(timer);
    report();
  }
}
