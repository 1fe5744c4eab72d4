import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { openDataset } from "../../lib/datasets/open.js";
import { complaint, writeFiles } from "./files.js";

let root: string;
beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "voc-"));
});
afterEach(() => fs.rm(root, { recursive: true }));
const open = (options: { below?: string; classes?: string[] } = {}) =>
  openDataset({ spec: `voc07:${path.join(root, options.below ?? "")}`, classes: options.classes });

const object = (name: string, difficult: 0 | 1) =>
  `<object><name>${name}</name><difficult>${difficult}</difficult><part><name>head</name></part></object>`;
const annotation = (...objects: string[]) =>
  `<annotation>\n<folder>VOC2007</folder>${objects.join("\n")}</annotation>\n`;

const sets = "ImageSets/Main";
const lists = {
  [`${sets}/dog_trainval.txt`]: "000012  1\n000005 -1\n000007  0\n",
  [`${sets}/cat_trainval.txt`]: "000012  1\n000005  1\n000007 -1\n",
  [`${sets}/dog_test.txt`]: "000001 -1\n",
  [`${sets}/cat_test.txt`]: "000001  1\n",
  // These are parts of trainval, and do not count where there is a test split.
  [`${sets}/dog_train.txt`]: "000012  1\n",
  [`${sets}/cat_train.txt`]: "000012  1\n",
  [`${sets}/dog_val.txt`]: "000005 -1\n",
  [`${sets}/cat_val.txt`]: "000005  1\n",
};
const imageSets = { [`${sets}/trainval.txt`]: "000005\n000007\n000012\n", [`${sets}/test.txt`]: "000001\n" };
const annotations = {
  "Annotations/000005.xml": annotation(object("cat", 0)),
  "Annotations/000007.xml": annotation(object("dog", 1), "<!-- <object><name>bird</name></object> -->"),
  "Annotations/000012.xml": annotation(object("dog", 1), object("dog", 0), "<object><name> cat </name></object>"),
  "Annotations/000001.xml": annotation(object("cat", 0)),
};
const images = Object.fromEntries(["000001", "000005", "000007", "000012"].map((n) => [`JPEGImages/${n}.jpg`, ""]));
const at = (folder: string, files: Record<string, string>) =>
  Object.fromEntries(Object.entries(files).map(([name, content]) => [`${folder}/${name}`, content]));

describe("PASCAL VOC 2007's devkit", () => {
  test("lists become labels as VISSL's script makes them", async () => {
    await writeFiles(root, at("VOCdevkit/VOC2007", { ...lists, ...images }));
    const { classes, splits, multiLabel, name } = await open();
    expect({ classes, multiLabel, name }).toEqual({ classes: ["cat", "dog"], multiLabel: true, name: "voc2007" });
    expect(Object.keys(splits)).toEqual(["train", "test"]);
    expect(splits.train!.ids).toEqual(["000005", "000007", "000012"]);
    expect(splits.train!.targets).toEqual({ kind: "multi", classes: 2, labels: Int8Array.of(1, 0, 0, -1, 1, 1) });
    expect(splits.test!.targets).toEqual({ kind: "multi", classes: 2, labels: Int8Array.of(1, 0) });
    const file = path.join(root, "VOCdevkit/VOC2007/JPEGImages/000012.jpg");
    expect(splits.train!.source(2)).toEqual({ kind: "file", path: file });
    for (const below of ["VOCdevkit", "VOCdevkit/VOC2007"]) {
      expect((await open({ below })).splits.train!.digest).toBe(splits.train!.digest);
    }
  });

  test("annotations give the same labels as the lists, to the last", async () => {
    await writeFiles(root, { ...lists, ...images });
    const listed = await open();
    await writeFiles(root, { ...imageSets, ...annotations });
    const notes: string[] = [];
    const task = { advance: () => {}, end: () => {} };
    const progress = { note: (text: string) => void notes.push(text), task: () => task };
    await openDataset({ spec: `voc07:${root}`, progress });
    expect(notes).toEqual([]);

    for (const list of Object.keys(lists)) await fs.rm(path.join(root, list));
    const annotated = await open();
    expect(annotated.classes).toEqual(listed.classes);
    for (const split of ["train", "test"] as const) {
      expect(annotated.splits[split]!.targets).toEqual(listed.splits[split]!.targets);
      expect(annotated.splits[split]!.digest).toBe(listed.splits[split]!.digest);
    }
  });

  test("where they differ the lists count, and it is told", async () => {
    await writeFiles(root, {
      ...lists,
      ...images,
      ...annotations,
      "Annotations/000007.xml": annotation(object("cat", 0)),
    });
    const notes: string[] = [];
    const task = { advance: () => {}, end: () => {} };
    const progress = { note: (text: string) => void notes.push(text), task: () => task };
    const { splits } = await openDataset({ spec: `voc07:${root}`, progress });
    expect(Array.from(splits.train!.targets.labels)).toEqual([1, 0, 0, -1, 1, 1]);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toContain(
      "differ in 2 labels, the first being cat in 000007 (0 in the list, 1 by the annotation)",
    );
  });

  test("without a test split, train and val; an image that a list lacks is ignored for its class", async () => {
    const some = Object.entries(lists).filter(([name]) => !name.includes("_test"));
    await writeFiles(root, {
      ...Object.fromEntries(some),
      ...images,
      [`${sets}/cat_train.txt`]: "000012 1\n000007 -1\n",
    });
    const { splits } = await open({ classes: ["dog", "cat"] });
    expect(Object.keys(splits)).toEqual(["train", "val"]);
    expect(splits.train!.ids).toEqual(["000007", "000012"]);
    expect(Array.from(splits.train!.targets.labels)).toEqual([-1, 0, 1, 1]);
    expect(Array.from(splits.val!.targets.labels)).toEqual([0, 1]);
  });

  test("has another digest where a label or an image is another", async () => {
    await writeFiles(root, { ...lists, ...images });
    const seen = new Set([(await open()).splits.train!.digest]);
    seen.add((await open()).splits.train!.digest);
    expect(seen.size).toBe(1);
    await writeFiles(root, { [`${sets}/cat_trainval.txt`]: "000012  1\n000005  1\n000007  1\n" });
    seen.add((await open()).splits.train!.digest);
    await writeFiles(root, { "JPEGImages/000012.jpg": "1" });
    seen.add((await open()).splits.train!.digest);
    expect(seen.size).toBe(3);
  });

  test.each<[string, Record<string, string>, string]>([
    ["nothing", {}, "Expected the folder ImageSets"],
    ["no lists", { [`${sets}/notes.md`]: "" }, "Expected lists such as aeroplane_trainval.txt"],
    ["another label", { ...lists, [`${sets}/dog_test.txt`]: "000001 2\n" }, `1, -1 or 0 in line 1 of`],
    ["no label", { ...lists, [`${sets}/dog_test.txt`]: "\n000001\n" }, "line 2 of"],
    ["an image twice", { ...lists, [`${sets}/dog_test.txt`]: "000001 1\n000001 1\n" }, "line 2 of"],
    [
      "empty lists",
      { ...lists, [`${sets}/dog_test.txt`]: "", [`${sets}/cat_test.txt`]: "" },
      "Expected images in cat_test",
    ],
    [
      "a class in one split",
      { ...lists, ...images, [`${sets}/owl_test.txt`]: "000001 1\n" },
      'a list of each of ["cat","dog","owl"]',
    ],
    ["no image", lists, "Expected an image at"],
    ["empty image sets", { [`${sets}/trainval.txt`]: "", [`${sets}/test.txt`]: "" }, "Expected images in"],
    ["no annotation", imageSets, "Expected an annotation at"],
    ["one class", { [`${sets}/dog_test.txt`]: "1 1\n", [`${sets}/dog_trainval.txt`]: "1 1\n" }, "at least two classes"],
    ["no XML", { ...imageSets, ...annotations, "Annotations/000001.xml": "{}" }, "Expected an <annotation> for"],
    [
      "cut XML",
      { ...imageSets, ...annotations, "Annotations/000001.xml": annotation(object("cat", 0)).slice(0, 80) },
      "<annotation> for",
    ],
    [
      "an object without a name",
      { ...imageSets, ...annotations, "Annotations/000001.xml": annotation("<object></object>") },
      "a name for object 1",
    ],
    [
      "difficult, perhaps",
      { ...imageSets, ...annotations, "Annotations/000001.xml": annotation(object("cat", 0).replace(">0<", ">no<")) },
      "0 or 1 for <difficult> of object 1",
    ],
  ])("%s: is told", async (_, files, message) => {
    await writeFiles(root, files);
    expect(await complaint(open())).toContain(message);
  });

  test("other classes than those named", async () => {
    await writeFiles(root, { ...lists, ...images });
    expect(await complaint(open({ classes: ["cat", "owl"] }))).toContain('the classes ["cat","owl"]');
  });
});
