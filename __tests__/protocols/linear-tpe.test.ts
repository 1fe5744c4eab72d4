import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

import { prepareBackend } from "../../lib/backend/backend.js";
import type { FeatureSet } from "../../lib/features/feature-set.js";
import { evalLinear, type EvalLinearOptions } from "../../lib/protocols/linear/linear.js";
import { replay } from "../../lib/results/optuna-journal.js";
import { cloudFeatures, cloudSource } from "../clouds.js";
import { temporaryFolder } from "../command-line.js";
import { root } from "../golden.js";
import { testWithPython } from "../python.js";
import { readTrials } from "./trials.js";

const folder = temporaryFolder();

// On one backend: what is asked for does not depend on it but for rounding.
describe("a sweep by TPE", () => {
  let features: FeatureSet;
  beforeAll(async () => {
    await prepareBackend({ device: "wasm" });
    features = cloudFeatures({
      train: await cloudSource({ images: 160, seed: 1 }),
      test: await cloudSource({ images: 80, seed: 2 }),
    });
  });
  afterAll(() => features.close());

  const settings = {
    layers: ["shallow", "deep"],
    heads: ["fc"],
    optimizer: {
      lr: { from: 1e-3, to: 1e4, scale: "log" },
      weightDecay: { from: 1e-8, to: 1e-2, scale: "log" },
      momentum: 0.9,
      nesterov: false,
    },
    schedule: { kind: "cosine", per: "epoch" },
    epochs: 3,
    batchSize: 32,
    search: "tpe",
    trials: 18,
    searchSeed: 5,
    valFraction: 0.4,
  } satisfies Partial<EvalLinearOptions>;
  const evaluate = (options: Partial<EvalLinearOptions> = {}) => evalLinear({ ...settings, features, ...options });
  const fileOf = (out: string, layer: string) => path.join(out, "studies", `${layer}.fc.jsonl`);
  const studyOf = (out: string, layer: string) =>
    replay(readFileSync(fileOf(out, layer), "utf8"), "the study").studies[0]!;
  const whole = path.join(folder, "whole");

  test("keeps a study a head, whose best trial is reported", async () => {
    const record = await evaluate({ out: whole });
    const [shallow, deep] = record.results;
    const settingsOf = ({ trials }: typeof deep & object, from: number, to: number) =>
      trials.slice(from, to).map(({ setting }) => setting);
    expect(settingsOf(shallow!, 0, 10)).toEqual(settingsOf(deep!, 0, 10));
    expect(settingsOf(shallow!, 10, 18)).not.toEqual(settingsOf(deep!, 10, 18));
    for (const result of record.results) {
      const { name, trials } = studyOf(whole, result.layer);
      expect(name).toBe(`${result.layer} fc`);
      expect(trials.map(({ parameters: { lr, weightDecay } }) => ({ lr, weightDecay }))).toEqual(
        result.trials.map(({ setting: { lr, weightDecay } }) => ({ lr, weightDecay })),
      );
      const values = result.trials.map(({ selection }) => selection?.mean ?? 0);
      expect(trials.map(({ values }) => values[0])).toEqual(values);
      const best = values.indexOf(Math.max(...values));
      expect(result.chosen).toEqual(result.trials[best]!.setting);
      expect(result.selection!.mean).toBe(values[best]);
    }
    // Ten by chance, then five and three that are learnt; the chosen one again is no trial.
    expect([0, 1, 2, 3].map((rung) => readTrials(whole).filter((line) => line.rung === rung).length)).toEqual([
      20, 10, 6, 0,
    ]);
    // The chosen one was trained again by itself: it says of the test images what that training gives.
    const { lr, weightDecay } = deep!.chosen as { lr: number; weightDecay: number };
    const alone = await evaluate({
      layers: ["deep"],
      search: "grid",
      trials: undefined,
      optimizer: { ...settings.optimizer, lr: [lr, lr / 1e9], weightDecay: [weightDecay] },
    });
    expect(alone.results[0]!.trials[0]!.selection).toEqual(deep!.selection);
    expect(alone.results[0]!.metrics).toEqual(deep!.metrics);
  });

  test.each([
    ["the second round", "train (2"],
    ["the last training", "train (4"],
  ])("stopped in %s it goes on to the same result", async (_, when) => {
    const out = path.join(folder, when.replace(/\W/g, ""));
    const stop = new AbortController();
    const labels: string[] = [];
    const task = ({ label }: { label: string }) => {
      labels.push(label);
      return {
        advance: (n: number) => n > 0 && label.startsWith(when) && stop.abort(new Error("stopped")),
        end: () => {},
      };
    };
    const progress = { note: () => {}, task };
    await expect(evaluate({ out, progress, signal: stop.signal })).rejects.toThrow("stopped");
    const running = studyOf(out, "deep").trials.filter(({ state }) => state === 0).length;
    expect(running).toBe(when === "train (2" ? 5 : 0);
    labels.length = 0;
    const resumed = await evaluate({ out, progress: { note: () => {}, task: (of) => (labels.push(of.label), { advance: () => {}, end: () => {} }) } }); // prettier-ignore
    expect(labels[0]).toMatch(when);
    const before = JSON.parse(readFileSync(path.join(whole, "result.json"), "utf8")) as { results: unknown };
    expect(resumed.results).toEqual(before.results);
    for (const layer of settings.layers) {
      const plain = (of: string) =>
        studyOf(of, layer).trials.map(({ parameters, values, state }) => [parameters, values, state]);
      expect(plain(out)).toEqual(plain(whole));
    }
    expect(readFileSync(path.join(out, "trials.jsonl"), "utf8")).toBe(
      readFileSync(path.join(whole, "trials.jsonl"), "utf8"),
    );
    expect(existsSync(path.join(out, "training"))).toBe(false);
  });

  testWithPython(
    { name: "its study is opened by Optuna itself", variable: "OPTUNA_PYTHON", module: "optuna" },
    (python) => {
      const script = path.join(root, "bench", "peers", "load_study.py");
      const told = python([script, fileOf(whole, "deep"), "deep fc"]);
      const { direction, trials } = JSON.parse(told) as {
        direction: string;
        trials: { state: string; value: number }[];
      };
      expect(direction).toBe("MAXIMIZE");
      expect(trials.map(({ state, value }) => [state, value])).toEqual(
        studyOf(whole, "deep").trials.map(({ values }) => ["COMPLETE", values[0]]),
      );
    },
  );

  test("wants ranges, and the number of trials", async () => {
    const { lr, ...rest } = settings.optimizer;
    await expect(evaluate({ optimizer: { ...rest, lr: [0.1, 1] } })).rejects.toThrow(
      "Expected one value or a range such as log(1e-4,1) for --lr but received [0.1,1]",
    );
    await expect(evaluate({ optimizer: { lr: [0.1], weightDecay: [0] } })).rejects.toThrow(
      "Expected a range such as log(1e-4,1) for --lr or --weight-decay",
    );
    await expect(evaluate({ optimizer: { ...rest, lr }, trials: undefined })).rejects.toThrow(
      "Expected a number of trials of at least 1",
    );
  });
});
