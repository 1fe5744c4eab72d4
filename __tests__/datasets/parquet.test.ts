import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { openDataset } from "../../lib/datasets/open.js";
import type { DatasetSplit } from "../../lib/datasets/dataset.js";
import { decodeImage } from "../../lib/images/decode.js";
import { imageBatches } from "../../lib/images/pipeline.js";
import { goldenPath } from "../golden.js";
import { complaint, writeFiles } from "./files.js";

let root: string;
beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "parquet-"));
});
afterEach(() => fs.rm(root, { recursive: true }));

// Written by pyarrow: bench/peers/golden_parquet.py. Image i is a PNG of 4 × 3 pixels (20 i, 0, 255 − 20 i).
const hub = goldenPath("parquet/hub");
const other = (name: string) => `parquet:${goldenPath(`parquet/other/${name}.parquet`)}`;
const copyHub = () => fs.cp(path.join(hub, "data"), root, { recursive: true });
const parts = ["00000", "00001"].map((part) => `train-${part}-of-00002-0123456789abcdef.parquet`) as [string, string];

async function numbersOf(split: DatasetSplit): Promise<number[]> {
  const numbers: number[] = [];
  for (let i = 0; i < split.size; i++) {
    const { width, height, data } = await decodeImage({ source: await split.source(i) });
    expect([width, height, data[1], data[0]! + data[2]!]).toEqual([4, 3, 0, 255]);
    numbers.push(data[0]! / 20);
  }
  return numbers;
}

describe("Parquet as data hubs serve it", () => {
  test("has splits by the files' names, class names by their metadata, images in order", async () => {
    const notes: string[] = [];
    const task = { advance: () => {}, end: () => {} };
    const progress = { note: (text: string) => void notes.push(text), task: () => task };
    const { classes, splits, multiLabel, name } = await openDataset({ spec: `parquet:${hub}`, progress });
    expect({ classes, multiLabel, name }).toEqual({ classes: ["cat", "dog", "owl"], multiLabel: false, name: "data" });
    expect(Object.keys(splits)).toEqual(["train", "val"]);
    expect(notes).toEqual([expect.stringContaining("The split test of")]);
    const train = splits.train!;
    expect(train.ids.slice(3, 6)).toEqual([
      "train-00000-of-00002-0123456789abcdef/3",
      "train-00000-of-00002-0123456789abcdef/4",
      "train-00001-of-00002-0123456789abcdef/0",
    ]);
    expect(Array.from(train.targets.labels)).toEqual([0, 1, 2, 0, 1, 2, 0, 1]);
    expect(await numbersOf(train)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(await numbersOf(splits.val!)).toEqual([0, 1, 2, 3]);
  });

  test.each(["none", "snappy", "gzip", "zstd", "brotli", "lz4"])("%s, in pages of one image", async (codec) => {
    const file = goldenPath(`parquet/codecs/${codec}.parquet`);
    const { splits } = await openDataset({ spec: `parquet:${file}` });
    expect(await numbersOf(splits.all!)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test.each(["large", "large-dictionary"])("%s: by its page index, parts of a row group", async (name) => {
    const file = goldenPath(`parquet/codecs/${name}.parquet`);
    const { splits } = await openDataset({ spec: `parquet:${file}` });
    for (const row of [9, 0, 4, 1, 5, 6, 3]) {
      const source = await splits.all!.source(row);
      if (source.kind !== "bytes") throw new Error(source.kind);
      expect([source.bytes.length, source.bytes[100], source.bytes.at(-1)]).toEqual([2_000_017, 10 * row, 10 * row]);
    }
  });

  test("worker threads get the images, in any order", async () => {
    const { splits } = await openDataset({ spec: `parquet:${hub}` });
    const reds: number[] = [];
    const batches = imageBatches({
      count: 8,
      source: (index) => splits.train!.source(index),
      order: Uint32Array.of(7, 0, 5, 2, 6, 1, 4, 3),
      ...({ transform: "resize(3x4)|normalize(bytes)", batchSize: 3, workers: 2, onBadImage: "stop" } as const),
    });
    for await (const { rows, pixels } of batches) rows.forEach((_, i) => reds.push(pixels[36 * i]! / 20));
    expect(reds).toEqual([7, 0, 5, 2, 6, 1, 4, 3]);
  });

  test("names, lists of labels and plain bytes", async () => {
    const names = await openDataset({ spec: other("names") });
    expect(names.classes).toEqual(["cat", "dog", "owl"]);
    expect(Array.from(names.splits.all!.targets.labels)).toEqual([2, 0, 0, 1]);
    expect(await numbersOf(names.splits.all!)).toEqual([0, 1, 2, 3]);
    const several = await openDataset({ spec: other("several") });
    expect(several).toMatchObject({ multiLabel: true, classes: ["0", "1", "2"] });
    expect(several.splits.all!.targets.kind).toBe("multi");
    expect(Array.from(several.splits.all!.targets.labels)).toEqual([1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
  });

  test("columns may be named", async () => {
    expect(await complaint(openDataset({ spec: other("two-labels") }))).toContain(
      "one column of labels in " +
        goldenPath("parquet/other/two-labels.parquet") +
        " but received several: fine, coarse",
    );
    const fine = await openDataset({ spec: `${other("two-labels")},label=fine` });
    expect(fine.classes).toEqual(["cat", "dog", "owl"]);
    const coarse = await openDataset({ spec: `${other("two-labels")},image=photo,label=coarse` });
    expect(coarse.classes).toEqual(["a", "b"]);
    expect(coarse.splits.all!.digest).not.toBe(fine.splits.all!.digest);
    expect(await complaint(openDataset({ spec: `${other("two-labels")},label=fin` }))).toContain("Did you mean fine?");
    expect(await complaint(openDataset({ spec: `${other("two-labels")},lable=fine` }))).toContain(
      "Did you mean label?",
    );
  });

  test("images may be files beside the table; one without anything is bad", async () => {
    await fs.copyFile(goldenPath("parquet/other/no-bytes.parquet"), path.join(root, "all.parquet"));
    const { splits } = await openDataset({ spec: `parquet:${root}` });
    expect(await splits.all!.source(0)).toEqual({ kind: "file", path: path.join(root, "a.png") });
    for (const row of [1, 2]) {
      const source = Promise.resolve(splits.all!.source(row));
      expect(await complaint(source)).toContain(`an image in row ${row} of ${path.join(root, "all.parquet")}`);
    }
  });

  test("has another digest where a file or a class is another, and only then", async () => {
    await copyHub();
    const digest = async (classes?: string[]) =>
      (await openDataset({ spec: `parquet:${root}`, classes })).splits.train!.digest;
    const first = await digest();
    expect(await digest()).toBe(first);
    expect(await digest(["a", "b", "c"])).not.toBe(first);
    await fs.utimes(path.join(root, parts[0]), 1, 1);
    expect(await digest()).not.toBe(first);
  });

  test("splits by patterns", async () => {
    const spec = `parquet:train=${hub}/data/train-*.parquet,test=${hub}/data/validation-0000?-of-00001.parquet`;
    const { splits } = await openDataset({ spec });
    expect(Object.entries(splits).map(([name, { size }]) => [name, size])).toEqual([
      ["train", 8],
      ["test", 4],
    ]);
  });
});

describe("what is wrong with Parquet files is told", () => {
  const open = () => openDataset({ spec: `parquet:${root}` });

  test("nothing there, a part that is missing, splits in two folders or none", async () => {
    expect(await complaint(open())).toContain("Expected .parquet files");
    expect(await complaint(openDataset({ spec: `parquet:${root}/none.parquet` }))).toContain("there is no such file");
    await copyHub();
    await fs.rm(path.join(root, parts[1]));
    expect(await complaint(open())).toContain("Expected 2 files");
    await fs.copyFile(path.join(root, parts[0]), path.join(root, "more.parquet"));
    await fs.rm(path.join(root, parts[0]));
    expect(await complaint(open())).toContain("train, val or test in the name of each shard");
    await fs.rm(root, { recursive: true });
    await fs.cp(path.join(hub, "data"), path.join(root, "a"), { recursive: true });
    await fs.cp(path.join(hub, "data"), path.join(root, "b"), { recursive: true });
    expect(await complaint(open())).toContain("in one folder");
    expect(await complaint(openDataset({ spec: `parquet:train=${root}/a/train*,other=${root}/b` }))).toContain(
      "train, val, test, image, label",
    );
  });

  test("a cut file, no Parquet, an empty file", async () => {
    await copyHub();
    const file = path.join(root, parts[0]);
    const whole = await fs.readFile(file);
    for (const bytes of [whole.subarray(0, whole.length - 20), Buffer.from("a,b\n1,2\n"), Buffer.alloc(0)]) {
      await fs.writeFile(file, bytes);
      expect(await complaint(open())).toContain(`a whole Parquet file at ${file} but it cannot be read`);
    }
  });

  test("damaged images are bad images, each by its name", async () => {
    await copyHub();
    const file = path.join(root, parts[0]);
    const bytes = await fs.readFile(file);
    bytes.fill(0xff, 4, 60);
    await fs.writeFile(file, bytes);
    const { splits } = await open();
    const batches = imageBatches({
      count: 8,
      source: (index) => splits.train!.source(index),
      transform: "resize(3x4)",
      batchSize: 4,
      workers: 0,
      onBadImage: "skip",
    });
    let good = 0;
    for await (const { rows } of batches) good += rows.length;
    expect(batches.bad.map(({ row }) => row)).toEqual([0, 1]);
    expect(good).toBe(6);
  });

  test("a file that is gone when its images are read", async () => {
    await copyHub();
    const { splits } = await open();
    await fs.rm(path.join(root, parts[0]));
    expect(await complaint(Promise.resolve(splits.train!.source(0)))).toContain("there is no such file");
  });

  test.each([
    ["null-label", "a class index or a class name in row 1"],
    ["beyond", "a label in 0 … 1 in row 2"],
    ["no-image", "one column of images"],
    ["empty", "images with labels"],
  ])("%s", async (name, message) => {
    expect(await complaint(openDataset({ spec: other(name) }))).toContain(message);
  });

  test("a column of something else, other classes in another file", async () => {
    const { splits } = await openDataset({ spec: other("numbers") });
    expect(await complaint(Promise.resolve(splits.all!.source(0)))).toContain("an image in row 0");
    await writeFiles(root, {
      "train.parquet": await fs.readFile(goldenPath("parquet/codecs/none.parquet")),
      "test.parquet": await fs.readFile(path.join(hub, "data", parts[0])),
    });
    expect(await complaint(open())).toContain("the same classes in");
  });
});
