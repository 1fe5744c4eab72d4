import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { openDataset } from "../../lib/datasets/open.js";
import { encodeNpy } from "../../lib/features/npy.js";
import { complaint, writeFiles } from "./files.js";

let root: string;
const strings = (...data: string[]) => encodeNpy({ dtype: "string", shape: [data.length], data });
const integers = (shape: number[], ...data: number[]) =>
  encodeNpy({ dtype: "int64", shape, data: BigInt64Array.from(data, BigInt) });

beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "list-"));
  await writeFiles(root, {
    "1.png": "",
    "2.png": "",
    "d/3.png": "",
    "images.npy": strings("1.png", path.join(root, "d/3.png"), "2.png"),
    "images.txt": "1.png\nd/3.png\n2.png\n\n",
    "labels.npy": integers([3, 1], 2, 0, 2),
    "labels.txt": "2\n0\n2\n",
    "names.txt": "b\na\nb",
    "several.npy": integers([3, 2], 1, 0, 0, -1, 1, 1),
  });
});
afterEach(() => fs.rm(root, { recursive: true }));
const open = (images: string, labels: string, classes?: string[]) =>
  openDataset({ spec: `list:${root}/${images},${root}/${labels}`, classes });

describe("file lists", () => {
  test.each([
    ["images.npy", "labels.npy"],
    ["images.txt", "labels.txt"],
    ["images.txt", "labels.npy"],
  ])("%s with %s", async (images, labels) => {
    const { classes, splits, name } = await open(images, labels);
    expect(classes).toEqual(["0", "1", "2"]);
    expect(name).toBe(path.basename(root));
    expect(splits.all!.targets).toEqual({ kind: "single", labels: Int32Array.of(2, 0, 2) });
    expect([0, 1, 2].map((index) => splits.all!.source(index))).toEqual(
      ["1.png", "d/3.png", "2.png"].map((file) => ({ kind: "file", path: path.join(root, file) })),
    );
  });

  test("with names of classes, in text or in an array", async () => {
    await writeFiles(root, { "names.npy": strings("b", "a", "b") });
    for (const labels of ["names.txt", "names.npy"]) {
      const { classes, splits } = await open("images.txt", labels);
      expect(classes).toEqual(["a", "b"]);
      expect(Array.from(splits.all!.targets.labels)).toEqual([1, 0, 1]);
    }
  });

  test("with several labels an image", async () => {
    const { multiLabel, splits } = await open("images.txt", "several.npy");
    expect(multiLabel).toBe(true);
    expect(splits.all!.targets).toEqual({ kind: "multi", labels: Int8Array.of(1, 0, 0, -1, 1, 1), classes: 2 });
  });

  test("with splits", async () => {
    await writeFiles(root, { "val.txt": "d/3.png", "val-labels.txt": "3" });
    const spec = `list:train=${root}/images.txt,${root}/labels.txt,val=${root}/val.txt,${root}/val-labels.txt`;
    const { classes, splits } = await openDataset({ spec });
    expect(Object.keys(splits)).toEqual(["train", "val"]);
    expect(classes).toEqual(["0", "1", "2", "3"]);
  });

  test("an image that is listed several times keeps its places", async () => {
    await writeFiles(root, { "images.txt": "1.png\n1.png\n1.png" });
    expect((await open("images.txt", "labels.txt")).splits.all!.ids).toEqual(["1.png", "1.png (2)", "1.png (3)"]);
  });
});

describe("what is wrong with a list is told", () => {
  test.each([
    ["two.txt", "1\n2\n", "Expected 3 labels in"],
    ["gap.txt", "1\n\n2\n", "line 2 is empty"],
    ["negative.txt", "1\n-1\n0\n", "Expected a label in 0 … 1 in entry 2"],
    ["negative.npy", integers([3], 1, 0, -3), "a class index from 0 in entry 3"],
    ["range.npy", integers([3, 2], 1, 0, 0, 2, 0, 0), "1 (present), 0 (absent) or -1 (ignored) in entry 2"],
    ["rank.npy", integers([3, 1, 1], 1, 0, 0), "labels of shape [n] or [n, classes]"],
    ["same.txt", "0\n0\n0\n", "at least two classes"],
    ["none.txt", "a\nb\n|\n", "Expected a label in entry 3"],
  ])("labels %s", async (name, content, message) => {
    await writeFiles(root, { [name]: content });
    expect(await complaint(open("images.txt", name))).toContain(message);
  });

  test("labels beyond the classes", async () => {
    expect(await complaint(open("images.txt", "labels.npy", ["a", "b"]))).toContain(
      `a label in 0 … 1 in entry 1 of ${root}/labels.npy but received 2`,
    );
    expect(await complaint(open("images.txt", "several.npy", ["a", "b", "c"]))).toContain("Expected 3 labels an image");
  });

  test("images that are not there, or no paths", async () => {
    await writeFiles(root, { "lost.txt": "1.png\nlost.png\n2.png", "empty.txt": "" });
    expect(await complaint(open("lost.txt", "labels.npy"))).toContain(`image of entry 2 of ${root}/lost.txt`);
    expect(await complaint(open("labels.npy", "labels.npy"))).toContain("an array of strings");
    expect(await complaint(open("empty.txt", "labels.npy"))).toContain("there are none");
    expect(await complaint(open("nowhere.txt", "labels.npy"))).toContain("there is no such file");
  });

  test("splits of both kinds", async () => {
    const both = (labels: string) =>
      openDataset({
        spec: `list:train=${root}/images.txt,${root}/labels.npy,val=${root}/images.txt,${root}/${labels}`,
      });
    expect(await complaint(both("several.npy"))).toContain("one label an image, or several");
    expect(await complaint(both("names.txt"))).toContain("class indices or class names");
  });

  test.each([
    "list:a.txt",
    "list:a.txt,b.txt,c.txt,d.txt",
    "list:train=a.txt,val=b.txt",
    "list:trian=a,b",
    "list:train=a,b,train=c,d",
  ])("the specification %s", async (spec) => {
    expect(await complaint(openDataset({ spec }))).toContain("Write list:IMAGES,LABELS");
  });
});
