import { existsSync } from "node:fs";
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { parse } from "yaml";

import { UserError } from "../../lib/errors.js";
import { readRecord } from "../../lib/results/record.js";
import { resultWriter } from "../../lib/results/writer.js";
import { exampleRecord } from "./example.js";

const settings = { seed: 0, layers: ["block4"], sweep: { lr: [0.1, 1], wd: [0] }, pooling: undefined };
const line = { epoch: 1, seed: 0, layer: "block4", head: "fc", loss: 1.5 };

describe("resultWriter", () => {
  let folder: string;
  let out: string;
  const read = (name: string) => readFile(path.join(out, name), "utf8");
  beforeEach(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), "writer-"));
    out = path.join(folder, "runs", "a");
  });
  afterEach(() => rm(folder, { recursive: true }));

  test("fills the folder of a run, and leaves nothing half-written", async () => {
    const writer = await resultWriter({ out, settings });
    writer.metrics(line);
    expect(await read("metrics.jsonl")).toBe(`${JSON.stringify(line)}\n`);
    await writer.predictions({
      layer: "block4",
      head: "fc",
      classes: ["cat", 'a "big", dog'],
      seeds: [
        { seed: 0, ids: ["x,1.png", "y.png"], targets: [0, 1], predicted: [1, 1], probability: [0.75, 0.5] },
        { seed: 1, ids: ["x,1.png"], targets: [0], predicted: [0], probability: [1] },
      ],
    });
    expect(existsSync(path.join(out, "result.json"))).toBe(false);
    await writer.finish(exampleRecord());
    writer.close();

    expect(await readRecord(out)).toEqual(exampleRecord());
    expect(parse(await read("config.yaml"))).toEqual({ seed: 0, layers: ["block4"], sweep: { lr: [0.1, 1], wd: [0] } });
    expect(await read("table.md")).toContain("**73.0 ± 0.4**");
    expect(await read("depth.svg")).toMatch(/^<svg/);
    expect(await read("predictions/block4.fc.csv")).toBe(
      [
        "seed,id,target,predicted,probability,correct",
        '0,"x,1.png",cat,"a ""big"", dog",0.750000,0',
        '0,y.png,"a ""big"", dog","a ""big"", dog",0.500000,1',
        '1,"x,1.png",cat,cat,1.000000,1',
        "",
      ].join("\n"),
    );
    expect((await readdir(out)).sort()).toEqual(
      [
        ...["config.yaml", "depth.png", "depth.svg", "metrics.jsonl", "predictions", "result.json", "sweep.png"],
        ...["sweep.svg", "table.md", "trials.jsonl"],
      ].sort(),
    );
    expect(writer.headFolder({ layer: "block4", head: "fc" })).toBe(path.join(out, "heads", "block4.fc"));
  });

  test("takes the same configuration again, in whatever order its keys stand", async () => {
    const first = await resultWriter({ out, settings });
    first.metrics(line);
    first.close();
    const { seed, ...rest } = settings;
    const again = await resultWriter({ out, settings: { ...rest, seed } });
    again.close();
    expect(await read("metrics.jsonl")).toBe("");
  });

  test("knows its own settings again, whatever YAML could take their values for", async () => {
    const odd = { a: "yes", b: "1e3", c: "null", d: "2001-01-01", e: "two\nlines: x", f: 1e-7, g: null, h: -0, "": [] };
    (await resultWriter({ out, settings: odd })).close();
    (await resultWriter({ out, settings: odd })).close();
    expect(parse(await read("config.yaml"))).toEqual({ ...odd, h: expect.closeTo(0) as number });
  });

  test("goes on after the metrics of the epochs that training goes on from", async () => {
    const first = await resultWriter({ out, settings });
    first.metrics({ ...line, layer: "größe" });
    for (const epoch of [2, 3]) first.metrics({ ...line, epoch, loss: 9 });
    first.close();
    await appendFile(path.join(out, "metrics.jsonl"), '{"epoch": 2, "se');
    const again = await resultWriter({ out, settings, epochs: 1 });
    again.metrics({ ...line, epoch: 2, loss: NaN });
    again.close();
    const lines = (await read("metrics.jsonl")).trimEnd().split("\n");
    expect(lines.map((text) => JSON.parse(text) as unknown)).toEqual([
      { ...line, layer: "größe" },
      { ...line, epoch: 2, loss: null },
    ]);
  });

  test.each([
    ["a value", { ...settings, sweep: { lr: [0.1, 1], wd: [0.1] } }, "sweep.wd is [0] there and [0.1] here"],
    ["a key more", { ...settings, heads: ["fc"] }, 'heads is nothing there and ["fc"] here'],
    ["a key less", { layers: ["block4"], sweep: settings.sweep }, "seed is 0 there and nothing here"],
  ])("refuses the folder of another configuration: %s", async (_, other, difference) => {
    (await resultWriter({ out, settings })).close();
    const before = await read("config.yaml");
    const refused = resultWriter({ out, settings: other });
    await expect(refused).rejects.toThrow(
      `Expected ${out} to hold this configuration but it holds another: ${difference}`,
    );
    await expect(refused).rejects.toMatchObject({ hint: expect.stringContaining("--out") as string });
    expect(await read("config.yaml")).toBe(before);
  });

  test("refuses a folder whose configuration is lost or is not YAML", async () => {
    await mkdir(out, { recursive: true });
    await writeFile(path.join(out, "result.json"), "{}");
    await expect(resultWriter({ out, settings })).rejects.toThrow("Expected config.yaml beside result.json");
    await writeFile(path.join(out, "config.yaml"), "a: [");
    await expect(resultWriter({ out, settings })).rejects.toThrow("Expected YAML for the configuration");
  });

  test("says so where a file stands in the folder's place", async () => {
    await writeFile(path.join(folder, "runs"), "");
    await expect(resultWriter({ out, settings })).rejects.toBeInstanceOf(UserError);
  });

  test("refuses predictions of unequal lengths, before it writes", async () => {
    const writer = await resultWriter({ out, settings });
    const seeds = [{ seed: 4, ids: ["a", "b"], targets: [0, 1], predicted: [0], probability: [1, 1] }];
    await expect(writer.predictions({ layer: "l", head: "fc", classes: ["c", "d"], seeds })).rejects.toThrow(
      "Expected 2 targets, predictions and probabilities for seed 4 but received [2,1,2]",
    );
    writer.close();
    expect(existsSync(path.join(out, "predictions"))).toBe(false);
  });

  // Linux has a device that is always full.
  (existsSync("/dev/full") ? test : test.skip)("says that the disk is full", async () => {
    await mkdir(out, { recursive: true });
    await symlink("/dev/full", path.join(out, "metrics.jsonl"));
    const writer = await resultWriter({ out, settings });
    expect(() => writer.metrics(line)).toThrow(
      `Expected room on the disk for ${path.join(out, "metrics.jsonl")} but it is full`,
    );
    writer.close();
  });
});
