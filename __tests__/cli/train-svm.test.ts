import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { readNpy } from "../../lib/features/npy-file.js";
import { random } from "../../lib/random.js";
import { readRecord } from "../../lib/results/record.js";
import { run, start, temporaryFolder } from "../command-line.js";
import { filesOf } from "../features/synthetic.js";
import { goldenPath } from "../golden.js";
import { goldenSvm } from "../protocols/svm-golden.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { svmYaml } from "../vissl/svm-file.js";
import { smallClasses, writeSmallImages } from "../small-images.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const device = ["--device", "wasm"];
const pair = (name: string, split: string) => `npy:${goldenPath(`svm/${name}/${split}_features.npy`)},${goldenPath(`svm/${name}/${split}_targets.npy`)}`; // prettier-ignore
const goldenPair = (name: string) => ["--features", pair(name, "train"), "--test-features", pair(name, "test")];

test("two pairs of arrays give VISSL's files, of an exact solver's numbers", async () => {
  const { costs, chosen_cost_exact, test_ap_exact_at_chosen, files_written } = goldenSvm("wide_d");
  const argv = [...goldenPair("wide_d"), "--costs", costs.join(), "--out", "pair", ...device];
  const { status, stdout, stderr } = await run("train-svm", argv, folder);
  expect([status, stderr]).toEqual([0, expect.stringContaining("train features: 80/80 SVMs (100 %)")]);
  expect(stdout).toMatch(/^features +200 +\* 67\.0 +\d\d\.\d$/m);
  const written = readdirSync(path.join(folder, "pair", "features"));
  for (const file of files_written.filter((name) => name.endsWith(".npy"))) expect(written).toContain(file);
  for (const c of [0, 1, 2, 3]) expect(written).toContain(`cls${c}_cost10.0.npz`);
  const values = async (file: string) => [...((await readNpy({ file: path.join(folder, "pair", "features", file) })).data as Float64Array)]; // prettier-ignore
  expect(await values("chosen_cost.npy")).toEqual(chosen_cost_exact);
  (await values("test_ap.npy")).forEach((ap, c) =>
    expect(Math.abs(ap - test_ap_exact_at_chosen[c]!)).toBeLessThan(1e-3),
  );
});

describe("from images", () => {
  const backbone = path.join("models", "small", "convnet");
  const yaml = path.join("configs", "config", "svm.yaml");
  beforeAll(async () => {
    await writeSmallBackbone({ root: path.join(folder, "models") });
    await writeVoc(path.join(folder, "VOC2007"));
    mkdirSync(path.join(folder, "configs", "config"), { recursive: true });
    writeFileSync(path.join(folder, yaml), svmYaml());
  });

  test("one line is the whole protocol on VOC's devkit, with VISSL's transform in the backbone's size", async () => {
    const argv = ["--backbone", backbone, "--data", "voc07:VOC2007", "--layers", "block1,features", "--out", "voc"];
    const { status, stderr } = await run("train-svm", [...argv, "--costs", "0.1,1", ...device], folder);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    const { backbone: used, data, results } = await readRecord(path.join(folder, "voc"));
    expect(used!.transform).toBe("resize(37,bilinear)|resize(32x32,bilinear)|normalize(imagenet)");
    expect(data.classes.names).toEqual(["blue", "green", "red", "striped"]);
    expect(data.splits).toMatchObject({ train: 48, test: 24 });
    expect(results.map(({ layer }) => layer)).toEqual(["block1", "features"]);
    expect(results[0]!.metrics.meanAp!.mean).toBeGreaterThan(0.5);
    expect(readdirSync(path.join(folder, "voc")).sort()).toEqual(
      [
        ...["block1", "config.yaml", "depth.png", "depth.svg", "features", "heads", "predictions", "result.json"],
        ...["table.csv", "table.md"],
      ].sort(),
    );

    const classifier = await run(
      "frozen-eval",
      ["export-classifier", "voc", "--layer", "features", "--backbone", backbone, "--out", "classifier"],
      folder,
    );
    expect(classifier).toMatchObject({ status: 0 });
    expect(existsSync(path.join(folder, "classifier", "classifier.json"))).toBe(true);
  });

  test("VISSL's YAML is read, and each of its keys is accounted for", async () => {
    const argv = ["--vissl", yaml, "config.SVM.costs.base=10", "--backbone", backbone, "--data", "voc07:VOC2007"];
    const { status, stderr } = await run("train-svm", [...argv, "--out", "vissl", ...device], folder);
    expect([status, stderr]).toEqual([0, expect.stringContaining("Used of VISSL's keys: ")]);
    const { settings, results } = await readRecord(path.join(folder, "vissl"));
    expect(settings).toMatchObject({
      costs: [1],
      costBase: 10,
      costPowers: [-2, 0],
      folds: 2,
      classes: [0, 3],
      transform: "resize(40,bilinear)|resize(32x32,bilinear)|normalize(imagenet)",
    });
    expect(results[0]!.layer).toBe("block1:avg_pool(8x8,4,0)");
    expect(results[0]!.classes!.map(({ name }) => name)).toEqual(["blue", "striped"]);
    expect(results[0]!.trials.map(({ setting }) => setting.cost)).toEqual([1, 0.01, 0.1]);
    const { used, changesNothing } = settings.protocol as { used: string[]; changesNothing: Record<string, string> };
    expect(used).toContain("config.SVM.costs.power_range");
    expect(changesNothing["config.SVM.max_iter"]).toBe("solved to the optimum either way");
    expect([...used, ...Object.keys(changesNothing)]).toHaveLength(22);
  });
});

describe("a run that is stopped", () => {
  // Units of one class each.
  const classes = ["--classes", "0,1,2", "--folds", "40"];
  const argv = [...goldenPair("wide_n"), ...classes, "--costs", "0.01,1", "--tolerance", "1e-4", ...device];
  const finished = (out: string) => {
    const training = path.join(folder, out, "training");
    return existsSync(training) ? readdirSync(training).filter((file) => file.endsWith(".safetensors")).length : 0;
  };

  test("by SIGKILL and by Ctrl-C, and run again, leaves the bytes of an undisturbed one", async () => {
    expect(await run("train-svm", [...argv, "--out", "whole"], folder)).toMatchObject({ status: 0 });
    const chance = random(0, "svm stopped");
    for (const [i, signal] of (["SIGKILL", "SIGINT"] as const).entries()) {
      const { child, ended } = start("train-svm", [...argv, "--out", "stopped"], folder);
      let over = false;
      void ended.then(() => (over = true));
      while (!over && finished("stopped") <= i) await sleep(2);
      await sleep(chance.integer(60));
      child.kill(signal);
      const { status, stderr } = await ended;
      expect({ signal, status }).toEqual({ signal, status: signal === "SIGKILL" ? null : 130 });
      if (signal === "SIGINT") expect(stderr).toMatch(/Stopped\. The same command goes on where this one was\.\n$/);
      expect(existsSync(path.join(folder, "stopped", "result.json"))).toBe(false);
      expect(finished("stopped")).toBeGreaterThan(i);
    }
    const other = await run("train-svm", [...argv, "--out", "stopped", "--loss", "hinge"], folder);
    expect(other).toMatchObject({ status: 2, stdout: "" });
    expect(other.stderr).toContain('holds another: loss is "squared_hinge" there and "hinge" here');

    expect(await run("train-svm", [...argv, "--out", "stopped"], folder)).toMatchObject({ status: 0 });
    expect(await resultsOf("stopped")).toEqual(await resultsOf("whole"));
  });
});

/** Digests of all files but the record, and the record without its times. */
async function resultsOf(name: string): Promise<unknown> {
  const files = await filesOf(path.join(folder, name));
  expect(Object.keys(files)).toContain("features/crossval_ap.npy");
  delete files["result.json"];
  const text = await fs.readFile(path.join(folder, name, "result.json"), "utf8");
  const { startedAt, finishedAt, timings, ...rest } = JSON.parse(text) as Record<string, unknown>;
  expect([startedAt, finishedAt, timings]).not.toContain(undefined);
  return { files, rest };
}

/** Colours and stripes as VOC's devkit has its classes, some of them difficult. */
async function writeVoc(root: string): Promise<void> {
  await writeSmallImages({ folder: path.join(root, "made"), count: 12 });
  await fs.mkdir(path.join(root, "JPEGImages"), { recursive: true });
  await fs.mkdir(path.join(root, "ImageSets", "Main"), { recursive: true });
  const lists: Record<string, string> = {};
  for (const made of smallClasses) {
    for (let i = 0; i < 12; i++) {
      const image = `${made}-${i}`;
      // A PNG by another name: what an image is, its first bytes tell.
      await fs.copyFile(
        path.join(root, "made", made, `${String(i).padStart(3, "0")}.png`),
        path.join(root, "JPEGImages", `${image}.jpg`),
      );
      for (const name of ["blue", "green", "red", "striped"]) {
        const label = made.includes(name) ? (i === 5 ? 0 : 1) : -1;
        const list = `${name}_${i < 8 ? "trainval" : "test"}.txt`;
        lists[list] = `${lists[list] ?? ""}${image} ${label}\n`;
      }
    }
  }
  for (const [name, text] of Object.entries(lists))
    await fs.writeFile(path.join(root, "ImageSets", "Main", name), text);
}
