import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";

import { parse } from "yaml";

import { openDataset } from "../../lib/datasets/open.js";
import { readRecord, type ResultRecord } from "../../lib/results/record.js";
import { device, run, runHere, temporaryFolder } from "../command-line.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { smallClasses, writeSmallImages } from "../small-images.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const backbone = path.join("models", "small", "convnet");
/** A sweep that learns something in little time. */
const short = ["--lr", "0.1,0.3", "--weight-decay", "0", "--epochs", "8", "--batch-size", "32"];
const evalLinear = (...argv: string[]) => run("eval-linear", argv, folder);
const refusal = (...argv: string[]) => runHere("eval-linear", argv, folder);
const inFolder = (...names: string[]) => path.join(folder, ...names);
const recordAt = (out: string) => readRecord(inFolder(out));

beforeAll(async () => {
  await writeSmallBackbone({ root: inFolder("models") });
  await writeSmallImages({ folder: inFolder("photos"), count: 14 });
  for (const [seed, [split, count]] of Object.entries({ train: 8, val: 4, test: 5 }).entries()) {
    await writeSmallImages({ folder: inFolder("parts", split), count, seed: seed + 1 });
  }
});

describe("in one line, on a folder of class folders", () => {
  const layers = ["block0", "block1", "block1:avg_pool(4x4,2,0)", "features"];
  const asked = ["--backbone", backbone, "--data", "folder:photos", ...short, "--device", device, "--seeds", "0,1"];
  const out = path.join("runs", "small-convnet-photos", "linear");
  const store = inFolder("features", "small", "convnet", "photos", "features_all");
  let first: ResultRecord;

  test("prints the table, and leaves all that was found", async () => {
    const { status, stdout, stderr } = await evalLinear(
      ...asked,
      ...["--layers", "block*,block1:avg_pool(4x4,2,0),features"],
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringContaining("extract all: 84/84") as string });
    expect(stderr).toMatch(/train: \d+\/\d+ steps \(100 %\)/);
    for (const layer of layers) {
      expect(stdout.split("\n").some((line) => line.startsWith(`${layer} `) && / \d+\.\d ± \d+\.\d /.test(line))).toBe(
        true,
      );
    }
    expect(stdout).toContain("top-5 %");
    expect(stdout).toContain("Chosen on held-out 10 % of train by top-1, reported on test; seeds 0, 1");
    expect(stdout).toContain(`In ${out}: `);

    first = await recordAt(out);
    expect(first.results.map(({ layer, head }) => `${layer} ${head}`)).toEqual(
      layers.flatMap((layer) => [`${layer} fc`, `${layer} bn_fc`]),
    );
    expect(first.results.map(({ shape }) => shape).filter((_, i) => i % 2 === 0)).toEqual([
      [8],
      [16],
      [16, 7, 7],
      [16],
    ]);
    // Six classes: chance is a sixth.
    expect(Math.max(...first.results.map(({ metrics }) => metrics.top1!.mean))).toBeGreaterThan(0.5);
    expect(first.selection).toMatchObject({ reportedOn: "test", selectedOnReported: false });
    expect(first.data).toMatchObject({ spec: "folder:photos", classes: { count: 6, names: smallClasses } });
    // Two of 14 images a class held out for the report, give or take the rounding; then a tenth of the rest.
    expect(first.data.splits).toMatchObject({ train: 60, val: 7, test: 17 });
    expect(first.timings.extract).toBeGreaterThan(0);
    expect(first.timings.imagesPerSecond).toBeGreaterThan(0);

    const files = readdirSync(inFolder(out)).sort();
    expect(files).toEqual([
      "config.yaml",
      "depth.png",
      "depth.svg",
      "heads",
      "metrics.jsonl",
      "predictions",
      "result.json",
      "sweep.png",
      "sweep.svg",
      "table.md",
      "trials.jsonl",
    ]);
    expect(readFileSync(inFolder(out, "depth.png")).subarray(1, 4).toString()).toBe("PNG");
    expect(readFileSync(inFolder(out, "depth.svg"), "utf8")).toMatch(/^<svg/);
    const predictions = readFileSync(inFolder(out, "predictions", "block1.fc.csv"), "utf8")
      .trim()
      .split("\n");
    expect(predictions).toHaveLength(1 + 2 * 17);
    expect(predictions[1]).toMatch(/^0,"?\w[\w-]*\/\d{3}\.png"?,/);
    expect(readdirSync(inFolder(out, "heads"))).toHaveLength(8);
    expect(readdirSync(inFolder(out, "heads", "block1.fc")).sort()).toEqual(["head.json", "model.json", "weights.bin"]);
    // Every epoch, seed, layer and head.
    expect(readFileSync(inFolder(out, "metrics.jsonl"), "utf8").trim().split("\n")).toHaveLength(8 * 2 * 8);
  });

  test("a second run finds the features, prints just the record, and replaces its results by the same", async () => {
    const before = filesBelow(store);
    const names = ["config.yaml", "metrics.jsonl", path.join("predictions", "features.bn_fc.csv")];
    const written = () => names.map((name) => readFileSync(inFolder(out, name), "utf8"));
    const texts = written();
    const config = ["--config", path.join(out, "config.yaml"), "--out", out];
    const { status, stdout, stderr } = await evalLinear(...config, "--device", device, "--json", "--quiet");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const record = await recordAt(out);
    expect(JSON.parse(stdout)).toEqual(record);
    expect(stdout).toBe(readFileSync(inFolder(out, "result.json"), "utf8"));
    expect(record.results).toEqual(first.results);
    expect(record.settings).toEqual(first.settings);
    expect(record.timings).toMatchObject({ extract: 0, imagesPerSecond: null });
    expect(filesBelow(store)).toEqual(before);
    expect(written()).toEqual(texts);
  });

  test("another configuration's results are never replaced", async () => {
    const before = filesBelow(inFolder(out));
    const { status, stderr } = await refusal(...asked, "--layers", "features", "--out", out);
    expect(status).toBe(2);
    expect(stderr).toContain(`error: Expected ${out} to hold this configuration but it holds another: layers is`);
    expect(filesBelow(inFolder(out))).toEqual(before);
  });

  test("settings come from flags, --set and YAML alike, and are printed as they are used", async () => {
    const printed = await evalLinear(...asked, "--set", "optimizer.lr=[0.2]", "--set", "heads=[mlp]", "--print-config");
    expect(printed).toMatchObject({ status: 0, stderr: "" });
    const settings = parse(printed.stdout) as Record<string, unknown>;
    expect(settings).toMatchObject({
      backbone,
      data: "folder:photos",
      optimizer: { lr: [0.2], weightDecay: [0], momentum: [0.9], nesterov: true },
      heads: ["fc"],
      seeds: [0, 1],
      valFraction: 0.1,
    });
    writeFileSync(inFolder("mine.yaml"), printed.stdout);
    const again = await evalLinear("--config", "mine.yaml", "--layers", "features", "--out", "set", "--json", "-q");
    expect(again).toMatchObject({ status: 0, stderr: "" });
    const record = JSON.parse(again.stdout) as ResultRecord;
    expect(record.settings).toMatchObject({ optimizer: { lr: [0.2] }, layers: ["features"] });
    expect(record.results).toHaveLength(1);
    // One setting: there is nothing to choose, and so nothing is held out.
    expect(record.data.splits).toMatchObject({ train: 67, test: 17 });
    expect(record.data.splits.val).toBeUndefined();
  });

  test("--dry-run tells how much work it is, and writes nothing", async () => {
    const before = filesBelow(folder);
    const plan = [...asked, "--layers", "all", "--out", "planned", "--features-root", "elsewhere", "--dry-run"];
    const { status, stdout } = await evalLinear(...plan);
    expect(status).toBe(0);
    expect(stdout).toContain("84, of which 84 have to pass through the backbone");
    // 84 images of 8 + 16 + 16 numbers of four bytes.
    expect(stdout).toContain("3 layers, 13.4 kB on disk");
    expect(stdout).toContain("6 × 2 settings × 2 seeds = 24 trials");
    expect(stdout).toMatch(/time +about .+ for extraction and .+ for training/);
    expect(filesBelow(folder)).toEqual(before);
  });
});

describe("on data with splits", () => {
  const asked = ["--backbone", backbone, "--device", "wasm", ...short, "--layers", "block1,features", "-q"];
  let first: ResultRecord;

  test("chooses on val and reports on test", async () => {
    const { status, stderr, stdout } = await evalLinear(...asked, "--data", "folder:parts", "--out", "folder");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain("Chosen on the val split by top-1, reported on test");
    first = await recordAt("folder");
    expect(first.data.splits).toMatchObject({ train: 48, val: 24, test: 30 });
    expect(first.selection).toMatchObject({ on: "the val split", reportedOn: "test", selectedOnReported: false });
    expect(first.machine.backend).toBe("wasm");
  });

  test("a CSV with a split column and file lists give the same numbers as the folder", async () => {
    const lines = ["path,label,split"];
    const lists: string[] = [];
    for (const split of ["train", "val", "test"]) {
      const classes = readdirSync(inFolder("parts", split)).sort();
      const names = classes.flatMap((name) => readdirSync(inFolder("parts", split, name)).sort().map((file) => `${name}/${file}`)); // prettier-ignore
      const labels = names.map((name) => path.dirname(name));
      lines.push(...names.map((name, i) => `parts/${split}/${name},${labels[i]!},${split}`));
      await fs.writeFile(inFolder(`${split}.txt`), names.map((name) => `parts/${split}/${name}\n`).join(""));
      await fs.writeFile(inFolder(`${split}-labels.txt`), labels.join("\n"));
      lists.push(`${split}=${inFolder(split)}.txt,${inFolder(split)}-labels.txt`);
    }
    await fs.writeFile(inFolder("labels.csv"), lines.join("\n"));
    expect(await evalLinear(...asked, "--data", "csv:labels.csv", "--out", "csv")).toMatchObject({
      status: 0,
      stderr: "",
    });
    const record = await recordAt("csv");
    expect(record.results).toEqual(first.results);
    expect(record.data.splits).toEqual(first.data.splits);

    const [byFolders, byLists] = [
      await openDataset({ spec: `folder:${inFolder("parts")}` }),
      await openDataset({ spec: `list:${lists.join()}` }),
    ];
    expect(byLists.classes).toEqual(byFolders.classes);
    for (const [split, folders] of Object.entries(byFolders.splits)) {
      const listed = byLists.splits[split as keyof typeof byLists.splits]!;
      expect(listed.targets).toEqual(folders.targets);
      for (let row = 0; row < folders.size; row++) expect(await listed.source(row)).toEqual(await folders.source(row));
    }
  });

  test("features that are there give the same numbers as their images", async () => {
    const store = path.join("features", "small", "convnet", "parts");
    const same = ["--features", store, "--device", "wasm", ...short, "--layers", "block1,features", "-q"];
    expect(await evalLinear(...same, "--out", "found")).toMatchObject({ status: 0, stderr: "" });
    const record = await recordAt("found");
    expect(record.results).toEqual(first.results);
    expect(record.backbone).toEqual(first.backbone);
    expect(record.data.digest).toBe(first.data.digest);
    expect(record.selection.selectedOnReported).toBe(false);
  });
});

test("--on-bad-image skip leaves bad images out, and the result names them", async () => {
  await fs.cp(inFolder("photos"), inFolder("flawed"), { recursive: true });
  await fs.writeFile(inFolder("flawed", "red", "003.png"), "");
  await fs.truncate(inFolder("flawed", "blue", "001.png"), 900);
  const asked = ["--backbone", backbone, "--data", "folder:flawed", ...short, "--layers", "features"];
  const skip = ["--device", "wasm", "--on-bad-image", "skip", "--out", "flawed-run", "--heads", "fc", "-q"];
  const { status, stdout, stderr } = await evalLinear(...asked, ...skip);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toContain("2 unreadable images skipped");
  const record = await recordAt("flawed-run");
  expect(record.badImages.skipped).toBe(2);
  expect(record.badImages.list.map(({ id }) => id)).toEqual(["blue/001.png", "red/003.png"]);
  expect(record.badImages.list[1]!.reason).toMatch(/empty/);
  const { train, val, test: reported } = record.data.splits;
  expect(train + val! + reported!).toBe(82);
  // What was skipped is known from the store too, and without the leave to skip it stops the run again.
  const stopped = await refusal(...asked, "--device", "wasm", "--out", "stopped", "--heads", "fc");
  expect(stopped.status).toBe(2);
  expect(stopped.stderr).toContain("error: Expected 84 images that can be read but received 2 bad ones:");
  expect(existsSync(inFolder("stopped"))).toBe(false);
});

/** Every file below a folder, with its size and the time it was written. */
function filesBelow(below: string): Record<string, string> {
  const names = readdirSync(below, { recursive: true, encoding: "utf8" });
  const files = names.map((name) => [name, statSync(path.join(below, name))] as const).filter(([, s]) => s.isFile());
  return Object.fromEntries(files.map(([name, { size, mtimeMs }]) => [name, `${size} ${mtimeMs}`]));
}
