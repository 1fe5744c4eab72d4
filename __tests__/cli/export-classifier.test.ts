import { readdirSync } from "node:fs";
import path from "node:path";

import type { ExportedClassifier } from "../../lib/classifiers/export-classifier.js";
import { device, run, runHere, temporaryFolder } from "../command-line.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const evaluated = path.join("runs", "small-convnet-photos", "linear");
const place = path.join(evaluated, "classifiers", "block1.bn_fc");
const exportClassifier = (...argv: string[]) => run("frozen-eval", ["export-classifier", ...argv], folder);

beforeAll(async () => {
  await writeSmallBackbone({ root: path.join(folder, "models") });
  await writeSmallImages({ folder: path.join(folder, "photos"), count: 8 });
  const short = ["--lr", "0.1", "--weight-decay", "0", "--epochs", "2", "--batch-size", "16"];
  const asked = [
    "--backbone",
    path.join("models", "small", "convnet"),
    "--data",
    "folder:photos",
    "--layers",
    "block1",
  ];
  const { status, stderr } = await run("eval-linear", [...asked, ...short, "--device", device, "-q"], folder);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});

test("writes a classifier from the run alone, and says what it is", async () => {
  const { status, stdout, stderr } = await exportClassifier(evaluated, "--layer", "block1", "--head", "bn_fc");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toMatch(/^classifier +small\/convnet up to block1, BN→FC, [\d.]+ kB of weights$/m);
  expect(stdout).toMatch(/^accuracy +\d+\.\d % top-1 on test \(\d+ images, seed 0\)$/m);
  expect(stdout).toMatch(/^input +images through resize\(36,bilinear\)\|center_crop\(32\)\|normalize\(imagenet\)$/m);
  expect(stdout).toMatch(/^output +logits and probabilities of 6 classes$/m);
  expect(stdout).toContain(`${place}: model.json`);
  expect(readdirSync(path.join(folder, place)).sort()).toEqual([
    "classifier.json",
    "group1-shard1of1.bin",
    "model.json",
  ]);
});

test("--json and --head-only", async () => {
  const { status, stdout } = await exportClassifier(
    path.join(evaluated, "result.json"),
    ...["--layer", "block1", "--head", "fc", "--head-only", "--out", "head", "--json"],
  );
  expect(status).toBe(0);
  const { dir, manifest } = JSON.parse(stdout) as ExportedClassifier;
  expect(dir).toBe("head");
  expect(manifest.input).toEqual({ kind: "features", node: "features", batch: "any", width: 16 });
});

test.each([
  [["--layer", "block2"], /Expected a layer of this run for --layer but received "block2"\nDid you mean block1\?/],
  [["--layer", "block1"], /Expected fc or bn_fc for --head but received nothing/],
  [[], /Expected a layer of the run for --layer but received nothing/],
])("%j is a mistake of the user's", async (argv, message) => {
  const { status, stderr } = await runHere("frozen-eval", ["export-classifier", evaluated, ...argv], folder);
  expect(stderr).toMatch(message);
  expect(status).toBe(2);
});
