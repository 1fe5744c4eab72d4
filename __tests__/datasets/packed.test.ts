import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";

import { openDataset } from "../../lib/datasets/open.js";
import { complaint, writeFiles } from "./files.js";

let root: string;
beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "packed-"));
});
afterEach(() => fs.rm(root, { recursive: true }));

describe("MNIST's files", () => {
  const images = (count: number) =>
    Uint8Array.from([
      0,
      0,
      8,
      3,
      0,
      0,
      0,
      count,
      0,
      0,
      0,
      2,
      0,
      0,
      0,
      3,
      ...Array.from({ length: count * 6 }, (_, i) => i),
    ]);
  const labels = (...all: number[]) => Uint8Array.from([0, 0, 8, 1, 0, 0, 0, all.length, ...all]);
  const train = { "train-images-idx3-ubyte": images(3), "train-labels-idx1-ubyte": labels(0, 2, 1) };
  const open = (classes?: string[]) => openDataset({ spec: `mnist:${root}`, classes });

  test("are read, plain or gzipped, with equal digests", async () => {
    await writeFiles(root, train);
    const plain = await open();
    expect(plain.classes).toEqual(["0", "1", "2"]);
    expect(plain.splits.train!.ids).toEqual(["train/0", "train/1", "train/2"]);
    expect(plain.splits.train!.source(1)).toEqual({
      kind: "pixels",
      width: 3,
      height: 2,
      channels: 1,
      data: Uint8Array.of(6, 7, 8, 9, 10, 11),
    });
    for (const [name, content] of Object.entries(train)) {
      await writeFiles(root, { [`${name}.gz`]: gzipSync(content) });
      await fs.rm(path.join(root, name));
    }
    await writeFiles(root, { "t10k-images-idx3-ubyte": images(1), "t10k-labels-idx1-ubyte": labels(2) });
    const packed = await open();
    expect(Object.keys(packed.splits)).toEqual(["train", "test"]);
    expect(packed.splits.train!.digest).toBe(plain.splits.train!.digest);
    expect(packed.splits.test!.digest).not.toBe(plain.splits.train!.digest);
  });

  test.each<[string, Record<string, Uint8Array>, string]>([
    ["nothing", {}, "there is no train-images-idx3-ubyte[.gz]"],
    ["no labels", { "train-images-idx3-ubyte": images(3) }, "Expected train-labels-idx1-ubyte[.gz]"],
    ["too few labels", { ...train, "train-labels-idx1-ubyte": labels(0, 1) }, "Expected 3 labels"],
    ["a cut file", { ...train, "train-images-idx3-ubyte": images(3).slice(0, 30) }, "Expected 34 bytes"],
    ["images for labels", { ...train, "train-labels-idx1-ubyte": images(3) }, "with 1 axes"],
    ["an empty file", { ...train, "train-labels-idx1-ubyte": new Uint8Array() }, "does not begin like one"],
    ["one class", { ...train, "train-labels-idx1-ubyte": labels(0, 0, 0) }, "at least two classes"],
    ["a cut gzip", { "train-images-idx3-ubyte.gz": gzipSync(images(3)).subarray(0, 20) }, "cannot be unpacked"],
  ])("with %s are refused", async (_, files, message) => {
    await writeFiles(root, files);
    expect(await complaint(open())).toContain(message);
  });

  test("with labels beyond the classes, or in no folder, are refused", async () => {
    await writeFiles(root, train);
    expect(await complaint(open(["a", "b"]))).toContain("a label in 0 … 1 in image 1 of");
    expect(await complaint(openDataset({ spec: `mnist:${root}/none` }))).toContain("there is no such file");
  });
});

describe("CIFAR's binary files", () => {
  /** Records whose planes are all 1, all 2, all 3, and the first pixel of the red one 9. */
  const records = (...labels: number[][]) =>
    Buffer.concat(
      labels.map((bytes) =>
        Buffer.concat([
          Buffer.from([...bytes, 9]),
          Buffer.alloc(1023, 1),
          Buffer.alloc(1024, 2),
          Buffer.alloc(1024, 3),
        ]),
      ),
    );

  test("CIFAR-10: planes become pixels, five batches one split", async () => {
    const below = "cifar-10-batches-bin";
    for (const n of [1, 2, 3, 4, 5]) await writeFiles(root, { [`${below}/data_batch_${n}.bin`]: records([n], [9]) });
    const names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
    await writeFiles(root, { [`${below}/batches.meta.txt`]: `${names.join("\n")}\n\n` });
    const { classes, splits, name } = await openDataset({ spec: `cifar10:${root}` });
    expect({ classes, name }).toEqual({ classes: names, name: "cifar10" });
    expect(Object.keys(splits)).toEqual(["train"]);
    expect(Array.from(splits.train!.targets.labels)).toEqual([1, 9, 2, 9, 3, 9, 4, 9, 5, 9]);
    const source = await splits.train!.source(4);
    expect(source).toMatchObject({ kind: "pixels", width: 32, height: 32, channels: 3 });
    const data = source.kind === "pixels" ? source.data : new Uint8Array();
    expect(Array.from(data.subarray(0, 6))).toEqual([9, 2, 3, 1, 2, 3]);
    expect(data).toHaveLength(3072);
  });

  test("CIFAR-100: the fine label counts", async () => {
    await writeFiles(root, { "train.bin": records([3, 40], [1, 99]), "test.bin": records([0, 7]) });
    const { classes, splits } = await openDataset({ spec: `cifar100:${root}` });
    expect(classes).toHaveLength(100);
    expect(Array.from(splits.train!.targets.labels)).toEqual([40, 99]);
    expect(Array.from(splits.test!.targets.labels)).toEqual([7]);
  });

  test("what is wrong with them is told", async () => {
    const open = () => openDataset({ spec: `cifar10:${root}` });
    expect(await complaint(open())).toContain("Expected data_batch_1.bin");
    await writeFiles(root, { "data_batch_1.bin": records([1]) });
    expect(await complaint(open())).toContain("data_batch_2.bin, data_batch_3.bin");
    await fs.rm(path.join(root, "data_batch_1.bin"));
    await writeFiles(root, { "test_batch.bin": records([1]).subarray(0, 3000) });
    expect(await complaint(open())).toContain("a multiple of 3073 bytes");
    await writeFiles(root, { "test_batch.bin": records([1], [10]) });
    expect(await complaint(open())).toContain("a label in 0 … 9 in image 1 of");
    await writeFiles(root, { "batches.meta.txt": "airplane\n" });
    expect(await complaint(open())).toContain("Expected 10 class names");
  });
});
