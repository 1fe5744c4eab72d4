import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { writeJson } from "../../lib/files.js";
import { parseRecord, readRecord, type ResultRecord, spread } from "../../lib/results/record.js";
import { exampleRecord } from "./example.js";

describe("the result record", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), "record-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  test("is read as it was written, by its file or by its folder", async () => {
    const record = exampleRecord();
    await writeJson(path.join(folder, "result.json"), record);
    expect(await readRecord(folder)).toEqual(record);
    expect(await readRecord(path.join(folder, "result.json"))).toEqual(record);
  });

  test("holds features of one's own, one seed and no top-5", () => {
    const record = exampleRecord();
    record.backbone = null;
    record.seeds = [3];
    record.results = record.results.slice(0, 1).map((result) => ({
      ...result,
      metrics: { top1: spread([0.5]) },
      selection: spread([0.5]),
    }));
    expect(parseRecord(record, "here")).toEqual(record);
  });

  test.each<[string, (record: ResultRecord) => unknown, string]>([
    [
      "a missing part",
      ({ data: _, ...rest }) => rest,
      "Expected object for data in the result r.json but received nothing",
    ],
    [
      "a wrong type",
      (record) => ({ ...record, seeds: ["0"] }),
      'Expected number for seeds[0] in the result r.json but received "0"',
    ],
    [
      "an unknown key",
      (record) => ({ ...record, machine: { ...record.machine, gpu: 1 } }),
      'Expected only known keys for machine in the result r.json but received "gpu"',
    ],
    [
      "another format",
      (record) => ({ ...record, format: 2 }),
      "Expected format 1 for the result r.json but received 2",
    ],
    [
      "a date that is none",
      (record) => ({ ...record, startedAt: "yesterday" }),
      'Expected a date and time of ISO 8601 in UTC for startedAt in the result r.json but received "yesterday"',
    ],
    [
      "a reported split without images",
      (record) => ({ ...record, data: { ...record.data, splits: { train: 1, how: "by hand" } } }),
      "Expected a number of images, as it is the split that is reported for data.splits.test in the result r.json",
    ],
    [
      "values for other seeds",
      (record) => ({ ...record, seeds: [0, 1] }),
      "Expected one value a seed (2) for results[0].metrics.top1.values in the result r.json but received [0.51,0.52,0.53]",
    ],
    [
      "a layer twice",
      (record) => ({ ...record, results: [...record.results, record.results[0]!] }),
      'Expected one entry a layer and head for results[6].layer in the result r.json but received "block4"',
    ],
    ["no object at all", () => [], "Expected object for the result r.json but received []"],
  ])("refuses %s", (_, broken, message) => {
    expect(() => parseRecord(broken(exampleRecord()), "r.json")).toThrow(message);
  });

  test("says where there is no record, or no JSON", async () => {
    await expect(readRecord(folder)).rejects.toThrow(`Expected a result at ${path.join(folder, "result.json")}`);
    await writeFile(path.join(folder, "result.json"), '{"format": 1');
    await expect(readRecord(folder)).rejects.toThrow("Expected JSON for a result");
  });

  test("spreads by the population standard deviation", () => {
    expect(spread([1, 3])).toEqual({ mean: 2, std: 1, values: [1, 3] });
    expect(spread([0.5])).toEqual({ mean: 0.5, std: 0, values: [0.5] });
  });
});
