import { z } from "zod";

import { UserError } from "../errors.js";
import { checked } from "./schema.js";

/**
 * The format of Optuna's JournalFileBackend: a line of JSON for each operation, by which a study came to be what it is.
 * Studies and trials are numbered in the order of their operations over the whole file.
 *
 * Source: Optuna 5.0, `optuna/storages/journal/_storage.py`; the codes are those of its versions since 3.1.
 */
export const operations = {
  createStudy: 0,
  deleteStudy: 1,
  setStudyUserAttribute: 2,
  setStudySystemAttribute: 3,
  createTrial: 4,
  setTrialParameter: 5,
  setTrialStateAndValues: 6,
  setTrialIntermediateValue: 7,
  setTrialUserAttribute: 8,
  setTrialSystemAttribute: 9,
  discardTrials: 10,
} as const;

export const directions = { minimize: 1, maximize: 2 } as const;

export const states = { running: 0, complete: 1, pruned: 2, failed: 3, waiting: 4 } as const;

export interface OptunaStudy {
  id: number;
  name: string;
  /** One for each value that a trial has, of {@link directions}. */
  directions: number[];
  userAttributes: Record<string, unknown>;
  /** The trial of number n at place n. */
  trials: OptunaTrial[];
}

export interface OptunaTrial {
  id: number;
  /** Of {@link states}. */
  state: number;
  values: number[];
  parameters: Record<string, number>;
  /** Of each parameter, as Optuna writes it: JSON. */
  distributions: Record<string, string>;
}

/** What operations have come to, and which numbers the next study and trial get. */
export interface OptunaJournal {
  studies: OptunaStudy[];
  nextStudy: number;
  nextTrial: number;
}

/** `FloatDistribution`: all numbers of a range. */
export interface FloatDistribution {
  low: number;
  high: number;
  log: boolean;
}

export function distributionText({ low, high, log }: FloatDistribution): string {
  return JSON.stringify({ name: "FloatDistribution", attributes: { step: null, low, high, log } });
}

const floatDistribution = z.object({
  name: z.literal("FloatDistribution"),
  attributes: z.object({ step: z.null(), low: z.number(), high: z.number(), log: z.boolean() }),
});

/** undefined where it is another kind, as integers and choices are. */
export function readDistribution(text: string): FloatDistribution | undefined {
  try {
    return floatDistribution.parse(JSON.parse(text)).attributes;
  } catch {
    return undefined;
  }
}

const study = { study_id: z.number() };
const trial = { trial_id: z.number() };

const operation = z.discriminatedUnion("op_code", [
  z.object({
    op_code: z.literal(operations.createStudy),
    study_name: z.string(),
    directions: z.array(z.number()),
  }),
  z.object({ op_code: z.literal(operations.deleteStudy), ...study }),
  z.object({
    op_code: z.literal(operations.setStudyUserAttribute),
    ...study,
    user_attr: z.record(z.string(), z.unknown()),
  }),
  z.object({
    op_code: z.literal(operations.createTrial),
    ...study,
    state: z.number().default(states.running),
    value: z.number().nullish(),
    values: z.array(z.number()).nullish(),
    params: z.record(z.string(), z.number()).default({}),
    distributions: z.record(z.string(), z.string()).default({}),
  }),
  z.object({
    op_code: z.literal(operations.setTrialParameter),
    ...trial,
    param_name: z.string(),
    param_value_internal: z.number(),
    distribution: z.string(),
  }),
  z.object({
    op_code: z.literal(operations.setTrialStateAndValues),
    ...trial,
    state: z.number(),
    values: z.array(z.number()).nullable(),
  }),
  z.object({
    op_code: z.literal([
      operations.setStudySystemAttribute,
      operations.setTrialIntermediateValue,
      operations.setTrialUserAttribute,
      operations.setTrialSystemAttribute,
      operations.discardTrials,
    ]),
  }),
]);

/** How every line of Optuna's begins. */
const beginning = '{"op_code":';

/**
 * Does what a journal says. A last line without its end, which a killed process left, is no operation.
 *
 * @param subject what it is and where it stands, in messages.
 * @throws UserError where a line is no operation.
 */
export function replay(text: string, subject: string): OptunaJournal {
  const lines = text.split("\n");
  const unfinished = lines.pop()!;
  const journal: OptunaJournal = { studies: [], nextStudy: 0, nextTrial: 0 };
  for (const [i, line] of lines.entries()) apply(parse(line, `line ${i + 1} of ${subject}`), journal);
  if (!unfinished.startsWith(beginning) && !beginning.startsWith(unfinished)) {
    throw notAnOperation(`line ${lines.length + 1} of ${subject}`);
  }
  return journal;
}

function parse(line: string, subject: string): z.output<typeof operation> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw notAnOperation(subject, error);
  }
  return checked(operation, value, subject);
}

function notAnOperation(subject: string, cause?: unknown): UserError {
  return new UserError(`Expected an operation of a study for ${subject} but received something else`, {
    hint: "Name the file of a study's journal, or one that is not there yet.",
    cause,
  });
}

/** What is done to studies and trials that are not there, or to trials that have ended, is passed over, as by Optuna. */
function apply(done: z.output<typeof operation>, journal: OptunaJournal): void {
  const studyOf = (id: number) => journal.studies.find((one) => one.id === id);
  const trialOf = (id: number) =>
    journal.studies
      .flatMap(({ trials }) => trials)
      .find((one) => one.id === id && (one.state === states.running || one.state === states.waiting));
  switch (done.op_code) {
    case operations.createStudy: {
      const { study_name: name } = done;
      if (journal.studies.some((one) => one.name === name)) return;
      const id = journal.nextStudy++;
      journal.studies.push({ id, name, directions: done.directions, userAttributes: {}, trials: [] });
      return;
    }
    case operations.deleteStudy:
      journal.studies = journal.studies.filter(({ id }) => id !== done.study_id);
      return;
    case operations.setStudyUserAttribute:
      Object.assign(studyOf(done.study_id)?.userAttributes ?? {}, done.user_attr);
      return;
    case operations.createTrial: {
      const { state, value, values, params: parameters, distributions } = done;
      const own = values ?? (typeof value === "number" ? [value] : []);
      const created = { id: journal.nextTrial, state, values: own, parameters, distributions };
      if (studyOf(done.study_id)?.trials.push(created)) journal.nextTrial++;
      return;
    }
    case operations.setTrialParameter: {
      const { parameters, distributions } = trialOf(done.trial_id) ?? {};
      if (!parameters || !distributions) return;
      parameters[done.param_name] = done.param_value_internal;
      distributions[done.param_name] = done.distribution;
      return;
    }
    case operations.setTrialStateAndValues:
      Object.assign(trialOf(done.trial_id) ?? {}, { state: done.state, ...(done.values && { values: done.values }) });
      return;
    default:
      return;
  }
}
