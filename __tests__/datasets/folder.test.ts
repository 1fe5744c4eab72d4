import { execFileSync } from "node:child_process";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { openDataset } from "../../lib/datasets/open.js";
import { decodeImage } from "../../lib/images/decode.js";
import { complaint, writeFiles } from "./files.js";

let root: string;
beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "folder data-"));
});
afterEach(async () => {
  jest.restoreAllMocks();
  await fs.rm(root, { recursive: true });
});
const open = () => openDataset({ spec: `folder:${root}` });

describe("a folder of class folders", () => {
  test("is listed in torchvision's order", async () => {
    // The order was checked against torchvision's ImageFolder on the same tree.
    await writeFiles(root, {
      "b/z.png": "",
      "b/a.JPG": "",
      "b/deep/0.webp": "",
      "b/deep-er/1.tiff": "",
      "b/deep/er/2.bmp": "",
      "b/notes.txt": "",
      "a/10.jpeg": "",
      "a/9.jpeg": "",
      "Z/1.ppm": "",
      "Z/.hidden.png": "",
      ".cache/1.png": "",
      "\u{1f422}/1.png": "",
      "\uff5a/1.png": "",
    });
    const { classes, splits, multiLabel, name } = await open();
    expect(classes).toEqual(["Z", "a", "b", "\uff5a", "\u{1f422}"]);
    expect(splits.all!.ids).toEqual([
      "Z/1.ppm",
      "a/10.jpeg",
      "a/9.jpeg",
      "b/a.JPG",
      "b/z.png",
      "b/deep/0.webp",
      "b/deep-er/1.tiff",
      "b/deep/er/2.bmp",
      "\uff5a/1.png",
      "\u{1f422}/1.png",
    ]);
    expect(Array.from(splits.all!.targets.labels)).toEqual([0, 1, 1, 2, 2, 2, 2, 2, 3, 4]);
    expect(splits.all!.source(3)).toEqual({ kind: "file", path: path.join(root, "b/a.JPG") });
    expect(multiLabel).toBe(false);
    expect(name).toMatch(/^folder-data-\w+$/);
  });

  test("may have splits", async () => {
    await writeFiles(root, {
      "train/a/1.png": "",
      "train/b/1.png": "",
      "valid/a/1.png": "",
      "valid/b/1.png": "",
      "masks/1.png": "",
    });
    const { splits } = await open();
    expect(Object.keys(splits)).toEqual(["train", "val"]);
    expect(splits.val!.ids).toEqual(["valid/a/1.png", "valid/b/1.png"]);
  });

  test("may have classes that are called like splits", async () => {
    await writeFiles(root, { "train/1.png": "", "bus/1.png": "" });
    expect((await open()).classes).toEqual(["bus", "train"]);
  });

  test("follows links, but not in circles", async () => {
    await writeFiles(root, { "a/1.png": "", "b/1.png": "", "elsewhere.png": "" });
    await fs.symlink(path.join(root, "a"), path.join(root, "b", "linked"));
    await fs.symlink(root, path.join(root, "a", "circle"));
    await fs.symlink(path.join(root, "elsewhere.png"), path.join(root, "a", "2.png"));
    await fs.symlink(path.join(root, "nowhere.png"), path.join(root, "a", "3.png"));
    const { ids } = (await open()).splits.all!;
    expect(ids.slice(0, 3)).toEqual(["a/1.png", "a/2.png", "a/3.png"]);
    expect(ids).toContain("b/linked/2.png");
    expect(ids.length).toBeLessThan(30);
  });

  test("leaves out pipes, and names links to themselves and names that are no UTF-8 when they are read", async () => {
    await writeFiles(root, { "a/1.png": "", "b/1.png": "" });
    execFileSync("mkfifo", [path.join(root, "a", "pipe.png")]);
    await fs.symlink("self.png", path.join(root, "a", "self.png"));
    await fs.writeFile(Buffer.from(`${root}/b/caf\xe9.png`, "latin1"), "");
    const split = (await open()).splits.all!;
    expect(split.ids).toEqual(["a/1.png", "a/self.png", "b/1.png", "b/caf\uFFFD.png"]);
    const reason = (index: number) => complaint(Promise.resolve(split.source(index)).then((image) => decodeImage({ source: image }))); // prettier-ignore
    expect(await reason(1)).toContain("self.png but symbolic links lead in a circle there");
    expect(await reason(3)).toContain("but there is no such file; its name has bytes that are no UTF-8: rename it");
  });

  test("refuses names of two lines", async () => {
    await writeFiles(root, { "a/1.png": "", "b/two\nlines.png": "" });
    expect(await complaint(open())).toMatch(/^Expected names without line breaks for .* "b\/two\\nlines.png"$/);
  });

  test("has another digest where an image, a label or a class is another, and only then", async () => {
    await writeFiles(root, { "a/1.png": "1", "a/2.png": "22", "b/1.png": "1", "b/2.png": "2" });
    const digest = async () => (await open()).splits.all!.digest;
    const first = await digest();
    expect(await digest()).toBe(first);
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    const seen = new Set([first]);
    const changes: (() => Promise<unknown>)[] = [
      () => fs.writeFile(path.join(root, "a/1.png"), "11"),
      () => fs.utimes(path.join(root, "a/1.png"), 1, 1),
      () => fs.rename(path.join(root, "a/1.png"), path.join(root, "b/3.png")),
      () => fs.rename(path.join(root, "b"), path.join(root, "c")),
      () => fs.rm(path.join(root, "c/1.png")),
    ];
    for (const [i, change] of changes.entries()) {
      await change();
      seen.add(await digest());
      expect(seen.size).toBe(i + 2);
    }
    await fs.writeFile(path.join(root, "notes.txt"), "");
    seen.add(await digest());
    expect(seen.size).toBe(changes.length + 1);
  });
});

describe("what is wrong with a folder is told", () => {
  test("an empty class folder", async () => {
    await writeFiles(root, { "a/1.png": "", "b/1.txt": "" });
    expect(await complaint(open())).toContain(`images in the class folder ${path.join(root, "b")} but there are none`);
  });

  test("one class only, or none", async () => {
    await writeFiles(root, { "a/1.png": "" });
    expect(await complaint(open())).toContain("at least two classes for");
    expect(await complaint(open())).toContain('one only, "a"');
    await fs.rm(path.join(root, "a"), { recursive: true });
    expect(await complaint(open())).toContain("received none Put each class in a folder");
  });

  test("splits with different classes, and two folders for one split", async () => {
    await writeFiles(root, { "train/a/1.png": "", "train/b/1.png": "", "val/b/1.png": "", "val/c/1.png": "" });
    expect(await complaint(open())).toContain('val lacks ["a"], train lacks ["c"]');
    await writeFiles(root, { "valid/a/1.png": "" });
    expect(await complaint(open())).toContain("Expected one val folder");
  });

  test("no such folder, a file, one that may not be read", async () => {
    expect(await complaint(openDataset({ spec: `folder:${root}/none` }))).toContain("there is no such file");
    await writeFiles(root, { file: "" });
    expect(await complaint(openDataset({ spec: `folder:${root}/file` }))).toContain("there is no such file");
    jest.spyOn(fs, "readdir").mockRejectedValue(Object.assign(new Error("EACCES"), { code: "EACCES" }));
    expect(await complaint(open())).toContain("may not be read by this user");
  });

  test("a name with a line break", async () => {
    await writeFiles(root, { "a/1\n.png": "", "b/1.png": "" });
    expect(await complaint(open())).toContain("names without line breaks");
  });

  test("other classes than those named", async () => {
    await writeFiles(root, { "a/1.png": "", "b/1.png": "" });
    const { splits } = await openDataset({ spec: `folder:${root}`, classes: ["b", "a"] });
    expect(Array.from(splits.all!.targets.labels)).toEqual([0, 1]);
    expect(splits.all!.ids).toEqual(["b/1.png", "a/1.png"]);
    expect(await complaint(openDataset({ spec: `folder:${root}`, classes: ["a", "c"] }))).toContain(
      'classes ["a","c"]',
    );
  });
});

describe("a specification", () => {
  test("of an unknown format, or none", async () => {
    expect(await complaint(openDataset({ spec: "foldr:x" }))).toContain("Did you mean folder?");
    expect(await complaint(openDataset({ spec: "photos" }))).toContain("write folder:photos");
    expect(await complaint(openDataset({ spec: "toString:x" }))).toContain("The formats are");
    expect(await complaint(openDataset({ spec: "csv:" }))).toContain("Write csv:FILE");
  });
});
