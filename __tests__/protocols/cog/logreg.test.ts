import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { prepareBackend } from "../../../lib/backend/backend.js";
import { readPickleFile } from "../../../lib/checkpoints/plain-pickle.js";
import { UserError } from "../../../lib/errors.js";
import { arraySource } from "../../../lib/features/array-source.js";
import type { FeatureSet } from "../../../lib/features/feature-set.js";
import { openFeatures } from "../../../lib/features/open-features.js";
import type { Progress } from "../../../lib/progress.js";
import { evalLogreg, type EvalLogregOptions } from "../../../lib/protocols/cog/logreg.js";
import { cogResults } from "../../../lib/protocols/cog/print-results.js";
import { cogTransform } from "../../../lib/protocols/cog/transform.js";
import { type LayerResult, readRecord, type ResultRecord } from "../../../lib/results/record.js";
import { formatTable } from "../../../lib/results/table.js";
import { temporaryFolder } from "../../command-line.js";
import { golden, goldenPath, root } from "../../golden.js";
import { testWithPython } from "../../python.js";

const folder = temporaryFolder();
let features: FeatureSet;
beforeAll(async () => {
  await prepareBackend({ device: "auto" });
  features = await openFeatures({ spec: `cog:${goldenPath("cog")}` });
});
afterAll(() => features.close());

const evaluated = (options: Omit<EvalLogregOptions, "features">) => evalLogreg({ features, ...options });
const percentOf = ({ results }: ResultRecord) => ({
  top1: 100 * results[0]!.metrics.top1!.mean,
  top5: 100 * results[0]!.metrics.top5!.mean,
});
const brief = { search: "random" as const, trials: 3, epochs: 4, penalties: [1e-3, 1e-4, 1e-5], seeds: [22] };

async function complaint(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.catch((thrown: unknown) => thrown);
  if (!(error instanceof UserError)) throw new Error("it was accepted");
  return error.message;
}

interface Searched {
  mean_top1: number;
  mean_top5: number;
  std_top1: number;
}

describe("the whole protocol is as good as CoG's own program", () => {
  const seeds = [22, 45];

  test("on all images", async () => {
    const { mean_top1, mean_top5 } = golden<Searched>("cog/search_full.json");
    const record = await evaluated({ seeds, trials: 11 });
    const { top1, top5 } = percentOf(record);
    expect(Math.abs(top1 - mean_top1)).toBeLessThan(1.5);
    expect(Math.abs(top5 - mean_top5)).toBeLessThan(1);
    // The fast way tells how near to the least it came, and validation names the better one.
    const [sgd, lbfgs] = record.results as [LayerResult, LayerResult];
    expect([sgd.head, lbfgs.head]).toEqual(["logreg", "logreg_lbfgs"]);
    for (const { solution, trials } of lbfgs.logreg!.seeds) {
      expect(solution!.gap).toBeLessThan(1e-4);
      expect(solution!.passes).toBeGreaterThan(trials.length);
    }
    const better = lbfgs.selection!.mean > sgd.selection!.mean ? lbfgs : sgd;
    for (const one of [sgd, lbfgs]) expect(one.logreg!.better).toBe(one === better);
    const table = formatTable(record, { kind: "markdown" });
    expect(table).toMatch(
      /- L-BFGS took [\d to]+ passes over the images; .* at most: features logistic regression, L-BFGS\n/,
    );
    expect(table.split("\n").filter((line) => line.startsWith("- By validation the better method, "))).toEqual([
      expect.stringMatching(better === lbfgs ? /L-BFGS$/ : /logistic regression$/),
    ]);
  });

  test("by the fast way, over its five seeds", async () => {
    const { mean_top1, mean_top5 } = golden<Searched>("cog/search_full.json");
    const { top1, top5 } = percentOf(await evaluated({ methods: ["lbfgs"] }));
    expect(Math.abs(top1 - mean_top1)).toBeLessThan(1);
    expect(Math.abs(top5 - mean_top5)).toBeLessThan(1);
  });

  test("on eight of each class", async () => {
    const { mean_top1, std_top1 } = golden<Record<string, Searched>>("cog/few_shot.json")["8"]!;
    const record = await evaluated({ seeds, shots: 8, search: "random", trials: 12, asPublished: true });
    expect(Math.abs(percentOf(record).top1 - mean_top1)).toBeLessThan(2 * std_top1);
    expect(record.results[0]!.logreg!.seeds.map(({ images }) => images)).toEqual([160, 160]);
  });
});

describe("a run", () => {
  const out = path.join(folder, "run");
  let record: ResultRecord;
  beforeAll(async () => {
    record = await evaluated({ ...brief, search: "tpe", trials: 12, seeds: [22, 37], out });
  });
  const finalOf = (seed: string) => {
    const [final] = readdirSync(path.join(out, seed)).filter((name) => name.startsWith("final"));
    return path.join(out, seed, final!);
  };

  test("tells what each seed tried and chose", () => {
    const [{ logreg, selection, trials }] = record.results as [ResultRecord["results"][number]];
    expect(trials).toHaveLength(12);
    for (const [s, { chosen, trials: own }] of logreg!.seeds.entries()) {
      expect(own).toHaveLength(12);
      expect(Math.max(...own.map((trial) => trial.selection!))).toBe(selection!.values[s]);
      expect(own.find((trial) => trial.selection === selection!.values[s])!.setting).toEqual(chosen);
      for (const { setting } of own) {
        expect(setting.lr).toBeGreaterThanOrEqual(0.1);
        expect(setting.lr).toBeLessThanOrEqual(100);
      }
    }
    expect(record.selection.selectedOnReported).toBe(false);
    expect(record.data.splits).toMatchObject({ train: 835, test: 500 });
  });

  test("is written as CoG writes it, and told as CoG tells it", async () => {
    const logs = (await readPickleFile(path.join(finalOf("seed_22"), "logs.pkl"))) as Map<string, number[]>;
    expect([...logs.keys()].sort()).toEqual([
      "lr",
      ...["test", "train"].flatMap((part) => ["loss", "top1", "top5"].map((what) => `${part}/${what}`)),
    ]);
    const { lr } = record.results[0]!.logreg!.seeds[0]!.chosen as { lr: number };
    const expected = [0, 1, 2, 3].map((epoch) => (lr * (1 + Math.cos((Math.PI * epoch) / 4))) / 2);
    expect(logs.get("lr")).toEqual(expected);
    const { top1, top5, seeds } = await cogResults({ folder: out, epochs: 4 });
    expect(seeds).toEqual(["seed_22", "seed_37"]);
    expect([top1.mean, top5.mean]).toEqual([
      expect.closeTo(percentOf(record).top1, 9),
      expect.closeTo(percentOf(record).top5, 9),
    ]);
    expect(await complaint(cogResults({ folder: out }))).toMatch(
      /^Expected finished seeds in .* seed_22 has 4 epochs, not 100/,
    );
    const [header, ...lines] = readFileSync(path.join(out, "predictions", "features.logreg.csv"), "utf8").trimEnd().split("\n"); // prettier-ignore
    expect([header, lines.length]).toEqual(["seed,id,target,predicted,probability,correct", 2 * 500]);
    const right = lines.filter((line) => line.endsWith(",1")).length;
    expect(right / lines.length).toBeCloseTo(record.results[0]!.metrics.top1!.mean, 9);
    expect(await readRecord(out)).toEqual(JSON.parse(JSON.stringify(record)));
  });

  test("gives the same again, and after a stop anywhere", async () => {
    const metrics = (one: ResultRecord) => one.results.map(({ logreg, metrics: own }) => ({ logreg, own }));
    const settings = { ...brief, search: "tpe" as const, trials: 12, seeds: [22, 37] };
    const stopped = path.join(folder, "stopped");
    for (const steps of [2, 7, 9, 11, 7]) {
      const controller = new AbortController();
      let made = 0;
      const progress: Progress = {
        note: () => undefined,
        task: () => ({
          advance: (count) => {
            made += count;
            if (made >= steps) controller.abort(new Error("stopped"));
          },
          end: () => undefined,
        }),
      };
      await expect(evaluated({ ...settings, out: stopped, progress, signal: controller.signal })).rejects.toThrow(
        "stopped",
      );
      expect(existsSync(path.join(stopped, "result.json"))).toBe(false);
    }
    expect(metrics(await evaluated({ ...settings, out: stopped }))).toEqual(metrics(record));
    const study = (place: string) =>
      readFileSync(path.join(place, "seed_22", "study.jsonl"), "utf8").split("\n").length;
    expect(study(stopped)).toBe(study(out));
  });

  testWithPython(
    { name: "is opened by Python's pickle and torch", variable: "TORCH_PYTHON", module: "torch" },
    (python) => {
      const script = path.join(root, "bench", "peers", "load_cog.py");
      const found = JSON.parse(python([script, finalOf("seed_22"), goldenPath("cog/features_test/X_Y.pth")])) as {
        epochs: Record<string, number>;
        top1: number;
        right: number;
      };
      expect(new Set(Object.values(found.epochs))).toEqual(new Set([4]));
      expect(found).toMatchObject({ same: 1, dtype: "torch.float32" });
      expect(found.right).toBeCloseTo(found.top1, 3);
    },
  );
});

test("every search finds a setting, and the best of what it tried", async () => {
  for (const search of ["random", "grid", "halving"] as const) {
    const { results } = await evaluated({ ...brief, search, trials: 6, epochs: 20 });
    const [own] = results[0]!.logreg!.seeds;
    expect(own!.trials).toHaveLength(6);
    const chosen = own!.trials.find(({ setting }) => setting.lr === own!.chosen.lr);
    expect(chosen!.selection).toBe(results[0]!.selection!.mean);
    expect(results[0]!.metrics.top1!.mean).toBeGreaterThan(0.3);
  }
});

describe("of few images", () => {
  test("settings are chosen on drawn ones alone, unless as published", async () => {
    const shots = async (count: number, asPublished: boolean) => {
      const { results, selection } = await evaluated({ ...brief, shots: count, asPublished });
      const values = results[0]!.logreg!.seeds[0]!.trials.map((trial) => trial.selection!);
      return { on: selection.on, notes: results[0]!.notes, values, heads: results.map(({ head }) => head) };
    };
    const [two, published, one] = [await shots(2, false), await shots(2, true), await shots(1, false)];
    // Of 20 classes one image each is held out; as published a fifth of all images.
    for (const value of two.values) expect(20 * value).toBeCloseTo(Math.round(20 * value), 9);
    for (const value of published.values) expect(160 * value).toBeCloseTo(Math.round(160 * value), 9);
    expect(two.on).toBe("held-out 20 % of the drawn images");
    expect(published.on).toBe("held-out 20 % of train");
    expect([two.heads, published.heads]).toEqual([["logreg_n2", "logreg_lbfgs_n2"], ["logreg_n2"]]);
    expect(published.notes[0]).toMatch(/^As published, settings for 2 images a class are chosen on a fifth/);
    expect(one).toMatchObject({ on: null, values: [], heads: ["logreg_n1", "logreg_lbfgs_n1"] });
    expect(one.notes[0]).toMatch(/middle of its range$/);
    const { results } = await evaluated({ ...brief, shots: 1, methods: ["lbfgs"] });
    expect(results.map(({ head, chosen, logreg }) => ({ head, chosen, better: logreg!.better }))).toEqual([
      { head: "logreg_lbfgs_n1", chosen: { penalty: 1e-4 }, better: undefined },
    ]);
  });

  test("a class of four is trained on; as published it is not", async () => {
    const labels = Int32Array.from({ length: 44 }, (_, i) => (i < 4 ? 0 : 1 + (i % 4)));
    const data = Float32Array.from({ length: 44 * 5 }, (_, i) => Number(i % 5 === labels[Math.floor(i / 5)]!) + 0.1);
    const source = await arraySource({ layers: { f: { shape: [5], data } }, targets: { kind: "single", labels } });
    const small = { ...features, splits: { train: source, test: source }, classes: ["a", "b", "c", "d", "e"] };
    const chosen = async (asPublished: boolean) => {
      const { results } = await evalLogreg({
        ...brief,
        features: small,
        asPublished,
        epochs: 15,
        lr: { from: 1, to: 9, scale: "log" },
      });
      return results[0]!.selection!.mean;
    };
    expect(await chosen(false)).toBe(1);
    // Eight of twelve images of the choice are of the other classes.
    expect(await chosen(true)).toBeCloseTo(8 / 12, 9);
    await source.close();
  });
});

describe("is refused in a sentence", () => {
  test("where something is wrong", async () => {
    expect(await complaint(evaluated({ ...brief, shots: 200 }))).toMatch(
      /^Expected at least 200 training images of each class for --shots 200 but \d+ has \d+ to draw from$/,
    );
    expect(await complaint(evaluated({ ...brief, seeds: [1, 1] }))).toMatch(/^Expected seeds, each once,/);
    expect(await complaint(evaluated({ ...brief, lr: [1, 2] }))).toMatch(/^Expected a range or one value for --lr/);
    expect(await complaint(evaluated({ ...brief, layers: ["res5"] }))).toMatch(/^Expected a layer of the features/);
    expect(await complaint(evaluated({ ...brief, asPublished: true, methods: ["sgd", "lbfgs"] }))).toMatch(
      /^Expected sgd alone for --methods with --as-published/,
    );
    expect(await complaint(evaluated({ ...brief, penalties: [1e-3, 0] }))).toMatch(/^Expected numbers above 0 for --penalties/); // prettier-ignore
    expect(await complaint(cogResults({ folder: path.join(folder, "nowhere") }))).toMatch(/^Expected a folder of CoG/);
    expect(await complaint(cogResults({ folder }))).toMatch(/^Expected finished seeds in .* but there is none$/);
  });

  test("where images have several labels", async () => {
    const source = await arraySource({
      layers: { f: { shape: [1], data: new Float32Array(4) } },
      targets: { kind: "multi", labels: new Int8Array(8), classes: 2 },
    });
    const multi = { ...features, splits: { all: source }, classes: ["a", "b"] };
    expect(await complaint(evalLogreg({ ...brief, features: multi, seeds: [1] }))).toMatch(/one label an image/);
    await source.close();
  });
});

test("CoG's transform is in the backbone's size, with its normalization", () => {
  const manifest = (size: number, transform: string) =>
    ({ input: { height: size, width: size }, transform }) as Parameters<typeof cogTransform>[0];
  expect(cogTransform(manifest(224, "resize(256,bilinear)|center_crop(224)|normalize(imagenet)"))).toBe(
    "resize(224,bicubic)|center_crop(224)|normalize(imagenet)",
  );
  expect(cogTransform(manifest(380, "resize(400,bicubic)|center_crop(380)|channels(bgr)|normalize(none)"))).toBe(
    "resize(380,bicubic)|center_crop(380)|channels(bgr)|normalize(none)",
  );
});
