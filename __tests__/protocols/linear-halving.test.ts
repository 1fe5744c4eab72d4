import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { arraySource } from "../../lib/features/array-source.js";
import type { FeatureSet } from "../../lib/features/feature-set.js";
import { evalLinear, type EvalLinearOptions } from "../../lib/protocols/linear/linear.js";
import { random } from "../../lib/random.js";
import { describeOnNative } from "../backends.js";
import { cloudFeatures, cloudSource } from "../clouds.js";
import { temporaryFolder } from "../command-line.js";
import { readTrials } from "./trials.js";

// Three sweeps of some hundred steps: seconds of two free cores.
jest.setTimeout(180_000);

const root = temporaryFolder();
const [width, named, used] = [500, 100, 8];

/**
 * So wide, and of so many classes, that trials and not calls are what a step costs. Skewed, as behind a ReLU: all lie in
 * one direction from zero, which makes large rates unstable.
 */
async function skewedSource(images: number, seed: number) {
  const [stream, centre] = [random(seed, "skewed"), random(0, "means")];
  const means = Float32Array.from({ length: used * width }, () => 0.25 * centre.normal());
  const labels = Int32Array.from({ length: images }, () => stream.integer(used));
  const data = Float32Array.from({ length: images * width }, (_, i) => {
    return means[labels[Math.floor(i / width)]! * width + (i % width)]! + Math.exp(stream.normal()) / 2;
  });
  return arraySource({ layers: { wide: { shape: [width], data } }, targets: { kind: "single", labels } });
}

// On one backend: what is chosen does not depend on it but for rounding, and steps enough for halving take long on wasm.
describeOnNative("a sweep by halving", () => {
  let features: FeatureSet;
  beforeAll(async () => {
    features = {
      ...cloudFeatures({ train: await skewedSource(4000, 1), test: await skewedSource(3000, 2) }),
      classes: Array.from({ length: named }, (_, i) => `class ${i}`),
    };
  });
  afterAll(() => features.close());

  const sweep = {
    heads: ["fc"],
    optimizer: {
      lr: Array.from({ length: 20 }, (_, i) => 1e-4 * 1.8 ** i),
      weightDecay: [0, 0.001],
      momentum: 0.9,
      nesterov: true,
    },
    schedule: { kind: "multistep", milestones: [6, 10], gamma: 0.1 },
    epochs: 14,
    batchSize: 100,
    valFraction: 0.5,
  } satisfies Partial<EvalLinearOptions>;
  const evaluate = (options: Partial<EvalLinearOptions>) => evalLinear({ ...sweep, features, ...options });

  test("chooses among finalists that were trained as in the full sweep", async () => {
    const out = path.join(root, "halving");
    const [full, halved] = [await evaluate({}), await evaluate({ search: "halving", out })];
    const [all, found] = [full.results[0]!, halved.results[0]!];
    expect(found.trials.map(({ setting }) => setting)).toEqual(all.trials.map(({ setting }) => setting));
    const top1 = (result: typeof all) => result.metrics.top1!.mean;
    expect(top1(found)).toBeGreaterThanOrEqual(top1(all) - 0.002);
    const finalists = found.trials.flatMap((trial, t) => (trial.epochsRun === 14 ? [{ trial, t }] : []));
    expect(finalists).toHaveLength(4);
    for (const { trial, t } of finalists) expect(trial.selection).toEqual(all.trials[t]!.selection);
    expect(finalists.map(({ trial }) => trial.setting)).toContainEqual(found.chosen);

    const lines = readTrials(out);
    const trained = [0, 1].map((rung) => lines.filter((line) => line.rung === rung));
    expect(trained.map((ofRung) => ofRung.length)).toEqual([40, 4]);
    for (const { curve, epochs } of lines) {
      expect(curve.map(({ epoch }) => epoch)).toEqual(Array.from({ length: epochs }, (_, e) => e + 1));
    }
    expect(readFileSync(path.join(out, "sweep.svg"), "utf8")).toMatch(/^<svg/);
  });

  test("goes on in the rung where it was stopped, with those that went on before", async () => {
    const [whole, out] = [path.join(root, "halving"), path.join(root, "stopped")];
    const undisturbed = JSON.parse(readFileSync(path.join(whole, "result.json"), "utf8")) as { results: unknown };
    const stop = new AbortController();
    const labels: string[] = [];
    const progress = (advance: (label: string) => void) => ({
      note: () => {},
      task: ({ label }: { label: string }) => {
        labels.push(label);
        return { advance: (count: number) => count > 0 && advance(label), end: () => {} };
      },
    });
    const stopping = progress((label) => label.startsWith("train (2") && stop.abort(new Error("stopped")));
    const halving = { search: "halving" as const, out };
    await expect(evaluate({ ...halving, progress: stopping, signal: stop.signal })).rejects.toThrow("stopped");
    expect(readdirSync(path.join(out, "training")).sort()).toContain("rung0.json");

    labels.length = 0;
    const resumed = await evaluate({ ...halving, progress: progress(() => {}) });
    expect(labels).toEqual(["train (2 of 2)"]);
    expect(resumed.results).toEqual(undisturbed.results);
    for (const name of ["metrics.jsonl", "trials.jsonl", "sweep.svg", "table.md"]) {
      expect(readFileSync(path.join(out, name), "utf8")).toBe(readFileSync(path.join(whole, name), "utf8"));
    }
    expect(existsSync(path.join(out, "training"))).toBe(false);
  });

  test("trains all to the end where that takes no longer or brief trainings say nothing, and says so", async () => {
    const small = cloudFeatures({ all: await cloudSource({ images: 60, seed: 1 }) });
    const notes: string[] = [];
    const progress = { note: (text: string) => notes.push(text), task: () => ({ advance: () => {}, end: () => {} }) };
    const optimizer = { ...sweep.optimizer, lr: sweep.optimizer.lr.slice(0, 4) };
    const schedule = { ...sweep.schedule, milestones: [6, 8] };
    const options = { ...sweep, features: small, optimizer, schedule, epochs: 9, batchSize: 20 };
    const halved = await evalLinear({ ...options, search: "halving", progress });
    expect(notes.join()).toMatch(/^halving would save little here: all 8 settings are trained to the end$/);
    expect(halved.results).toEqual((await evalLinear(options)).results);
    await small.close();
  });
});
