import fs from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../../lib/backend/backend.js";
import { openSvmlight } from "../../lib/features/svmlight.js";
import type { FeatureSource } from "../../lib/features/source.js";
import { temporaryFolder } from "../command-line.js";
import { complaint } from "../datasets/files.js";
import { golden, goldenPath } from "../golden.js";

const folder = temporaryFolder();
beforeAll(async () => {
  await prepareBackend({ device: "wasm" });
});

interface Read<L> {
  features: number[][];
  labels: L[];
}
const expected = golden<{ signs: Read<number>; numbers: Read<number>; several: Read<number[]> }>(
  "svmlight/expected.json",
);

async function rowsOf(source: FeatureSource): Promise<number[][]> {
  const rows = Uint32Array.from({ length: source.size }, (_, row) => row);
  for await (const { features } of source.pass({ rows, batchSize: source.size })) {
    const values = await features.features!.array();
    tf.dispose(features);
    return values;
  }
  return [];
}

async function opened(text: string): Promise<{ source: FeatureSource; classes: string[] }> {
  const file = path.join(folder, "own.svm");
  await fs.writeFile(file, text);
  const { splits, classes } = await openSvmlight({ files: { all: file } });
  return { source: splits.all!, classes };
}

const failure = async (text: string) =>
  (await complaint(opened(text))).replace(path.join(folder, "own.svm"), "FILE").trim();

describe("files of scikit-learn in svmlight's format", () => {
  test.each(["signs", "numbers", "several"] as const)("%s: features as scikit-learn reads them", async (name) => {
    const before = tf.memory().numTensors;
    for (const residentBytes of [0, 1e9]) {
      const { splits } = await openSvmlight({ files: { all: goldenPath(`svmlight/${name}.svm`) }, residentBytes });
      const { features } = expected[name];
      expect(splits.all!.layers).toEqual([{ name: "features", shape: [6], width: 6 }]);
      expect(await rowsOf(splits.all!)).toEqual(features.map((row) => row.map(Math.fround)));
      await splits.all!.close();
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  test("labels: one class by its sign, one of several by number, several a line", async () => {
    const open = async (name: string) => {
      const { splits, classes } = await openSvmlight({ files: { all: goldenPath(`svmlight/${name}.svm`) } });
      return { classes, targets: splits.all!.targets };
    };
    expect(await open("signs")).toEqual({
      classes: ["1"],
      targets: { kind: "multi", classes: 1, labels: Int8Array.from(expected.signs.labels, (y) => (y > 0 ? 1 : 0)) },
    });
    const numbers = ["1", "3", "10"];
    expect(await open("numbers")).toEqual({
      classes: numbers,
      targets: { kind: "single", labels: Int32Array.from(expected.numbers.labels, (y) => numbers.indexOf(String(y))) },
    });
    const present = expected.several.labels.flatMap((of) => [1, 4, 7].map((y) => (of.includes(y) ? 1 : 0)));
    expect(await open("several")).toEqual({
      classes: ["1", "4", "7"],
      targets: { kind: "multi", classes: 3, labels: Int8Array.from(present) },
    });
  });
});

describe("svmlight's format", () => {
  test("remarks, empty lines, line ends of either kind, and a 0 for what is ignored", async () => {
    const { source } = await opened("# made by hand\r\n+1 1:0.5\t3:-2e-1 # first\r\n\r\n0 2:1\r\n-1\r\n");
    expect(source.targets).toEqual({ kind: "multi", classes: 1, labels: Int8Array.of(1, -1, 0) });
    expect(await rowsOf(source)).toEqual([
      [0.5, 0, Math.fround(-0.2)],
      [0, 1, 0],
      [0, 0, 0],
    ]);
    await source.close();
  });

  test("two files have their classes and their width in common", async () => {
    const [train, test] = [path.join(folder, "train.svm"), path.join(folder, "test.svm")];
    await fs.writeFile(train, "7 1:1\n3 2:1\n");
    await fs.writeFile(test, "5 4:1\n7 1:1\n");
    const { splits, classes } = await openSvmlight({ files: { train, test } });
    expect(classes).toEqual(["3", "5", "7"]);
    expect([splits.train!.targets.labels, splits.test!.targets.labels]).toEqual([
      Int32Array.of(2, 0),
      Int32Array.of(1, 2),
    ]);
    expect(await rowsOf(splits.test!)).toEqual([
      [0, 0, 0, 1],
      [1, 0, 0, 0],
    ]);
    for (const source of Object.values(splits)) await source.close();
  });

  test.each([
    [
      "an index of 0",
      "1 0:1\n",
      'Expected an index in 1 … 1048576 in line 1 of FILE but received "0:1" Indices begin with 1.',
    ],
    ["an index that is no place", "1 1:1\n1 99999999999:1\n", 'in line 2 of FILE but received "99999999999:1"'],
    ["an index twice", "1 1:1 1:2\n", 'Expected ascending indices in line 1 of FILE but received "1:2"'],
    [
      "a number without index",
      "1 1:1\n\n2 0.5\n",
      'Expected index:value, two numbers, in line 3 of FILE but received "0.5"',
    ],
    ["a value that is none", "1 1:\n", 'Expected index:value, two numbers, in line 1 of FILE but received "1:"'],
    ["not a number", "1 1:nan\n", 'in line 1 of FILE but received "1:nan"'],
    ["a query", "1 qid:3 1:1\n", 'in line 1 of FILE but received "qid:3"'],
    [
      "a target that is no class",
      "0.5 1:1\n",
      "Expected a class number from 0, or −1, 0 or +1, as label in line 1 of FILE",
    ],
    [
      "a sign beside classes",
      "1 1:1\n-1 1:1\n2 1:1\n",
      'Expected a class number from 0 as label in line 2 of FILE but received "-1"',
    ],
    ["nothing", "# only a remark\n", "Expected lines of labels and index:value pairs in FILE but it has none"],
  ])("%s is told", async (_, text, message) => {
    expect(await failure(text)).toContain(message);
  });

  test("a missing file is told", async () => {
    const files = { all: path.join(folder, "none.svm") };
    expect(await complaint(openSvmlight({ files }))).toContain("none.svm but there is no such file");
  });
});
