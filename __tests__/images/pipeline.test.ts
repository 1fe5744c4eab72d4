import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { imageBatches, type ImageBatchesOptions } from "../../lib/images/pipeline.js";
import { applyTransform, parseTransform } from "../../lib/images/transform.js";
import type { ImageSource } from "../../lib/images/image.js";
import { random } from "../../lib/random.js";
import { mutated } from "../checkpoints/mutations.js";
import { goldenPath } from "../golden.js";
import { smallPhotographs } from "./photographs.js";

const names = [
  "photo_china.jpg",
  "photo_coffee.jpg",
  "photo_cat.png",
  "cmyk.jpg",
  "grey.jpg",
  "palette.png",
  "tiny.png",
];
const fixed = "resize(40,bilinear)|center_crop(32)|normalize(imagenet)";
const chance = "random_resized_crop(32,bilinear)|hflip(0.5)|normalize(imagenet)";

const options: ImageBatchesOptions = {
  count: names.length,
  source: (index) => ({ kind: "file", path: goldenPath(`preprocess/src/${names[index]!}`) }),
  id: (index) => names[index]!,
  transform: fixed,
  batchSize: 3,
  workers: 2,
  onBadImage: "stop",
};

/** All batches, copied out. */
async function collect(more: Partial<ImageBatchesOptions> = {}) {
  const batches = imageBatches({ ...options, ...more });
  const rows: number[][] = [];
  const pixels: number[][] = [];
  for await (const batch of batches) {
    expect(batch.pixels.length).toBe(batch.rows.length * batch.height * batch.width * 3);
    rows.push([...batch.rows]);
    pixels.push([...batch.pixels]);
  }
  return { rows, pixels: pixels.flat(), bad: batches.bad };
}

describe("imageBatches", () => {
  test("gives what the transform gives for each image, in order", async () => {
    const { rows, pixels } = await collect();
    expect(rows).toEqual([[0, 1, 2], [3, 4, 5], [6]]);
    const transform = parseTransform(fixed);
    const alone: number[] = [];
    for (let i = 0; i < names.length; i++) {
      alone.push(...(await applyTransform({ transform, source: await options.source(i) })).data);
    }
    expect(pixels).toEqual(alone);
  });

  test.each([0, 1, 3])("%d workers, any batch and look-ahead: the same random pixels", async (workers) => {
    const order = Uint32Array.of(6, 0, 3, 3, 1, 5, 2, 4);
    const draws = Uint32Array.of(2, 2, 5, 2, 2, 9, 2, 2);
    const settings = { transform: chance, order, seed: 7, draws };
    const { pixels } = await collect({ ...settings, workers, batchSize: 1 + workers, lookAhead: 1 + workers });
    const expected: number[] = [];
    for (const [position, row] of order.entries()) {
      const stream = random(7, "augment", draws[position]!, row);
      const one = { transform: parseTransform(chance), source: await options.source(row), random: stream };
      expected.push(...(await applyTransform(one)).data);
    }
    expect(pixels).toEqual(expected);
  });

  test("cuts batches where it is told to, and says where each image stands in the pass", async () => {
    const order = Uint32Array.of(6, 5, 4, 3, 2, 1, 0);
    const cut: number[][] = [];
    const positions: number[] = [];
    for await (const batch of imageBatches({ ...options, order, batchSize: 2, cutEvery: 3, workers: 0 })) {
      cut.push([...batch.rows]);
      positions.push(...batch.positions);
    }
    expect(cut).toEqual([[6, 5], [4], [3, 2], [1], [0]]);
    expect(positions).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  test("another seed or draw gives other pixels", async () => {
    const first = (await collect({ transform: chance, seed: 1 })).pixels;
    expect((await collect({ transform: chance, seed: 2 })).pixels).not.toEqual(first);
    expect(
      (await collect({ transform: chance, seed: 1, draws: new Uint32Array(names.length).fill(1) })).pixels,
    ).not.toEqual(first);
  });

  test("takes images from a larger buffer, and pixels", async () => {
    const whole = new Uint8Array(1 << 20).fill(128);
    const source = (): ImageSource => ({
      ...{ kind: "pixels", width: 32, height: 32, channels: 3 },
      data: whole.subarray(1000, 1000 + 32 * 32 * 3),
    });
    const { pixels } = await collect({ source, count: 5, transform: "center_crop(32)" });
    expect(pixels.every((value) => value === Math.fround(128 / 255))).toBe(true);
    expect(whole.length).toBe(1 << 20);
  });

  test("more batches than the look-ahead hold, begun only as they are consumed", async () => {
    let asked = 0;
    const source = (index: number) => {
      asked++;
      return options.source(index % names.length);
    };
    const batches = imageBatches({ ...options, source, count: 60, batchSize: 2, lookAhead: 3 });
    let seen = 0;
    for await (const { rows } of batches) {
      expect(rows[0]).toBe(seen * 2);
      expect(asked).toBeLessThanOrEqual((seen + 3) * 2);
      seen++;
    }
    expect(seen).toBe(30);
  });

  test.each([0, 2])("workers end where the iteration is broken off (%d)", async (workers) => {
    for await (const { rows } of imageBatches({ ...options, workers, batchSize: 1 })) {
      expect(rows).toEqual(Uint32Array.of(0));
      break;
    }
    // Were a thread left, Jest would not end.
  });
});

describe("bad images", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-"));
    writeFileSync(path.join(folder, "empty.jpg"), "");
    writeFileSync(path.join(folder, "text.png"), "no image");
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const files = () => [
    path.join(folder, "empty.jpg"),
    goldenPath("preprocess/src/photo_china.jpg"),
    path.join(folder, "text.png"),
    goldenPath("preprocess/src/tiny.png"),
    path.join(folder, "missing.jpg"),
  ];
  const mixed = (): Partial<ImageBatchesOptions> => ({
    count: 5,
    source: (index) => ({ kind: "file", path: files()[index]! }),
    id: (index) => path.basename(files()[index]!),
    batchSize: 4,
  });

  test.each([0, 2])("are left out and named (%d workers)", async (workers) => {
    const { rows, pixels, bad } = await collect({ ...mixed(), workers, onBadImage: "skip" });
    expect(rows).toEqual([[1, 3], []]);
    expect(bad).toEqual([
      { id: "empty.jpg", row: 0, position: 0, reason: expect.stringContaining("an empty file (0 bytes)") as string },
      { id: "text.png", row: 2, position: 2, reason: expect.stringContaining("no image format") as string },
      { id: "missing.jpg", row: 4, position: 4, reason: expect.stringContaining("there is no such file") as string },
    ]);
    const good = await collect({ ...mixed(), order: Uint32Array.of(1, 3) });
    expect(pixels).toEqual(good.pixels);
  });

  test("stop the pass at its end, all in one error", async () => {
    await expect(collect(mixed())).rejects.toMatchObject({
      name: "UserError",
      message: expect.stringMatching(
        /^Expected 5 images that can be read but received 3 bad ones:\n {2}empty.jpg: .*\n {2}text.png: .*\n {2}missing.jpg: /,
      ) as string,
    });
  });

  test("120 that a fuzzer has damaged are read or named, and the pass comes to its end", async () => {
    const sound = await smallPhotographs();
    const stream = random(0, "fuzzer");
    const damaged = Array.from({ length: 120 }, (_, i) => mutated(sound[i % sound.length]!, stream));
    const source = (index: number): ImageSource => ({ kind: "bytes", bytes: damaged[index]! });
    const batches = imageBatches({
      count: 120,
      source,
      transform: fixed,
      batchSize: 16,
      workers: 1,
      onBadImage: "skip",
    });
    let read = 0;
    for await (const { rows } of batches) read += rows.length;
    expect(read).toBeGreaterThan(20);
    expect(batches.bad.length).toBeGreaterThan(20);
    expect(read + batches.bad.length).toBe(120);
    for (const { reason } of batches.bad) expect(reason).toMatch(/^Expected an image for .* but received /);
  });

  test("only the first twenty are listed", async () => {
    const source = (): ImageSource => ({ kind: "bytes", bytes: new Uint8Array() });
    const pass = collect({ source, count: 25, id: (index) => `a${index}` });
    await expect(pass).rejects.toThrow(/received 25 bad ones:[^]*a19: [^]*… and 5 more/);
  });

  test.each([0, 1])("a defect of the program is thrown as it is (%d workers)", async (workers) => {
    const source = () => {
      throw new TypeError("a bug");
    };
    await expect(collect({ source, workers })).rejects.toThrow(TypeError);
  });
});

describe("imageBatches refuses", () => {
  test.each<[string, Partial<ImageBatchesOptions>, string]>([
    [
      "a transform without a fixed size",
      { transform: "resize(256)" },
      "Expected a transform that gives all images one size",
    ],
    [
      "more look-ahead than memory",
      { lookAhead: 1000, memoryLimit: 1e6 },
      "Expected a look-ahead that fits into 1.0 MB of memory",
    ],
    ["a batch of nothing", { batchSize: 0 }, "Expected an integer of at least 1 for the batch size but received 0"],
    ["half a worker", { workers: 0.5 }, "Expected an integer of at least 0 for the number of workers"],
    ["no look-ahead", { lookAhead: 0 }, "Expected an integer of at least 1 for the look-ahead"],
  ])("%s", (_, more, message) => {
    expect(() => imageBatches({ ...options, ...more })).toThrow(message);
  });
});
