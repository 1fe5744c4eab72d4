import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import { UserError } from "../../lib/errors.js";
import { openStudyJournal, type StudyJournal, type StudyJournalOptions } from "../../lib/results/study-journal.js";
import { temporaryFolder } from "../command-line.js";
import { goldenPath, root } from "../golden.js";

const folder = temporaryFolder();
let files = 0;
const newFile = () => path.join(folder, `${files++}.jsonl`);

const settings: Omit<StudyJournalOptions, "file"> = {
  name: "logreg",
  goal: "maximize",
  seed: 22,
  space: {
    lr: { from: 0.1, to: 100, scale: "log" },
    weightDecay: { from: 1e-12, to: 1e-4, scale: "log" },
  },
};

/** Until there are `until` trials, all of them ended. */
function run(study: StudyJournal, until: number, batch: number): StudyJournal {
  while (study.trials.length < until || study.trials.some(({ state }) => state === "running")) {
    const asked = study.ask(batch);
    study.tell(
      asked.map(({ number, parameters: { lr } }) => ({ number, value: number === 5 ? NaN : -Math.abs(lr! - 10) })),
    );
  }
  return study;
}

const linesOf = (file: string) =>
  readFileSync(file, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe("the journal of a study", () => {
  const whole = newFile();
  const first = run(openStudyJournal({ ...settings, file: whole }), 16, 1);
  first.close();
  const { trials } = first;
  const opened = (file: string, other: Partial<StudyJournalOptions> = {}) => {
    const study = openStudyJournal({ ...settings, file, ...other });
    study.close();
    return study;
  };

  test("gives back every trial", () => {
    expect(trials[5]!.state).toBe("failed");
    expect(opened(whole).trials).toEqual(trials);
    const file = newFile();
    const study = openStudyJournal({ ...settings, file });
    const asked = study.ask(3);
    study.tell([2, 0].map((number) => ({ number, value: number })));
    study.close();
    expect(opened(file).trials).toEqual(study.trials);
    expect(opened(file).ask(3)).toEqual([asked[1]]);
  });

  test("cut off anywhere, it goes on as if it had not been", () => {
    const text = readFileSync(whole, "utf8");
    for (let length = 0; length < text.length; length += 397) {
      const file = newFile();
      writeFileSync(file, text.slice(0, length));
      const study = run(openStudyJournal({ ...settings, file }), 16, 1);
      study.close();
      expect(study.trials).toEqual(trials);
      expect(opened(file).trials).toEqual(trials);
    }
  });

  test("holds other studies too", () => {
    const file = newFile();
    run(openStudyJournal({ ...settings, file, name: "first" }), 5, 1).close();
    const second = run(openStudyJournal({ ...settings, file, name: "second", goal: "minimize" }), 3, 1);
    second.close();
    const again = run(openStudyJournal({ ...settings, file, name: "first" }), 7, 1);
    again.close();
    expect(opened(file, { name: "first" }).trials).toEqual(again.trials);
    expect(opened(file, { name: "second", goal: "minimize" }).trials).toEqual(second.trials);
    expect(second.trials).toHaveLength(3);
  });

  test("has lines like Optuna's own", () => {
    const keysOf = (lines: Record<string, unknown>[]) => {
      const byOperation = new Map<unknown, string>();
      for (const line of lines)
        if (!byOperation.has(line.op_code)) byOperation.set(line.op_code, Object.keys(line).sort().join());
      return byOperation;
    };
    const [own, optunas] = [whole, goldenPath("tpe/optuna-journal.jsonl")].map((file) => keysOf(linesOf(file)));
    for (const operation of [0, 2, 6]) expect(own!.get(operation)).toBe(optunas!.get(operation));
  });

  test("of Optuna's own is gone on with", () => {
    const file = newFile();
    copyFileSync(goldenPath("tpe/optuna-journal.jsonl"), file);
    const before = opened(file);
    expect(before.trials.map(({ state, value }) => [state, value])).toEqual([
      ["complete", 0],
      ["complete", 1 / 16],
      ["failed", undefined],
      ["complete", 3 / 16],
      ["running", undefined],
    ]);
    expect(before.best()!.number).toBe(3);
    const study = openStudyJournal({ ...settings, file });
    expect(study.ask(3)).toEqual([before.trials[4]]);
    study.tell([{ number: 4, value: 0.5 }]);
    run(study, 12, 4);
    study.close();
    expect(opened(file).trials).toEqual(study.trials);
  });

  test("is left alone where something is wrong", () => {
    const refused = (text: string, other: Partial<StudyJournalOptions>, message: RegExp) => {
      const file = newFile();
      writeFileSync(file, text);
      expect(() => opened(file, other)).toThrow(UserError);
      expect(() => opened(file, other)).toThrow(message);
      expect(readFileSync(file, "utf8")).toBe(text);
    };
    const text = readFileSync(whole, "utf8");
    refused(
      text,
      { goal: "minimize" },
      /^Expected the study logreg in .* to have the goal "minimize" but it has "maximize"$/,
    );
    refused(text, { seed: 1 }, /seed 1 but it has 22/);
    refused(text, { space: { lr: settings.space.lr! } }, /parameters "lr" but it has "lr,weightDecay"/);
    refused(text, { space: { ...settings.space, a: settings.space.lr! } }, /parameters "a,lr,weightDecay"/);
    const wider = { ...settings.space, lr: { from: 0.1, to: 1000, scale: "log" } as const };
    refused(text, { space: wider }, /range of lr {"from":0.1,"to":1000,.* but it has {.*"high":100/);
    refused('{"epoch":1}\n', {}, /^Expected .* line 1 of the journal/);
    refused('{"op_code":77}\n', {}, /line 1 of the journal/);
    refused(
      text.replace('"trial_id":0', '"trial_id":"a"'),
      {},
      /^Expected number for trial_id in line \d+ of the journal/,
    );
    refused("lr,weightDecay\n", {}, /^Expected an operation of a study for line 1/);
    refused("a file of another kind", {}, /^Expected an operation of a study for line 1/);
    refused("", { space: {} }, /at least one parameter/);
    expect(() => opened(folder)).toThrow(/it is a folder/);
  });

  const python = process.env.OPTUNA_PYTHON ?? "python3";
  const probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('optuna') is None)";
  const hasOptuna = spawnSync(python, ["-c", probe]).status === 0;
  const noOptuna = hasOptuna ? "" : ` (${python} has no optuna; name a Python that has by OPTUNA_PYTHON)`;
  (hasOptuna ? test : test.skip)(`is opened by Optuna itself${noOptuna}`, () => {
    interface Loaded {
      direction: string;
      attributes: Record<string, unknown>;
      trials: { number: number; parameters: object; state: string; value: number | null; distributions: object }[];
    }
    const file = newFile();
    const study = run(openStudyJournal({ ...settings, file }), 12, 4);
    study.ask(2);
    study.close();
    writeFileSync(file, '{"op_code":4,"wor', { flag: "a" });
    const load = (...more: string[]) => {
      const script = path.join(root, "bench", "peers", "load_study.py");
      return JSON.parse(execFileSync(python, [script, file, settings.name, ...more], { encoding: "utf8" })) as Loaded;
    };
    const { direction, attributes, trials } = load();
    expect([direction, attributes]).toEqual(["MAXIMIZE", { seed: 22 }]);
    const names = { RUNNING: "running", COMPLETE: "complete", FAIL: "failed" } as Record<string, string>;
    expect(
      trials.map(({ number, parameters, state, value }) => ({ number, parameters, state: names[state], value })),
    ).toEqual(study.trials.map((trial) => ({ ...trial, value: trial.value ?? null })));
    for (const { distributions } of trials) {
      expect(distributions).toEqual({
        lr: "FloatDistribution(high=100.0, log=True, low=0.1, step=None)",
        weightDecay: "FloatDistribution(high=0.0001, log=True, low=1e-12, step=None)",
      });
    }
    // We, who cut the torn line off; then Optuna; then we.
    opened(file);
    expect(load("1").trials).toHaveLength(15);
    const next = opened(file);
    expect(next.trials.slice(0, 14)).toEqual(study.trials);
    expect(next.trials[14]).toMatchObject({ number: 14, state: "complete", value: 0 });
  });
});
