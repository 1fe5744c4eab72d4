import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { openDataset } from "../../lib/datasets/open.js";
import type { DatasetSplit } from "../../lib/datasets/dataset.js";
import { imageBatches } from "../../lib/images/pipeline.js";
import { zipArchive } from "../checkpoints/zip-archive.js";
import { writeSmallImages } from "../small-images.js";
import { complaint, writeFiles } from "./files.js";

let root: string;
let images: Buffer[];
beforeAll(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "yfcc-"));
  const names = await writeSmallImages({ folder: path.join(root, "images"), count: 2, classes: ["blue", "red"] });
  images = await Promise.all(names.map((name) => fs.readFile(path.join(root, "images", name))));
});
afterAll(() => fs.rm(root, { recursive: true }));

/** Entries in the order given, those of odd numbers deflated. */
const archive = (numbers: string[]) =>
  zipArchive(
    numbers.map((number, i) => ({
      name: `${number}.jpg`,
      content: images[i % 4]!,
      deflated: Number(number) % 2 === 1,
    })),
  );
const open = (place: string) => openDataset({ spec: `yfcc:${path.join(root, place)}` });

async function pixels(split: DatasetSplit): Promise<{ bad: string[]; sums: number[] }> {
  const passing = imageBatches({
    count: split.size,
    source: (index) => split.source(index),
    id: (index) => split.ids[index]!,
    transform: "resize(8x8,bilinear)|normalize(bytes)",
    batchSize: 2,
    workers: 1,
    onBadImage: "skip",
  });
  const sums: number[] = [];
  for await (const { pixels, rows } of passing) {
    for (let i = 0; i < rows.length; i++) sums.push(pixels.subarray(i * 192, (i + 1) * 192).reduce((a, b) => a + b, 0));
  }
  return { bad: passing.bad.map(({ id, reason }) => `${id}: ${reason}`), sums };
}

test("images are found by their number, stored and deflated ones, in the order of the numbers", async () => {
  await writeFiles(root, {
    "set/01/234.zip": archive(["567", "002"]),
    "set/00/000.zip": zipArchive([{ name: "README", content: Buffer.from("no image") }]),
    "set/00/001.zip": archive(["999", "000", "001"]),
    "set/notes.txt": "no archive",
  });
  const { splits, classes, name } = await open("set");
  const all = splits.all!;
  expect(name).toBe("set");
  expect(classes).toEqual(["unlabelled"]);
  expect(all.ids).toEqual(["1000", "1001", "1999", "1234002", "1234567"]);
  const { bad, sums } = await pixels(all);
  expect(bad).toEqual([]);
  const files = { count: 4, source: (index: number) => ({ kind: "bytes", bytes: images[index]! }) as const };
  const plain = await pixels({ ...all, ...files, size: 4, ids: ["0", "1", "2", "3"] });
  expect(sums).toEqual([1, 2, 0, 1, 0].map((i) => plain.sums[i]!));

  const some = await open("set,1001..1234002");
  expect(some.splits.all!.ids).toEqual(["1001", "1999", "1234002"]);
  expect(some.splits.all!.digest).not.toBe(all.digest);
});

test("a damaged image is a bad one, by its number", async () => {
  const bytes = archive(["000", "001", "003"]);
  const [stored, deflated] = [60, bytes.indexOf("001.jpg") + 40];
  bytes[stored]! ^= 1;
  bytes[deflated]! ^= 1;
  await writeFiles(root, { "flawed/00/000.zip": bytes });
  const { bad, sums } = await pixels((await open("flawed")).splits.all!);
  expect(sums).toHaveLength(1);
  expect(bad).toEqual([
    expect.stringMatching(/^0: .*000\.zip but its checksum is wrong/),
    expect.stringMatching(/^1: .*000\.zip but (its checksum is wrong|it cannot be unpacked)/),
  ]);
});

test("what is no such folder is told in a sentence", async () => {
  const whole = archive(["000", "001"]);
  await writeFiles(root, {
    "empty/readme": "",
    "cut/00/000.zip": whole.subarray(0, whole.length - 10),
    "twice/00/000.zip": archive(["000", "000"]),
    "outside/00/000.zip": zipArchive([{ name: "../000.jpg", content: images[0]! }]),
    "other/00/000.zip": zipArchive([{ name: "a.jpg", content: images[0]! }]),
  });
  expect(await complaint(open("nowhere"))).toContain("Expected a folder of zip archives at");
  expect(await complaint(open("empty"))).toMatch(/Expected zip archives as .*000\.zip but there are none/);
  expect(await complaint(open("set,5000..6000"))).toMatch(/Expected zip archives as .* but there are none/);
  expect(await complaint(open("set,9..3"))).toContain("0..999999, for yfcc:");
  expect(await complaint(open("cut"))).toMatch(/Expected a whole zip archive of images at .* but its zip archive has no end: it was cut/); // prettier-ignore
  expect(await complaint(open("twice"))).toContain("its entry 000.jpg comes twice or leaves the file");
  expect(await complaint(open("outside"))).toContain("climbs out of its folder");
  expect(await complaint(open("other"))).toContain("but there are none of yfcc:");
});
