import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { openDataset } from "../../lib/datasets/open.js";
import { complaint, writeFiles } from "./files.js";

let root: string;
beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "caltech-"));
});
afterEach(() => fs.rm(root, { recursive: true }));

const images = (folder: string, count: number) =>
  Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`${folder}/image_${String(i + 1).padStart(4, "0")}.jpg`, ""]),
  );
const below = "101_ObjectCategories";
const good = {
  ...images(`${below}/Faces`, 31),
  ...images(`${below}/BACKGROUND_Google`, 33),
  ...images(`${below}/ant`, 40),
  // The archive has such a file.
  [`${below}/BACKGROUND_Google/tmp`]: "",
};

describe("Caltech-101", () => {
  test("30 images of each class are drawn for training, the same each time; the others are the test part", async () => {
    await writeFiles(root, good);
    const { classes, splits, name } = await openDataset({ spec: `caltech101:${root}` });
    expect({ classes, name }).toEqual({ classes: ["BACKGROUND_Google", "Faces", "ant"], name: "caltech101" });
    const { train, test } = splits as Required<typeof splits>;
    const counts = (labels: ArrayLike<number>) =>
      [0, 1, 2].map((k) => Array.from(labels).filter((l) => l === k).length);
    expect(counts(train.targets.labels)).toEqual([30, 30, 30]);
    expect(counts(test.targets.labels)).toEqual([3, 1, 10]);
    expect(new Set([...train.ids, ...test.ids]).size).toBe(104);
    for (const split of [train, test]) {
      split.ids.forEach((id, i) => {
        expect(classes[split.targets.labels[i]!]).toBe(id.split("/")[0]);
        expect(split.source(i)).toEqual({ kind: "file", path: path.join(root, below, id) });
      });
    }
    const again = await openDataset({ spec: `caltech101:${root}/${below}` });
    expect(again.splits.train!.ids).toEqual(train.ids);
    expect(again.splits.train!.digest).toBe(train.digest);
    expect(train.digest).not.toBe(test.digest);
    // Not just the first thirty.
    expect(test.ids.filter((id) => id.startsWith("ant"))).not.toEqual(Object.keys(images("ant", 40)).slice(30));
  });

  test("without the background: other classes, the same draw", async () => {
    await writeFiles(root, good);
    const all = await openDataset({ spec: `caltech101:${root}` });
    const objects = await openDataset({ spec: `caltech101:${root},no-background` });
    expect({ classes: objects.classes, name: objects.name }).toEqual({
      classes: ["Faces", "ant"],
      name: "caltech101-objects",
    });
    const ids = all.splits.train!.ids.filter((id) => !id.startsWith("BACKGROUND"));
    expect(objects.splits.train!.ids).toEqual(ids);
    expect(Array.from(objects.splits.train!.targets.labels)).toEqual(ids.map((id) => (id.startsWith("ant") ? 1 : 0)));
    const named = await openDataset({ spec: `caltech101:${root},no-background`, classes: ["ant", "Faces"] });
    expect(named.classes).toEqual(["ant", "Faces"]);
    expect(named.splits.train!.targets.labels[0]).toBe(0);
    expect(named.splits.train!.ids[0]).toMatch(/^ant/);
    await fs.rm(path.join(root, below, "BACKGROUND_Google"), { recursive: true });
    const without = await openDataset({ spec: `caltech101:${root},no-background` });
    expect(without.splits.test!.ids).toEqual(objects.splits.test!.ids);
  });

  test("has another digest where an image is another", async () => {
    await writeFiles(root, good);
    const digest = async () => (await openDataset({ spec: `caltech101:${root}` })).splits.train!.digest;
    const first = await digest();
    await fs.utimes(path.join(root, below, "ant/image_0001.jpg"), 1, 1);
    expect(await digest()).not.toBe(first);
  });

  test("what is wrong with it is told", async () => {
    const open = () => openDataset({ spec: `caltech101:${root}` });
    expect(await complaint(openDataset({ spec: `caltech101:${root}/none` }))).toContain("there is no such file");
    expect(await complaint(open())).toContain("at least two classes");
    await writeFiles(root, { ...images("a", 31), ...images("b", 30) });
    expect(await complaint(open())).toContain(`Expected more than 30 images`);
    expect(await complaint(open())).toContain(`in ${path.join(root, "b")} but received 30`);
    await fs.rm(path.join(root, "b"), { recursive: true });
    await writeFiles(root, images("BACKGROUND_Google", 31));
    expect(await complaint(openDataset({ spec: `caltech101:${root},no-background` }))).toContain(
      "at least two classes",
    );
    await fs.rm(root, { recursive: true });
    await writeFiles(root, { ...images("train/a", 1), ...images("train/b", 1) });
    expect(await complaint(open())).toContain(`Write folder:${root}.`);
  });
});
