import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../../lib/backend/backend.js";
import { readCheckpoint } from "../../lib/checkpoints/checkpoint.js";
import { exportStore } from "../../lib/features/export-store.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { openFeatures } from "../../lib/features/open-features.js";
import type { FeatureSource } from "../../lib/features/source.js";
import type { FeatureStore } from "../../lib/features/store.js";
import { complaint } from "../datasets/files.js";
import { goldenPath } from "../golden.js";
import { extract, featuresOf, filesOf, layers, listing, place, size, unreadable } from "./synthetic.js";

const rows = Array.from({ length: size }, (_, row) => row).filter((row) => !unreadable.has(row));
const labels = Array.from(rows, (row) => row % 7);
const values = layers.map((layer) => featuresOf(layer, rows));

let root: string;
let store: FeatureStore;
let halves: FeatureStore;
beforeAll(async () => {
  await prepareBackend({ device: "wasm" });
  root = await fs.mkdtemp(path.join(os.tmpdir(), "export-"));
  store = await extract(root);
  halves = await extract(root, { place: place(root, { precision: "float16" }) });
});
afterAll(() => fs.rm(root, { recursive: true }));

const into = (name: string) => path.join(root, name);

async function tensorOf(file: string, name: string) {
  const tensor = (await readCheckpoint({ file })).tensors.get(name)!;
  return { dtype: tensor.dtype, shape: tensor.shape, data: await tensor.read() };
}

async function valuesOf(source: FeatureSource, layer: string): Promise<Float32Array> {
  const all = Uint32Array.from({ length: source.size }, (_, row) => row);
  for await (const { features } of source.pass({ rows: all, batchSize: source.size, layers: [layer] })) {
    const read = (await features[layer]!.data()) as Float32Array;
    tf.dispose(features);
    return read;
  }
  throw new Error("no rows");
}

test("a pair of .npy files a layer is read back, in the store's precision", async () => {
  const files = await exportStore({ folder: store.folder, to: "npy", out: into("npy") });
  const names = ["res4_features.npy", "res5avg_features.npy", "targets.npy", "ids.txt"];
  expect(files).toEqual(names.map((name) => path.join(into("npy"), name)));
  const { splits } = await openFeatures({ spec: `npy:${files[0]},${files[2]}` });
  expect(await valuesOf(splits.all!, "features")).toEqual(values[0]);
  expect(Array.from(splits.all!.targets.labels)).toEqual(labels);
  await splits.all!.close();
  expect((await fs.readFile(files[3]!, "utf8")).split("\n").slice(0, -1)).toEqual(store.ids);

  const [half] = await exportStore({ folder: halves.folder, to: "npy", out: into("half"), layers: ["res5*"] });
  const { dtype, shape } = await readNpy({ file: half! });
  expect({ dtype, shape }).toEqual({ dtype: "float16", shape: [rows.length, 5] });
});

test("VISSL's dump is read back as one, by the images' places in the listing", async () => {
  await exportStore({ folder: store.folder, to: "vissl", out: into("vissl") });
  expect(Object.keys(await filesOf(into("vissl"))).filter((name) => name.includes("res5avg"))).toEqual(
    ["features", "inds", "targets"].map((what) => `rank0_chunk0_train_res5avg_${what}.npy`),
  );
  const theirs = await readNpy({ file: goldenPath("vissl/dump_expected/train_targets.npy") });
  const targets = await readNpy({ file: path.join(into("vissl"), "rank0_chunk0_train_res4_targets.npy") });
  expect([targets.dtype, targets.shape]).toEqual([theirs.dtype, [rows.length, 1]]);
  const { splits } = await openFeatures({ spec: `vissl:${into("vissl")}` });
  const train = splits.train!;
  expect(train.layers.map(({ name, shape }) => ({ name, shape }))).toEqual([
    { name: "res4", shape: [3, 2, 2] },
    { name: "res5avg", shape: [5] },
  ]);
  expect(train.ids).toEqual(rows.map(String));
  expect(Array.from(train.targets.labels)).toEqual(labels);
  expect(await valuesOf(train, "res4")).toEqual(values[0]);
  await train.close();
});

test("CoG's X_Y.pth is what torch.save writes, also of halves and of several labels", async () => {
  const files = await exportStore({ folder: store.folder, to: "cog", out: into("cog") });
  expect(files[0]).toBe(path.join(into("cog"), "res4", "features_train", "X_Y.pth"));
  const read = async (file: string) => {
    const [x, y] = await Promise.all(["X", "Y"].map((name) => tensorOf(file, name)));
    return { x: x!, y: y! };
  };
  const { x, y } = await read(files[0]!);
  expect(x).toEqual({ dtype: "float32", shape: [rows.length, 12], data: values[0] });
  expect(y).toEqual({ dtype: "int64", shape: [rows.length], data: BigInt64Array.from(labels, BigInt) });

  const [half] = await exportStore({ folder: halves.folder, to: "cog", out: into("cog-half"), layers: ["res5avg"] });
  const rounded = (await read(half!)).x.data as Float32Array;
  rounded.forEach((value, i) => expect(Math.abs(value - values[1]![i]!)).toBeLessThan(2 ** -11));

  const many = { kind: "multi", classes: 3, labels: Int8Array.from({ length: size * 3 }, (_, i) => (i % 3) - 1) } as const; // prettier-ignore
  const several = await extract(into("several"), { listing: { ...listing, targets: many } });
  const [multi] = await exportStore({ folder: several.folder, to: "cog", out: into("cog-multi") });
  expect((await read(multi!)).y.shape).toEqual([rows.length, 3]);
});

test("safetensors hold all layers and the labels", async () => {
  const [file] = await exportStore({ folder: store.folder, to: "safetensors", out: into("safe") });
  const { tensors } = await readCheckpoint({ file: file! });
  expect(Array.from(tensors.keys())).toEqual(["res4", "res5avg", "targets"]);
  expect((await tensorOf(file!, "res4")).shape).toEqual([rows.length, 3, 2, 2]);
  expect((await tensorOf(file!, "res5avg")).data).toEqual(values[1]);
  expect(Array.from((await tensorOf(file!, "targets")).data as Int32Array)).toEqual(labels);
});

test("a damaged shard, or a layer that is not there, is told, and no file is made of it", async () => {
  expect(await complaint(exportStore({ folder: store.folder, to: "npy", out: into("no"), layers: ["res6"] }))).toMatch(
    /Expected a layer of .* but received "res6" Did you mean res4/,
  );
  const damaged = await extract(into("damaged"));
  const shard = path.join(damaged.folder, "res5.global_avg", "00003.npy");
  const bytes = await fs.readFile(shard);
  bytes[bytes.length - 1]! ^= 128;
  await fs.writeFile(shard, bytes);
  const told = await complaint(exportStore({ folder: damaged.folder, to: "vissl", out: into("no") }));
  expect(told).toContain(`${shard} but the file was changed or is damaged`);
  expect(Object.keys(await filesOf(into("no"))).filter((name) => /res5avg|partial/.test(name))).toEqual([]);
});
