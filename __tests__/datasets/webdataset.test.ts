import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";

import { openDataset } from "../../lib/datasets/open.js";
import type { DatasetSplit } from "../../lib/datasets/dataset.js";
import { tarEntries } from "../../lib/datasets/tar.js";
import { imageBatches } from "../../lib/images/pipeline.js";
import { goldenPath } from "../golden.js";
import { writeSmallImages } from "../small-images.js";
import { complaint, writeFiles } from "./files.js";
import { archive, end, member } from "./tar-archive.js";

let root: string;
beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "webdataset-"));
});
afterEach(() => fs.rm(root, { recursive: true }));
const open = () => openDataset({ spec: `webdataset:${root}` });

async function contents(split: DatasetSplit): Promise<string[]> {
  const texts: string[] = [];
  for (let i = 0; i < split.size; i++) {
    const source = await split.source(i);
    if (source.kind !== "range") throw new Error(source.kind);
    const bytes = await fs.readFile(source.path);
    texts.push(bytes.toString("utf8", source.offset, source.offset + source.length));
  }
  return texts;
}

describe("archives as WebDataset writes them", () => {
  test.each(["ustar", "gnu", "pax"])("long names as Python's tarfile writes them: %s", async (name) => {
    const { splits } = await openDataset({ spec: `webdataset:${goldenPath(`tar/${name}.tar`)}` });
    const below = Array.from({ length: name === "ustar" ? 6 : 12 }, () => "a-long-name-of-a-folder").join("/");
    expect(splits.all!.ids).toEqual([0, 1, 2].map((i) => `${name}/${below}/${i}`));
    expect(Array.from(splits.all!.targets.labels)).toEqual([0, 1, 0]);
    expect(await contents(splits.all!)).toEqual(["image 0", "image 1", "image 2"]);
  });

  test("splits by names, shards in order, each way to write a label", async () => {
    await writeFiles(root, {
      "in-train-0001.tar": archive({ "a.JPG": "2", "a.json": '{"label": 2}', "a.seg.png": "-" }),
      "in-train-0000.tar": archive({
        LICENSE: "none",
        "./0.cls": "1\n",
        "./0.png": "0",
        "deep/0.jpeg": "1",
        "deep/0.txt": "0",
        "deep/0.json": '{"width": 5}',
      }),
      "in-validation.tar": archive({ "x.y.webp": "-", "x.webp": "3", "x.txt": "a text", "x.cls": "2" }),
    });
    const { classes, splits, name, multiLabel } = await open();
    expect({ classes, multiLabel }).toEqual({ classes: ["0", "1", "2"], multiLabel: false });
    expect(name).toMatch(/^webdataset-/);
    expect(splits.train!.ids).toEqual(["in-train-0000/0", "in-train-0000/deep/0", "in-train-0001/a"]);
    expect(Array.from(splits.train!.targets.labels)).toEqual([1, 0, 2]);
    expect(await contents(splits.train!)).toEqual(["0", "1", "2"]);
    expect(Array.from(splits.val!.targets.labels)).toEqual([2]);
  });

  test("names of classes: in the labels, in classnames.txt, or the user's; lists of labels", async () => {
    await writeFiles(root, { "0.tar": archive({ "a.jpg": "", "a.cls": "owl", "b.jpg": "", "b.cls": "cat" }) });
    expect((await open()).classes).toEqual(["cat", "owl"]);
    await writeFiles(root, {
      "0.tar": archive({ "a.jpg": "", "a.json": '{"label": [0, 2]}', "b.jpg": "", "b.cls": "1" }),
    });
    const { multiLabel, splits, classes } = await open();
    expect({ multiLabel, classes }).toEqual({ multiLabel: true, classes: ["0", "1", "2"] });
    expect(Array.from(splits.all!.targets.labels)).toEqual([1, 0, 1, 0, 1, 0]);
    await writeFiles(root, { "classnames.txt": "cat\ndog\nbig owl\n" });
    expect((await open()).classes).toEqual(["cat", "dog", "big owl"]);
    expect((await openDataset({ spec: `webdataset:${root}`, classes: ["a", "b", "c"] })).classes).toEqual([
      "a",
      "b",
      "c",
    ]);
  });

  test("braces, globs, splits named by the user, folders named as splits", async () => {
    const one = archive({ "a.jpg": "", "a.cls": "0", "b.jpg": "", "b.cls": "1" });
    await writeFiles(root, Object.fromEntries(["08", "09", "10", "11"].map((n) => [`train/${n}.tar`, one])));
    await writeFiles(root, { "test/0.tar": one });
    expect(Object.entries((await open()).splits).map(([name, { size }]) => [name, size])).toEqual([
      ["train", 8],
      ["test", 2],
    ]);
    const sizes = async (place: string) =>
      Object.entries((await openDataset({ spec: `webdataset:${place}` })).splits).map(([name, { ids }]) => [
        name,
        ids.filter((id) => id.endsWith("a")),
      ]);
    expect(await sizes(`${root}/train/{08..10}.tar`)).toEqual([["train", ["08/a", "09/a", "10/a"]]]);
    expect(await sizes(`train=${root}/train/1*.tar,val=${root}/train/0?.tar`)).toEqual([
      ["train", ["10/a", "11/a"]],
      ["val", ["08/a", "09/a"]],
    ]);
    expect(await complaint(openDataset({ spec: `webdataset:${root}/train/{10..12}.tar` }))).toContain(
      "there is no such file",
    );
    expect(await complaint(openDataset({ spec: `webdataset:${root}/train/{12..10}.tar` }))).toContain(
      "an ascending range",
    );
    expect(await complaint(openDataset({ spec: `webdataset:${root}/train/2*.tar` }))).toContain("Expected .tar files");
  });

  test("images go through the pipeline as files do", async () => {
    const names = await writeSmallImages({ folder: path.join(root, "photos"), count: 2, classes: ["blue", "red"] });
    const files: Record<string, string | Uint8Array> = {};
    for (const [i, name] of names.entries()) {
      files[`${i}.png`] = await fs.readFile(path.join(root, "photos", name));
      files[`${i}.cls`] = name.split("/")[0]!;
    }
    await writeFiles(root, { "shards/0.tar": archive(files) });
    const { splits } = await openDataset({ spec: `webdataset:${root}/shards` });
    const plain = (await openDataset({ spec: `folder:${root}/photos` })).splits.all!;
    const pixels = async (split: DatasetSplit, workers: number) => {
      const settings = { transform: "resize(8x8)", batchSize: 4, workers, onBadImage: "stop" } as const;
      for await (const batch of imageBatches({ count: 4, source: (i) => split.source(i), ...settings }))
        return [...batch.pixels];
    };
    expect(await pixels(splits.all!, 1)).toEqual(await pixels(plain, 0));
    expect(Array.from(splits.all!.targets.labels)).toEqual(Array.from(plain.targets.labels));
  });

  test("has another digest where a shard or a label is another, and only then", async () => {
    const files = { "a.jpg": "", "a.cls": "0", "b.jpg": "", "b.cls": "1" };
    await writeFiles(root, { "0.tar": archive(files) });
    const digest = async () => (await open()).splits.all!.digest;
    const first = await digest();
    expect(await digest()).toBe(first);
    const { mtime } = await fs.stat(path.join(root, "0.tar"));
    await writeFiles(root, { "0.tar": archive({ ...files, "b.cls": "0", "a.cls": "1" }) });
    await fs.utimes(path.join(root, "0.tar"), mtime, mtime);
    expect(await digest()).not.toBe(first);
    await writeFiles(root, { "0.tar": archive(files) });
    await fs.utimes(path.join(root, "0.tar"), 1, 1);
    expect(await digest()).not.toBe(first);
  });

  test("files beyond 8 GB, by GNU's header and by pax'", async () => {
    // Sparse: nothing of this size is written.
    const size = 9 * 2 ** 30 + 100;
    const binary = Buffer.alloc(12);
    binary[0] = 0x80;
    binary.writeBigUInt64BE(BigInt(size), 4);
    const record = (text: string) => `${text.length + 3} ${text}`;
    const starts = {
      gnu: member("big.jpg", "", { size: binary }),
      pax: Buffer.concat([member("pax", record(`size=${size}\n`), { type: "x" }), member("big.jpg", "")]),
    };
    for (const [name, start] of Object.entries(starts)) {
      const file = path.join(root, `${name}.tar`);
      const handle = await fs.open(file, "w");
      await handle.write(start);
      const rest = Buffer.concat([member("big.cls", "1"), end]);
      await handle.write(rest, 0, rest.length, start.length + Math.ceil(size / 512) * 512);
      await handle.close();
      const entries = [];
      for await (const { name: entry, size: bytes, offset } of tarEntries(file)) entries.push([entry, bytes, offset]);
      expect(entries).toEqual([
        ["big.jpg", size, start.length],
        ["big.cls", 1, start.length + Math.ceil(size / 512) * 512 + 512],
      ]);
    }
  });
});

describe("what is wrong with archives is told", () => {
  const good = { "a.jpg": "image a", "a.cls": "0", "b.jpg": "image b", "b.cls": "1" };

  test("cut off anywhere", async () => {
    const whole = archive(good);
    const file = path.join(root, "0.tar");
    for (const length of [0, 100, 511, 512, 515, 1024, 1536, whole.length - 1024, whole.length - 1500]) {
      await fs.writeFile(file, whole.subarray(0, length));
      expect(await complaint(open())).toContain(`a whole tar archive at ${file} but it is cut off`);
    }
    await fs.writeFile(file, whole);
    expect((await open()).splits.all!.size).toBe(2);
  });

  test.each<[string, Uint8Array, string]>([
    ["compressed", gzipSync(archive(good)), "but it is compressed Unpack it with gunzip"],
    ["no archive", Buffer.alloc(2000, "a"), "does not begin like one"],
    ["damaged", Buffer.concat([member("a.jpg", ""), Buffer.alloc(1024, "b"), end]), "damaged at byte 512"],
    ["a size that is none", member("a.jpg", "", { size: Buffer.from("99999999999") }), "Expected the size of a file"],
    ["a broken extended header", Buffer.concat([member("x", "99 size=1\n", { type: "x" }), end]), "an extended header"],
    ["an empty archive", end, "at least two classes"],
    ["no label", archive({ ...good, "c.jpg": "" }), "a label (cls, json, txt) for c in"],
    ["no image", archive({ "c.cls": "1", ...good }), "an image (jpg, jpeg, png, webp) for c in"],
    ["two images", archive({ ...good, "c.jpg": "", "c.png": "" }), "one image for c in"],
    ["a sample in two places", archive({ "c.jpg": "", ...good, "c.cls": "1" }), "a label (cls, json, txt) for c"],
    ["a sample twice", archive({ "c.jpg": "", "c.cls": "1", ...good, "c.png": "" }), "but c comes again"],
    ["a file twice", Buffer.concat([member("a.cls", "1"), member("a.cls", "2"), end]), "a.cls comes twice"],
    ["an empty label", archive({ ...good, "b.cls": " \n" }), "a label for b.cls in"],
    ["broken JSON", archive({ "b.jpg": "", "b.json": "{label: 3" }), "Expected JSON for b.json"],
    ["a label that is none", archive({ "b.jpg": "", "b.json": '{"label": 1.5}' }), "but received 1.5"],
    ["indices and names", archive({ ...good, "b.cls": "owl" }), "class indices or class names"],
    ["one class", archive({ "a.jpg": "", "a.cls": "0" }), "at least two classes"],
  ])("%s", async (_, bytes, message) => {
    await writeFiles(root, { "0.tar": bytes });
    expect(await complaint(open())).toContain(message);
  });

  test("a label beyond the classes, or none of them", async () => {
    await writeFiles(root, { "0.tar": archive(good) });
    const spec = `webdataset:${root}`;
    await writeFiles(root, { "classnames.txt": "cat\ndog\n", "1.tar": archive({ "c.jpg": "", "c.cls": "2" }) });
    expect(await complaint(open())).toContain(`a label in 0 … 1 in sample 1/c of ${root}/1.tar but received 2`);
    await writeFiles(root, { "1.tar": archive({ "c.jpg": "", "c.cls": "doge" }) });
    expect(await complaint(openDataset({ spec, classes: ["cat", "dog"] }))).toContain("Did you mean dog?");
  });

  test("an archive that is cut off after it was opened: the images behind are bad", async () => {
    await writeFiles(root, { "0.tar": archive(good) });
    const { splits } = await open();
    await fs.truncate(path.join(root, "0.tar"), 1540);
    const settings = { transform: "resize(8x8)", batchSize: 4, workers: 0, onBadImage: "skip" } as const;
    const batches = imageBatches({ count: 2, source: (i) => splits.all!.source(i), ...settings });
    for await (const { rows } of batches) expect(rows).toHaveLength(0);
    expect(batches.bad[0]!.reason).toContain(
      `the 7 bytes from 512 on in ${root}/0.tar but received a file of no image`,
    );
    expect(batches.bad[1]!.reason).toContain("but the file ends before");
  });

  test("no archives, some with a split and some without", async () => {
    expect(await complaint(open())).toContain("Expected .tar files");
    await writeFiles(root, { "train-0.tar": archive(good), "other.tar": archive(good) });
    expect(await complaint(open())).toContain('but received "other.tar" Write train=PATTERN,val=PATTERN.');
    expect(await complaint(openDataset({ spec: `webdataset:${root}/train-0.tar,${root}/other.tar` }))).toContain(
      "a split for each pattern",
    );
    expect(await complaint(openDataset({ spec: `webdataset:trian=${root}/train-0.tar` }))).toContain(
      "Did you mean train?",
    );
  });
});
