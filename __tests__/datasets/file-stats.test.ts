import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { UserError } from "../../lib/errors.js";
import { fileStats } from "../../lib/datasets/file-stats.js";
import { fileSplit, uniqueIds } from "../../lib/datasets/listing.js";
import { writeFiles } from "./files.js";

let root: string;
beforeAll(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "file stats-"));
  await writeFiles(root, { "a.png": "1", "b/ü.png": "22", "c.png": "" });
  await fs.utimes(path.join(root, "a.png"), 5, 5);
});
afterAll(() => fs.rm(root, { recursive: true }));

async function statsOf(files: string[]): Promise<number[]> {
  const pieces: Float64Array[] = [];
  for await (const stats of fileStats({ root, files })) pieces.push(stats);
  return pieces.flatMap((stats) => [...stats]);
}

test("sizes and times of files, and where there are none", async () => {
  const stats = await statsOf(["a.png", "b/ü.png", "b", "nowhere.png", path.join(root, "c.png"), "./b/../a.png"]);
  expect(stats.filter((_, i) => i % 2 === 0)).toEqual([1, 2, -1, -1, 0, 1]);
  expect([stats[1], stats[5], stats[7], stats[11]]).toEqual([5000, 0, 0, 5000]);
});

test("threads, which ask where there are many, say the same in the same order", async () => {
  const some = ["a.png", "b/ü.png", "nowhere.png"];
  const one = await statsOf(some);
  const times = 25_000;
  const many = await statsOf(Array.from({ length: times }, () => some).flat());
  expect(many).toHaveLength(times * one.length);
  expect(many.every((value, i) => value === one[i % one.length])).toBe(true);
});

test("threads end where the listing is broken off", async () => {
  for await (const stats of fileStats({ root, files: Array.from({ length: 70_000 }, () => "a.png") })) {
    expect(stats[0]).toBe(1);
    break;
  }
});

test("names that come once stay, among hundreds of thousands, and those that come again are numbered", () => {
  const names = Array.from({ length: 100_000 }, (_, i) => `n${i % 1000}/n${i % 1000}_${i}.png`);
  const same = uniqueIds(names, "a list");
  expect(same.every((id, i) => id === names[i])).toBe(true);
  expect(uniqueIds([...names, names[7]!, names[7]!], "a list").slice(-2)).toEqual([
    `${names[7]!} (2)`,
    `${names[7]!} (3)`,
  ]);
  expect(() => uniqueIds([...names, "a\nb"], "a list")).toThrow(/without line breaks for a list but received "a\\nb"/);
});

test("of very many files some are asked: their digest knows a change of these, and every name", async () => {
  const digestOf = async (files: string[], mostAsked?: number) => {
    const targets = { kind: "single" as const, labels: new Int32Array(files.length) };
    const listed = { format: "list", name: "all" as const, root, files, ids: files, targets, classes: ["a", "b"] };
    return (await fileSplit({ ...listed, mostAsked, missing: (i) => new UserError(`entry ${i} is missing`) })).digest;
  };
  const files = ["a.png", "b/ü.png", "c.png", "nowhere.png", "a.png"];
  await expect(digestOf(files)).rejects.toThrow("entry 3 is missing");
  // Every second one: the first, the third and the fifth.
  const digest = await digestOf(files, 3);
  expect(await digestOf(["a.png", "elsewhere.png", "c.png", "nowhere.png", "a.png"], 3)).not.toBe(digest);
  expect(await digestOf(["a.png", "b/ü.png", "nowhere.png", "c.png", "a.png"], 5).catch(String)).toContain("entry 2");
  await fs.writeFile(path.join(root, "b/ü.png"), "333");
  expect(await digestOf(files, 3)).toBe(digest);
  await fs.writeFile(path.join(root, "c.png"), "333");
  expect(await digestOf(files, 3)).not.toBe(digest);
  expect(await digestOf(files.slice(0, 3), 3)).toBe(await digestOf(files.slice(0, 3)));
});
