import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { openDataset } from "../../lib/datasets/open.js";
import { complaint, writeFiles } from "./files.js";

let root: string;
beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "inaturalist-"));
});
afterEach(() => fs.rm(root, { recursive: true }));
const open = (classes?: string[]) => openDataset({ spec: `inaturalist:${root}`, classes });

const file = (category: number, name: string) => `train_val2018/Plantae/${category}/${name}.jpg`;
const categories = [2, 0, 1].map((id) => ({ id, name: ["moss", "fern", "oak"][id], supercategory: "Plantae" }));
const annotated = (images: [id: number, category: number, name: string][]) => ({
  info: { year: 2018 },
  images: images.map(([id, category, name]) => ({ id, file_name: file(category, name), width: 800 })),
  // In another order than the images.
  annotations: images.map(([id, category]) => ({ id, image_id: id, category_id: category })).reverse(),
  categories,
});
const train = annotated([
  [7, 2, "b"],
  [3, 0, "a"],
  [5, 1, "c"],
]);
const val = annotated([[9, 2, "d"]]);
const images = Object.fromEntries([file(2, "b"), file(0, "a"), file(1, "c"), file(2, "d")].map((name) => [name, ""]));
const json = (value: unknown) => JSON.stringify(value);
const good = { "train2018.json": json(train), "val2018.json": json(val), ...images };

describe("iNaturalist 2018", () => {
  test("is in the order of its JSON; labels are VISSL's, the numbers of the class folders", async () => {
    await writeFiles(root, good);
    const { classes, splits, name, multiLabel } = await open();
    expect({ classes, name, multiLabel }).toEqual({
      classes: ["moss", "fern", "oak"],
      name: "inaturalist2018",
      multiLabel: false,
    });
    expect(Object.keys(splits)).toEqual(["train", "val"]);
    expect(splits.train!.ids).toEqual([file(2, "b"), file(0, "a"), file(1, "c")]);
    expect(Array.from(splits.train!.targets.labels)).toEqual(splits.train!.ids.map((id) => Number(id.split("/")[2])));
    expect(Array.from(splits.val!.targets.labels)).toEqual([2]);
    expect(splits.val!.source(0)).toEqual({ kind: "file", path: path.join(root, file(2, "d")) });
    expect(Array.from((await open(["oak", "fern", "moss"])).splits.train!.targets.labels)).toEqual([0, 2, 1]);
  });

  test("categories of equal names are told apart by their ids; one part is enough", async () => {
    const twins = { ...val, categories: categories.map(({ id }) => ({ id, name: "moss" })) };
    await writeFiles(root, { "val2018.json": json(twins), ...images });
    const { classes, splits } = await open();
    expect(classes).toEqual(["0", "1", "2"]);
    expect(Object.keys(splits)).toEqual(["val"]);
  });

  test("has another digest where an image or a label is another", async () => {
    await writeFiles(root, good);
    const digest = async () => (await open()).splits.train!.digest;
    const seen = new Set([await digest(), await digest()]);
    expect(seen.size).toBe(1);
    const changed = { ...train, annotations: train.annotations.map((one) => ({ ...one, category_id: 1 })) };
    await writeFiles(root, { "train2018.json": json(changed) });
    seen.add(await digest());
    await fs.utimes(path.join(root, file(0, "a")), 1, 1);
    seen.add(await digest());
    expect(seen.size).toBe(3);
  });

  test.each<[string, Record<string, string>, string]>([
    ["nothing", {}, "Expected train2018.json or val2018.json"],
    ["two years", { ...good, "val2019.json": json(val) }, "those of 2018 and 2019"],
    ["no JSON", { ...good, "val2018.json": "{" }, "Expected JSON for iNaturalist's annotations"],
    ["other JSON", { ...good, "val2018.json": "[]" }, "something else at the top"],
    ["no annotations", { ...good, "val2018.json": json({ ...val, annotations: undefined }) }, "at annotations"],
    ["no images", { ...good, "val2018.json": json({ ...val, images: [] }) }, "but there are none"],
    [
      "an image without a label",
      { ...good, "val2018.json": json({ ...val, annotations: [] }) },
      "an annotation of image 9",
    ],
    [
      "an image with two",
      { ...good, "val2018.json": json({ ...val, annotations: [...val.annotations, ...val.annotations] }) },
      "image 9 has several",
    ],
    [
      "an unknown category",
      { ...good, "val2018.json": json({ ...val, annotations: [{ image_id: 9, category_id: 3 }] }) },
      "one of 3 categories for image 9",
    ],
    [
      "other categories",
      { ...good, "val2018.json": json({ ...val, categories: categories.slice(1) }) },
      "the same categories",
    ],
    [
      "a category twice",
      { ...good, "val2018.json": json({ ...val, categories: [...categories, categories[0]] }) },
      "each category once",
    ],
    ["a missing image", { ...good, "val2018.json": json(annotated([[9, 2, "e"]])) }, "Expected image 9 of"],
    ["one class", { "val2018.json": json({ ...val, categories: categories.slice(0, 1) }) }, "at least two classes"],
  ])("%s: is told", async (_, files, message) => {
    await writeFiles(root, files);
    expect(await complaint(open())).toContain(message);
  });

  test("no folder, and classes that it has not", async () => {
    expect(await complaint(openDataset({ spec: `inaturalist:${root}/none` }))).toContain("there is no such file");
    expect(await complaint(openDataset({ spec: `inaturalits:${root}` }))).toContain("Did you mean inaturalist?");
    await writeFiles(root, good);
    expect(await complaint(open(["moss", "fern"]))).toContain('received "oak"');
  });
});
