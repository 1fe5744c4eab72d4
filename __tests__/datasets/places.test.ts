import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { openDataset } from "../../lib/datasets/open.js";
import { complaint, writeFiles } from "./files.js";

let root: string;
beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "places-"));
});
afterEach(() => fs.rm(root, { recursive: true }));

describe("Places205", () => {
  const open = (classes?: string[]) => openDataset({ spec: `places205:${root}`, classes });
  const lists = "trainvalsplit_places205";
  const below = "data/vision/torralba/deeplearning/images256";
  const names = ["a/abbey/gsun_1.jpg", "z/zen garden/gsun_2.jpg", "a/apartment_building/outdoor/gsun_3.jpg"];
  const images = Object.fromEntries(names.map((name) => [`${below}/${name}`, ""]));
  const good = {
    [`${lists}/train_places205.csv`]: `${names[1]} 204\n${names[0]} 0\n`,
    [`${lists}/val_places205.csv`]: `${names[2]},7\r\n${names[0]},0\r\n`,
    ...images,
  };

  test("is as its lists say, with the folders' names for classes", async () => {
    await writeFiles(root, good);
    const { classes, splits, name } = await open();
    expect(name).toBe("places205");
    expect(classes).toHaveLength(205);
    expect([0, 1, 7, 204].map((label) => classes[label])).toEqual([
      "abbey",
      "1",
      "apartment_building/outdoor",
      "zen garden",
    ]);
    expect(splits.train!.ids).toEqual([names[1], names[0]]);
    expect(Array.from(splits.train!.targets.labels)).toEqual([204, 0]);
    expect(splits.val!.ids).toEqual([names[2], names[0]]);
    expect(Array.from(splits.val!.targets.labels)).toEqual([7, 0]);
    expect(splits.train!.source(0)).toEqual({ kind: "file", path: path.join(root, below, names[1]!) });
  });

  test("may lie otherwise: lists at the top, images in images256", async () => {
    await writeFiles(root, { "val_places205.csv": `${names[0]} 0\n`, [`images256/${names[0]}`]: "" });
    const { splits } = await open();
    expect(Object.keys(splits)).toEqual(["val"]);
    expect(splits.val!.source(0)).toEqual({ kind: "file", path: path.join(root, "images256", names[0]!) });
  });

  test("has another digest where an image or a label is another", async () => {
    await writeFiles(root, good);
    const digest = async () => (await open()).splits.val!.digest;
    const seen = new Set([await digest(), await digest()]);
    expect(seen.size).toBe(1);
    await writeFiles(root, { [`${below}/${names[0]}`]: "1" });
    seen.add(await digest());
    await writeFiles(root, { [`${lists}/val_places205.csv`]: `${names[2]} 8\n${names[0]} 0\n` });
    seen.add(await digest());
    expect(seen.size).toBe(3);
  });

  test.each<[string, Record<string, string>, string]>([
    ["nothing", { "a.txt": "" }, `Expected ${lists}/train_places205.csv or ${lists}/val_places205.csv`],
    [
      "a line without a label",
      { ...good, [`${lists}/val_places205.csv`]: `\n${names[0]}\n` },
      "a class index in line 2",
    ],
    [
      "a name for a label",
      { ...good, [`${lists}/val_places205.csv`]: `${names[0]} abbey\n` },
      "a class index in line 1",
    ],
    [
      "a label too high",
      { ...good, [`${lists}/val_places205.csv`]: `${names[0]} 205\n` },
      "Expected a label in 0 … 204 in line 1",
    ],
    ["an empty list", { ...good, [`${lists}/val_places205.csv`]: "\n" }, "Expected image paths in"],
    [
      "a label of two folders",
      { ...good, [`${lists}/val_places205.csv`]: `${names[2]} 0\n` },
      'label 0 is "abbey" in line 2',
    ],
    ["a missing image", { ...good, [`${lists}/val_places205.csv`]: "a/abbey/4.jpg 0\n" }, "the image of line 1 of"],
  ])("%s: is told", async (_, files, message) => {
    await writeFiles(root, files);
    expect(await complaint(open())).toContain(message);
  });

  test("no folder, too few classes", async () => {
    expect(await complaint(openDataset({ spec: `places205:${root}/none` }))).toContain("there is no such file");
    expect(await complaint(openDataset({ spec: `places:${root}` }))).toContain("Did you mean places205 or places365?");
    await writeFiles(root, good);
    expect(await complaint(open(["a", "b"]))).toContain("a label in 0 … 1 in line 1 of");
  });
});

describe("Places365", () => {
  const open = () => openDataset({ spec: `places365:${root}` });
  const categories = Array.from(
    { length: 365 },
    (_, i) => `/${i < 9 ? "a" : "b"}/place${i}${i === 3 ? "/indoor" : ""} ${i}`,
  );
  const good = {
    "categories_places365.txt": categories.join("\n"),
    "places365_train_standard.txt": "/a/place3/indoor/00000001.jpg 3\n/b/place9/00000001.jpg 9\n",
    "places365_val.txt": "Places365_val_00000001.jpg 364\n",
    "data_256_standard/a/place3/indoor/00000001.jpg": "",
    "data_256_standard/b/place9/00000001.jpg": "",
    "val_256/Places365_val_00000001.jpg": "",
  };

  test("is as its lists say", async () => {
    await writeFiles(root, good);
    const { classes, splits } = await open();
    expect([classes.length, classes[3], classes[364]]).toEqual([365, "place3/indoor", "place364"]);
    expect(splits.train!.ids).toEqual(["a/place3/indoor/00000001.jpg", "b/place9/00000001.jpg"]);
    expect(Array.from(splits.train!.targets.labels)).toEqual([3, 9]);
    expect(splits.train!.source(1)).toEqual({
      kind: "file",
      path: path.join(root, "data_256_standard/b/place9/00000001.jpg"),
    });
    expect(Array.from(splits.val!.targets.labels)).toEqual([364]);
  });

  test("no folder of images, too few class names", async () => {
    await writeFiles(root, { "places365_val.txt": good["places365_val.txt"] });
    expect(await complaint(open())).toContain("It is called val_256 or val_large.");
    await writeFiles(root, { ...good, "categories_places365.txt": categories.slice(1).join("\n") });
    expect(await complaint(open())).toContain("Expected 365 class names");
  });
});
