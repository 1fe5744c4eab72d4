import fs from "node:fs/promises";
import path from "node:path";

import { prepareBackend } from "../../lib/backend/backend.js";
import { encodeNpy } from "../../lib/features/npy.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { openCogFeatures } from "../../lib/features/cog-features.js";
import { openFeatures } from "../../lib/features/open-features.js";
import type { FeatureSource } from "../../lib/features/source.js";
import { temporaryFolder } from "../command-line.js";
import { complaint, writeFiles } from "../datasets/files.js";
import { goldenPath } from "../golden.js";
import { extract } from "./synthetic.js";

const folder = temporaryFolder();
beforeAll(async () => {
  await prepareBackend({ device: "wasm" });
});

const at = (...names: string[]) => path.join(folder, ...names);

/** A pair of .npy files whose features are 1, 2, 3, … and their specification. */
async function pair(name: string, options: { labels: number[]; classes?: number; width?: number }): Promise<string> {
  const { labels, classes = 1, width = 2 } = options;
  const rows = labels.length / classes;
  const data = Float32Array.from({ length: rows * width }, (_, i) => i + 1);
  const shape = classes === 1 ? [rows] : [rows, classes];
  await writeFiles(folder, {
    [`${name}-x.npy`]: encodeNpy({ dtype: "float32", shape: [rows, width], data }),
    [`${name}-y.npy`]: encodeNpy({ dtype: "int32", shape, data: Int32Array.from(labels) }),
  });
  return `npy:${at(`${name}-x.npy`)},${at(`${name}-y.npy`)}`;
}

async function read(source: FeatureSource, rows: Uint32Array): Promise<number[]> {
  const values: number[] = [];
  for await (const { features } of source.pass({ rows, batchSize: 7 })) {
    values.push(...(await features.features!.data()));
    features.features!.dispose();
  }
  return values;
}

describe("CoG's features", () => {
  test("are read from X_Y.pth, resident or row by row", async () => {
    const X = (await readNpy({ file: goldenPath("cog/features_test/X.npy") })).data as Float32Array;
    const Y = await readNpy({ file: goldenPath("cog/features_test/Y.npy") });
    const rows = Uint32Array.of(499, 0, 1, 2, 250, 250, 251, 3);
    for (const residentBytes of [0, 1e9]) {
      const source = await openCogFeatures({ file: goldenPath("cog/features_test/X_Y.pth"), residentBytes });
      expect(source.layers).toEqual([{ name: "features", shape: [64], width: 64 }]);
      expect(source.targets).toEqual({ kind: "single", labels: Int32Array.from(Y.data as BigInt64Array, Number) });
      const expected = Array.from(rows, (row) => Array.from(X.subarray(row * 64, (row + 1) * 64))).flat();
      expect(await read(source, rows)).toEqual(expected);
      await source.close();
    }
  });

  test("of a folder have its splits", async () => {
    const features = await openFeatures({ spec: `cog:${goldenPath("cog")}` });
    expect(Object.entries(features.splits).map(([name, { size }]) => [name, size])).toEqual([
      ["train", 835],
      ["test", 500],
    ]);
    expect([features.classes.length, features.data.name]).toEqual([20, "cog"]);
    await features.close();
    const one = await openFeatures({ spec: `cog:${goldenPath("cog/features_test")}` });
    expect(one.splits.all!.size).toBe(500);
    await one.close();
  });

  test("what else a file holds is told", async () => {
    const other = goldenPath("checkpoints/files/data_parallel.pth");
    expect(await complaint(openCogFeatures({ file: other }))).toContain("Expected the tensors X and Y in");
    expect(await complaint(openFeatures({ spec: `cog:${folder}` }))).toContain(
      `Expected CoG's features in ${folder} but it holds no features_train/X_Y.pth and no X_Y.pth`,
    );
  });
});

describe("a dump of VISSL's", () => {
  test("that lacks a shard, or a part of one, is refused", async () => {
    const dump = at("dump");
    const spec = `vissl:${dump}`;
    const shard = (rank: string, part: string) => path.join(dump, `${rank}_train_res5_${part}.npy`);
    await fs.cp(goldenPath("vissl/dump"), dump, { recursive: true });
    await (await openFeatures({ spec })).close();
    await fs.rm(shard("rank1_chunk0", "features"));
    expect(await complaint(openFeatures({ spec }))).toMatch(
      /Expected rank1_chunk0_train_res5_features.npy beside rank1_chunk0_train_res5_\w+.npy in .*dump but there is none/,
    );
    await fs.rm(shard("rank1_chunk0", "targets"));
    await fs.rm(shard("rank1_chunk0", "inds"));
    expect(await complaint(openFeatures({ spec }))).toContain(
      `Expected the shard rank1_chunk0_train_res5 in ${dump} but it is missing, and so is sample 0`,
    );
  });

  test("may hold one split only", async () => {
    const dump = at("test-only");
    await fs.cp(goldenPath("vissl/dump"), dump, { recursive: true, filter: (name) => !name.includes("_train_") });
    const features = await openFeatures({ spec: `vissl:${dump}` });
    expect(Object.keys(features.splits)).toEqual(["test"]);
    await features.close();
    expect(await complaint(openFeatures({ spec: `vissl:${folder}` }))).toContain("but there are none");
    expect(await complaint(openFeatures({ spec: "vissl:nowhere" }))).toContain("nowhere but there is no such file");
  });
});

describe("test features in a place of their own", () => {
  test("are the test split beside those to train on", async () => {
    const spec = await pair("train", { labels: [0, 1, 2, 1] });
    const testSpec = await pair("test", { labels: [1, 3] });
    const features = await openFeatures({ spec, testSpec });
    const { splits, classes, data } = features;
    expect([splits.train!.size, splits.test!.size, Object.keys(splits)]).toEqual([4, 2, ["train", "test"]]);
    expect(classes).toEqual(["0", "1", "2", "3"]);
    expect(data).toMatchObject({ spec: `${spec}, test ${testSpec}`, name: "train-x" });
    expect(await read(splits.test!, Uint32Array.of(1))).toEqual([3, 4]);
    await features.close();
    await expect(read(splits.train!, Uint32Array.of(0))).rejects.toThrow("closed");
    await expect(read(splits.test!, Uint32Array.of(0))).rejects.toThrow("closed");
  });

  test("stand in place of a test split, have a split of their own, and classes by name", async () => {
    const cog = goldenPath("cog");
    const features = await openFeatures({ spec: `cog:${cog}`, testSpec: `cog:${cog}/features_train` });
    expect([features.splits.train!.size, features.splits.test!.size]).toEqual([835, 835]);
    await features.close();
    await writeFiles(folder, { "a.svm": "3 1:1\n7 2:1\n", "b.svm": "7 2:1\n" });
    const numbers = await openFeatures({ spec: `svmlight:${at("a.svm")}`, testSpec: `svmlight:${at("b.svm")}` });
    expect([numbers.classes, numbers.splits.test!.targets.labels]).toEqual([["3", "7"], Int32Array.of(1)]);
    await numbers.close();
  });

  test("that do not fit are refused", async () => {
    const spec = await pair("train", { labels: [0, 1] });
    const several = await pair("several", { labels: [1, 0, 0, 1], classes: 2 });
    const refusal = async (a: string, b: string) => complaint(openFeatures({ spec: a, testSpec: b }));
    expect(await refusal(spec, await pair("wide", { labels: [0], width: 3 }))).toMatch(
      /Expected 2 numbers an image for layer features of npy:.*wide.*, but received 3/,
    );
    expect(await refusal(spec, several)).toMatch(/Expected one label an image for npy:.*several.*as in training/);
    expect(await refusal(several, await pair("more", { labels: [1, 0, 0], classes: 3 }))).toMatch(
      /Expected the 2 classes of .* but received \["0","1","2"\]/,
    );
    expect(await refusal(spec, `vissl:${goldenPath("vissl/dump")}`)).toMatch(
      /Expected the layers features of npy:.* in vissl:.* too but received res5/,
    );
    const store = await extract(at("stores"));
    const stores = path.dirname(store.folder);
    expect(await refusal(stores, spec)).toContain("Expected the layers res4, res5avg of");
    const both = await openFeatures({ spec: stores, testSpec: store.folder });
    expect(both.backbone).toMatchObject({ arch: "resnet50" });
    await both.close();
    expect(await refusal(spec, "npy:alone.npy")).toContain("Expected npy:FEATURES.npy,LABELS.npy");
  });

  test("a layer that a pair does not have is told", async () => {
    const spec = await pair("train", { labels: [0, 1] });
    expect(await complaint(openFeatures({ spec, layers: ["res5"] }))).toContain("Expected a layer of npy:");
    await (await openFeatures({ spec, layers: ["feat*"] })).close();
  });
});
