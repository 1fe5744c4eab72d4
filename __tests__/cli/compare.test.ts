import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import type { Comparison } from "../../lib/results/comparison.js";
import { readRecord } from "../../lib/results/record.js";
import { run, runHere, temporaryFolder } from "../command-line.js";
import { makeRun } from "../results/made-run.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const inFolder = (...names: string[]) => path.join(folder, ...names);
const compare = (...argv: string[]) => run("frozen-eval", ["compare", ...argv], folder);
const refusal = (...argv: string[]) => runHere("frozen-eval", ["compare", ...argv], folder);

/** Two runs of the small backbone on the same images, with other sweeps. */
beforeAll(async () => {
  await writeSmallBackbone({ root: inFolder("models") });
  await writeSmallImages({ folder: inFolder("photos"), count: 12 });
  const backbone = ["--backbone", path.join("models", "small", "convnet"), "--device", "wasm", "-q"];
  const short = ["--weight-decay", "0", "--batch-size", "32", "--seeds", "0,1"];
  const evaluate = async (out: string, ...argv: string[]) => {
    const { status, stderr } = await run("eval-linear", [...backbone, ...short, ...argv, "--out", out], folder);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  };
  const photos = ["--data", "folder:photos"];
  await evaluate("runs/one, small", ...photos, "--epochs", "6", "--lr", "0.1,0.3");
  await evaluate(
    "runs/two",
    ...photos,
    "--epochs",
    "6",
    "--lr",
    "0.001,0.01",
    "--layers",
    "block1,features",
    "--heads",
    "bn_fc",
  );
});

test("sets two runs side by side, and writes table, figure and numbers", async () => {
  const { status, stdout, stderr } = await compare("runs/one, small", "runs/two", "--out", "compared", "--seed", "3");
  expect({ status, stderr }).toEqual({
    status: 0,
    stderr: expect.stringContaining("compare layers: 2/2 pairs") as string,
  });
  expect(stdout).toContain("2 runs on photos (linear v1)");
  expect(stdout).toContain("The sweeps differ: optimizer.lr is [0.1,0.3] in one, small and [0.001,0.01] in two.");
  expect(stdout).toContain("In compared: compare.json, compare.md, compare.svg, compare.png");
  expect(readdirSync(inFolder("compared")).sort()).toEqual([
    "compare.json",
    "compare.md",
    "compare.png",
    "compare.svg",
  ]);

  const comparison = JSON.parse(readFileSync(inFolder("compared", "compare.json"), "utf8")) as Comparison;
  const records = await Promise.all(["one, small", "two"].map((name) => readRecord(inFolder("runs", name))));
  expect(comparison.runs.map(({ entries }) => entries.length)).toEqual(records.map(({ results }) => results.length));
  expect(comparison.images).toBe(records[0]!.data.splits.test);
  expect(comparison.layers.map(({ layer, head }) => `${layer} ${head}`)).toEqual(["block1 bn_fc", "features bn_fc"]);
  for (const { layer, head, difference } of comparison.layers) {
    const [one, two] = records.map(({ results }) => results.find((r) => r.layer === layer && r.head === head)!);
    expect(difference).toBeCloseTo(two!.metrics.top1!.mean - one!.metrics.top1!.mean, 9);
  }
  // Learning rates that are far too small are found to be worse.
  expect(comparison.best[0]!.difference).toBeLessThan(0);
});

test("--json prints just the numbers, the same as are written under one seed, and writes nothing", async () => {
  const { status, stdout, stderr } = await compare("runs/one, small", "runs/two", "--seed", "3", "--json", "--quiet");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(JSON.parse(stdout)).toEqual(JSON.parse(readFileSync(inFolder("compared", "compare.json"), "utf8")));
  expect((JSON.parse(stdout) as Comparison).runs.map(({ name }) => name)).toEqual(["one, small", "two"]);
});

test("refuses runs that differ, and says where", async () => {
  await makeRun({ out: inFolder("runs", "others"), layers: { features: 0.5 } });
  const others = await refusal("runs/one, small", "runs/others", "--out", "refused");
  expect(others).toMatchObject({ status: 2, stdout: "" });
  expect(others.stderr).toMatch(/^error: Expected the same data\.digest in all runs of a comparison but received "/);
  expect(others.stderr).toContain(path.join("runs", "others", "result.json"));
  expect(existsSync(inFolder("refused"))).toBe(false);
});

test("refuses one run alone, one twice, and what is no run", async () => {
  expect((await refusal("runs/two")).stderr).toContain(
    'error: Expected folders of two runs or more for RUN... but received ["runs/two"]',
  );
  expect((await refusal()).stderr).toContain(
    "error: Expected folders of two runs or more for RUN... but received nothing",
  );
  expect((await refusal("runs/two", "runs/two/")).stderr).toContain("error: Expected each run once");
  writeFileSync(inFolder("a file"), "");
  for (const place of ["photos", "nowhere", "a file"]) {
    const { status, stderr } = await refusal("runs/two", place);
    expect({ status, stderr }).toMatchObject({ status: 2, stderr: expect.stringContaining(place) as string });
  }
});
