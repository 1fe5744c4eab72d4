import { readFileSync } from "node:fs";

import { UserError } from "../errors.js";
import { asReadError, errorCode } from "../files.js";
import type { Range } from "../search/range.js";
import { openStudy, type Study, type StudyOptions } from "../search/study.js";
import type { StudySpace, StudyTrial } from "../search/study-trial.js";
import { openJsonLines } from "./json-lines.js";
import {
  directions,
  distributionText,
  operations,
  type OptunaStudy,
  type OptunaTrial,
  readDistribution,
  replay,
  states,
} from "./optuna-journal.js";

export interface StudyJournalOptions extends Pick<StudyOptions, "space" | "goal" | "seed"> {
  /** May hold other studies; is made where it is missing. One process writes to it at a time. */
  file: string;
  /** Names the study within the file. */
  name: string;
}

/** A study whose trials are in a file. */
export interface StudyJournal extends Study {
  close(): void;
}

/**
 * Begins a study in a file, or goes on with the one that is there. The file is Optuna's journal: its `load_study` opens
 * it and its dashboard shows it, also while the study runs.
 *
 * A trial is in the file before it is trained, whole in one line; a line that a killed process left half-written is cut
 * off.
 *
 * @throws UserError where the file holds something else, or a study of this name with another goal, space or seed.
 */
export function openStudyJournal({ file, name, space, goal, seed }: StudyJournalOptions): StudyJournal {
  const journal = replay(textOf(file), `the journal ${file}`);
  const found = journal.studies.find((study) => study.name === name);
  if (found) checkSame(found, { file, name, space, goal, seed });
  const ids = found?.trials.map(({ id }) => id) ?? [];
  const study_id = found?.id ?? journal.nextStudy;
  const study = openStudy({
    space,
    goal,
    seed,
    trials: found?.trials.map((trial, number) => trialOf(trial, number, space)),
    keep: (changed) => {
      const begun = changed.filter(({ state }) => state === "running");
      lines.append(changed.map((trial) => (begun.includes(trial) ? begin(trial) : end(trial))));
      for (const { number } of begun) ids[number] = journal.nextTrial++;
    },
  });
  const begin = ({ parameters: params }: StudyTrial) => ({
    op_code: operations.createTrial,
    worker_id,
    study_id,
    datetime_start: now(),
    state: states.running,
    value: null,
    values: null,
    distributions: Object.fromEntries(Object.entries(space).map(([key, range]) => [key, textOfRange(range)])),
    params,
    user_attrs: {},
    system_attrs: {},
    intermediate_values: {},
  });
  const end = ({ number, state, value }: StudyTrial) => ({
    op_code: operations.setTrialStateAndValues,
    worker_id,
    trial_id: ids[number],
    state: states[state],
    values: value === undefined ? null : [value],
    datetime_complete: now(),
  });
  const lines = openJsonLines<object>({ file, stays: () => true });
  if (!found) {
    lines.append([
      { op_code: operations.createStudy, worker_id, study_name: name, directions: [directions[goal]] },
      { op_code: operations.setStudyUserAttribute, worker_id, study_id, user_attr: { seed } },
    ]);
  }
  return { ...study, close: () => lines.close() };
}

/** Optuna asks who wrote a line, to tell its own from others'. */
const worker_id = "frozen-eval";

/** As Python's `isoformat` writes it. */
const now = () => new Date().toISOString().replace("Z", "+00:00");

const textOfRange = ({ from, to, scale }: Range) => distributionText({ low: from, high: to, log: scale === "log" });

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return "";
    throw asReadError(error, file, "a study's journal");
  }
}

/** What Optuna calls pruned or waiting, or what has other parameters, cannot be learnt from. */
function trialOf({ state, values, parameters }: OptunaTrial, number: number, space: StudySpace): StudyTrial {
  const whole = Object.keys(space).every((name) => name in parameters);
  if (whole && state === states.complete) return { number, parameters, state: "complete", value: values[0] };
  return { number, parameters, state: whole && state === states.running ? "running" : "failed" };
}

function checkSame(study: OptunaStudy, { file, name, space, goal, seed }: StudyJournalOptions): void {
  const differs = (what: string, wanted: unknown, there: unknown) =>
    new UserError(
      `Expected the study ${name} in ${file} to have the ${what} ${JSON.stringify(wanted)} but it has ${JSON.stringify(there)}`,
      { hint: "Go on with the settings that it was begun with, or name another file." },
    );
  const directionNames = Object.entries(directions);
  const goals = study.directions.map((code) => directionNames.find(([, own]) => own === code)?.[0]);
  if (goals.length !== 1 || goals[0] !== goal) throw differs("goal", goal, goals.join());
  const { seed: before } = study.userAttributes;
  if (before !== undefined && before !== seed) throw differs("seed", seed, before);
  const names = Object.keys(space).sort().join();
  for (const { state, distributions } of study.trials) {
    const own = Object.keys(distributions).sort().join();
    // One that did not come to its end may lack some.
    const same = state === states.complete ? own === names : Object.keys(distributions).every((key) => key in space);
    if (!same) throw differs("parameters", names, own);
    for (const [key, text] of Object.entries(distributions)) {
      const [wanted, there] = [textOfRange(space[key]!), readDistribution(text)];
      if (!there || wanted !== distributionText(there)) throw differs(`range of ${key}`, space[key], there ?? text);
    }
  }
}
