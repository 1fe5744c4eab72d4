import { readFileSync } from "node:fs";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import fc from "fast-check";

import { mergeStores } from "../../lib/features/merge-stores.js";
import { openFeatures } from "../../lib/features/open-features.js";
import { parsePart, rowsOfPart } from "../../lib/features/store-part.js";
import { storeInfo } from "../../lib/features/store-info.js";
import { openStore } from "../../lib/features/store.js";
import { verifyStore } from "../../lib/features/verify-store.js";
import { complaint, writeFiles } from "../datasets/files.js";
import { digest, extract, filesOf, layers, place, type Extraction } from "./synthetic.js";

// Three times 512 positions and some: two parts are of unlike size, and five are more than there are shards.
const size = 1300;
const ids = Array.from({ length: size }, (_, row) => `class/${row}.jpg`);
const labels = Int32Array.from(ids, (_, row) => row % 7);
const listing = { size, digest, ids, targets: { kind: "single", labels } as const };
/** One alone, a whole shard at a cut, the last. */
const bad = new Set([5, ...Array.from({ length: 128 }, (_, i) => 512 + i), size - 1]);

let root: string;
beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "parts-"));
});
afterEach(() => fs.rm(root, { recursive: true }));

const common: Extraction = { listing, bad, batchSize: 64, rowsPerShard: 128 };
const undivided = (options: Extraction = {}) => extract(path.join(root, "whole"), { ...common, ...options });
const part = (index: number, count: number, options: Extraction = {}) =>
  extract(root, { ...common, place: place(root, { part: { index, count } }), ...options });
const merged = () => path.join(root, "merged");

describe("rows of a part", () => {
  test("cover a listing once, in order, cut where all shards begin", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 20 }), (rows, count) => {
        let end = 0;
        for (let index = 1; index <= count; index++) {
          const { from, to } = rowsOfPart(rows, { index, count });
          expect(from === end || from === to).toBe(true);
          if (from < to) expect(from % 512).toBe(0);
          end = Math.max(end, to);
        }
        expect(end).toBe(rows);
      }),
    );
    expect(rowsOfPart(700)).toEqual({ from: 0, to: 700 });
  });

  test.each(["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "-1/2"])("%s is no part", (text) => {
    expect(() => parsePart(text)).toThrow("Expected a part and the number of parts, from 1/8 to 8/8, for --shard");
  });
});

describe("merged parts", () => {
  test.each([2, 3, 5])("of %i are the undivided store, byte for byte", async (count) => {
    const whole = await undivided();
    const parts: string[] = [];
    for (let index = count; index >= 1; index--) {
      const { from, to } = rowsOfPart(size, { index, count });
      if (from < to) parts.push((await part(index, count)).folder);
    }
    const store = await mergeStores({ out: merged(), parts });
    expect(store.size).toBe(size - bad.size);
    expect(await filesOf(merged())).toEqual(await filesOf(whole.folder));
    expect((await verifyStore({ folder: merged() })).damaged).toEqual([]);
    expect((await fs.readdir(root)).filter((name) => name.includes("partial"))).toEqual([]);
  });

  test("of several labels an image, where one part holds none that can be read, and one was stopped", async () => {
    const many = { kind: "multi", classes: 3, labels: Int8Array.from({ length: size * 3 }, (_, i) => (i % 3) - 1) } as const; // prettier-ignore
    const options = { listing: { ...listing, targets: many }, bad: new Set(ids.keys()) };
    for (let row = 0; row < 700; row++) options.bad.delete(row);
    const whole = await undivided(options);
    const stop = (row: number) => {
      if (row >= 600) throw new Error("stopped");
    };
    await expect(part(2, 3, { ...options, after: stop })).rejects.toThrow("stopped");
    const parts: string[] = [];
    for (const index of [1, 2, 3]) parts.push((await part(index, 3, options)).folder);
    await mergeStores({ out: merged(), parts });
    expect(await filesOf(merged())).toEqual(await filesOf(whole.folder));
  });

  test("are told of by info, and are no whole features", async () => {
    const { folder } = await part(2, 2);
    expect(path.basename(folder)).toBe("features_train_part2of2");
    const { rows, state, dataset } = await storeInfo({ folder });
    expect({ rows, state, classes: dataset.classes }).toEqual({ rows: { from: 512, to: size }, state: "whole", classes: 7 }); // prettier-ignore
    expect(await complaint(openFeatures({ spec: folder }))).toContain(
      `Expected a whole split but ${folder} holds part 2 of 2`,
    );
  });
});

test("a merge that is stopped leaves nothing, and what a killed one left is no hindrance", async () => {
  const parts = [(await part(1, 2)).folder, (await part(2, 2)).folder];
  const stopped = mergeStores({ out: merged(), parts, signal: AbortSignal.abort(new Error("stopped")) });
  await expect(stopped).rejects.toThrow("stopped");
  expect((await fs.readdir(root)).filter((name) => name.startsWith("merged"))).toEqual([]);
  await writeFiles(`${merged()}.partial`, { "res4/00000.npy": "cut", "store.json.1.partial": "{" });
  await mergeStores({ out: merged(), parts });
  expect(await filesOf(merged())).toEqual(await filesOf((await undivided()).folder));
});

describe("parts that do not make a whole", () => {
  test("are refused with a sentence, and nothing is left", async () => {
    const [one, two] = [(await part(1, 3)).folder, (await part(2, 3)).folder];
    const merge = (...parts: string[]) => complaint(mergeStores({ out: merged(), parts }));
    expect(await merge(one, two)).toContain("Expected all 3 parts of photos train but 3 is missing");
    expect(await merge(two)).toContain("Expected all 3 parts of photos train but 1, 3 are missing");
    expect(await merge(one, one)).toContain("Expected part 1 once but");
    const whole = await undivided();
    expect(await merge(whole.folder)).toContain(`Expected a part of a feature store at ${whole.folder}`);
    const other = await extract(root, {
      ...common,
      place: place(root, { weights: "v", part: { index: 3, count: 3 } }),
    });
    expect(await merge(one, two, other.folder)).toContain("Expected parts of one store but");
    const fewer = await part(3, 3, { layers: [layers[0]!] });
    expect(await merge(one, two, fewer.folder)).toContain(
      `Expected the same layers in all parts but ${fewer.folder} lacks res5avg`,
    );
    const three = await part(3, 3);
    expect(await complaint(mergeStores({ out: one, parts: [one, two, three.folder] }))).toContain(
      "Expected a new or empty folder for the merged store but",
    );
    const shard = path.join(two, "res5.global_avg", "00006.npy");
    const bytes = readFileSync(shard);
    bytes[200]! ^= 1;
    await fs.writeFile(shard, bytes);
    expect(await merge(one, two, three.folder)).toContain(
      `Expected a shard of features as written in ${shard} but the file was changed or is damaged`,
    );
    expect((await fs.readdir(root)).filter((name) => name.startsWith("merged"))).toEqual([]);
    // What is advised helps.
    await fs.rm(shard);
    await part(2, 3);
    await fs.mkdir(merged());
    await mergeStores({ out: merged(), parts: [one, two, three.folder] });
    expect((await openStore({ folder: merged(), verify: true })).size).toBe(size - bad.size);
  });
});
