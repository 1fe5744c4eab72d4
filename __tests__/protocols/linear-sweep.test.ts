import path from "node:path";

import type { FeatureSet } from "../../lib/features/feature-set.js";
import type { EvalLinearOptions } from "../../lib/protocols/linear/linear.js";
import { evalLinear } from "../../lib/protocols/linear/linear.js";
import { silent } from "../../lib/progress.js";
import type { ResultRecord } from "../../lib/results/record.js";
import { prepareBackend } from "../../lib/backend/backend.js";
import { cloudFeatures, cloudSource } from "../clouds.js";
import { temporaryFolder } from "../command-line.js";
import { readTrials } from "./trials.js";

const root = temporaryFolder();

/** Two settings at least, for one alone is not chosen, and has no score. */
const short = {
  heads: ["fc", "bn_mlp(6)"],
  optimizer: { kind: ["sgd"], lr: [0.01, 0.1], weightDecay: [0.001], momentum: [0.9], nesterov: true },
  schedule: { kind: "cosine", per: "epoch" },
  epochs: 3,
  batchSize: 20,
  valFraction: 0.3,
} satisfies Partial<EvalLinearOptions>;

// On one backend: that both compute the same is tested where it is computed (heads, optim, training).
describe("a sweep", () => {
  let features: FeatureSet;
  beforeAll(async () => {
    await prepareBackend({ device: "wasm" });
    features = cloudFeatures({
      train: await cloudSource({ images: 150, seed: 1 }),
      test: await cloudSource({ images: 80, seed: 2 }),
    });
  });
  afterAll(() => features.close());

  const evaluate = (options: Partial<EvalLinearOptions>) => evalLinear({ ...short, ...options, features });

  /** What the trials of one head came to, in order. */
  function selections(record: ResultRecord, i: number) {
    return record.results[i]!.trials.map(({ selection }) => selection!.values);
  }

  test("tells which settings are left out, for they are the same as others", async () => {
    const told: string[] = [];
    const optimizer = { ...short.optimizer, kind: ["sgd" as const, "adam" as const], lr: [0.01], momentum: [0, 0.9] };
    const progress = { ...silent, note: (text: string) => void told.push(text) };
    await evaluate({ heads: ["fc"], epochs: 1, optimizer, progress });
    expect(told).toEqual(["1 of 4 combinations were the same as others, and are left out"]);
  });

  const adam = { ...short.optimizer, kind: ["adam" as const], momentum: undefined, nesterov: undefined };
  const one = { ...short, optimizer: { ...short.optimizer, lr: [0.01, 0.1] } };
  const sweeps: [what: string, swept: Partial<EvalLinearOptions>, alone: Partial<EvalLinearOptions>[]][] = [
    [
      "optimizers",
      { optimizer: { ...one.optimizer, kind: ["sgd", "adam", "adamw", "lars"] } },
      [one, { optimizer: adam }, { optimizer: { ...adam, kind: ["adamw"] } }, { optimizer: { ...one.optimizer, kind: ["lars"] } }],
    ],
    [
      "momentum",
      { optimizer: { ...one.optimizer, momentum: [0, 0.5, 0.9] } },
      [0, 0.5, 0.9].map((momentum) => ({ optimizer: { ...one.optimizer, momentum, nesterov: momentum > 0 } })),
    ],
    [
      "schedules",
      { schedule: [{ kind: "constant" }, { kind: "multistep", milestones: [1, 2], gamma: 0.1 }, short.schedule] },
      [{ schedule: { kind: "constant" } }, { schedule: { kind: "multistep", milestones: [1, 2], gamma: 0.1 } }, one],
    ],
    ["batch sizes", { batchSize: [20, 35, 105] }, [20, 35, 105].map((batchSize) => ({ batchSize }))],
    ["head widths", { headWidth: [3, 6, 12] }, [3, 6, 12].map((width) => ({ headWidth: [width] }))],
  ]; // prettier-ignore

  test.each(sweeps)("of %s gives each setting what it comes to by itself", async (_, swept, alone) => {
    const whole = await evaluate({ ...swept, seeds: [0, 1] });
    expect(whole.results.map(({ layer, head }) => `${layer} ${head}`)).toEqual([
      "shallow fc",
      "shallow bn_mlp-6",
      "deep fc",
      "deep bn_mlp-6",
    ]);
    const settings = whole.results[0]!.trials.map(({ setting }) => JSON.stringify(setting));
    expect(new Set(settings).size).toBe(2 * alone.length);
    const records: ResultRecord[] = [];
    for (const options of alone) records.push(await evaluate({ ...options, seeds: [0, 1] }));
    for (const i of whole.results.keys()) {
      expect(selections(whole, i)).toEqual(records.flatMap((record) => selections(record, i)));
      // The chosen one is the best of all, the first of equals, and what is reported is its own.
      const best = Math.max(...whole.results[i]!.trials.map(({ selection }) => selection!.mean));
      const at = whole.results[i]!.trials.findIndex(({ selection }) => selection!.mean === best);
      expect(whole.results[i]!.chosen).toEqual(whole.results[i]!.trials[at]!.setting);
      const own = records.find((record) => record.results[i]!.selection!.mean === best)!;
      expect(whole.results[i]!.metrics).toEqual(own.results[i]!.metrics);
    }
  });

  test("at random draws the same settings again, and of a larger number the first are those of a smaller", async () => {
    const random = {
      search: "random" as const,
      optimizer: {
        ...short.optimizer,
        kind: ["sgd" as const, "adamw" as const],
        lr: { from: 1e-4, to: 0.3, scale: "log" as const },
        weightDecay: { from: 1e-6, to: 1e-2, scale: "log" as const },
      },
      batchSize: [20, 50],
      heads: ["fc"],
    };
    const five = await evaluate({ ...random, trials: 5 });
    const again = await evaluate({ ...random, trials: 5 });
    const seven = await evaluate({ ...random, trials: 7 });
    const other = await evaluate({ ...random, trials: 5, searchSeed: 1 });
    const rates = ({ results }: ResultRecord) => results[0]!.trials.map(({ setting }) => setting.lr as number);
    expect(again.results).toEqual(five.results);
    expect(rates(five)).toHaveLength(5);
    expect(rates(seven).slice(0, 5)).toEqual(rates(five));
    expect(rates(other)).not.toEqual(rates(five));
    for (const rate of rates(seven)) expect(rate > 1e-4 && rate < 0.3).toBe(true);
    seven.results.forEach((_, i) => expect(selections(seven, i).slice(0, 5)).toEqual(selections(five, i)));
  });

  test("trains layers joined into one, and heads on the layers that they name", async () => {
    const record = await evaluate({
      layers: ["deep+shallow", "deep"],
      heads: [
        "fc",
        { name: "wide", dims: [8, 16, 4], batchNorm: true, dropout: 0.2, layers: ["deep"] },
        { input: "l2", layers: ["deep+shallow"] },
      ],
      out: path.join(root, "joined"),
    });
    const told = record.results.map(({ layer, head, width, parameters }) => ({ layer, head, width, parameters }));
    expect(told).toEqual([
      { layer: "deep+shallow", head: "fc", width: 14, parameters: 15 * 4 },
      { layer: "deep+shallow", head: "l2_fc", width: 14, parameters: 15 * 4 },
      { layer: "deep", head: "fc", width: 8, parameters: 9 * 4 },
      { layer: "deep", head: "wide", width: 8, parameters: 9 * 16 + 2 * 16 + 17 * 4 },
    ]);
    for (const { metrics } of record.results) expect(metrics.top1!.mean).toBeGreaterThan(0.5);
    // Beside others or by itself, a layer gives the same.
    const alone = await evaluate({ layers: ["deep"], heads: ["fc"] });
    expect(alone.results[0]!.metrics).toEqual(record.results[2]!.metrics);
    expect(record.settings.layers).toEqual(["deep+shallow", "deep"]);
  });

  test("with smoothed labels is another training, told in the record", async () => {
    const plain = await evaluate({ heads: ["fc"] });
    const smooth = await evaluate({ heads: ["fc"], labelSmoothing: 0.3, out: path.join(root, "smooth") });
    expect(smooth.settings.labelSmoothing).toBe(0.3);
    const lossOf = (name: string) => {
      return readTrials(path.join(root, name))
        .find(({ layer, id }) => layer === "deep" && id === 1)!
        .curve.at(-1)!.loss[0]!;
    };
    await evaluate({ heads: ["fc"], out: path.join(root, "plain") });
    // A smoothed target has an entropy: no loss can be below it.
    const [p, q] = [1 - 0.3 + 0.3 / 4, 0.3 / 4];
    const entropy = -(p * Math.log(p) + 3 * q * Math.log(q));
    expect(lossOf("smooth")).toBeGreaterThan(entropy);
    expect(lossOf("plain")).toBeLessThan(entropy);
    expect(plain.results).not.toEqual(smooth.results);
  });
});
