import { existsSync } from "node:fs";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import type { BackboneManifest } from "../../lib/backbones/manifest.js";
import { UserError } from "../../lib/errors.js";
import { GraphBuilder } from "../../lib/convert/graph-builder.js";
import { graphModelJson, writeGraphModel } from "../../lib/convert/graph-model.js";
import type { FloatWeight } from "../../lib/convert/weight.js";

describe("writeGraphModel", () => {
  let root: string;
  let dir: string;
  beforeEach(async () => {
    root = await fs.mkdtemp(path.join(os.tmpdir(), "graph-model-"));
    dir = path.join(root, "title", "arch");
  });
  afterEach(() => fs.rm(root, { recursive: true }));

  const manifest = { format: 1, title: "title" } as BackboneManifest;
  // 1.5 million numbers: 6 MB, two shards.
  const length = 1_500_000;
  const ramp = () => Promise.resolve(Float32Array.from({ length }, (_, i) => i));

  function write(read: FloatWeight["read"]): Promise<void> {
    const graph = new GraphBuilder({ height: 1, width: 1 });
    const mean = graph.globalAveragePool("mean", graph.input);
    const product = graph.matMul("product", mean, { shape: [3, length / 3], dtype: "float32", read });
    graph.tap("product", product);
    return writeGraphModel({ dir, graph, model: graphModelJson(graph), manifest });
  }

  test("cuts the weights into shards of 4 MB", async () => {
    await write(ramp);
    const names = (await fs.readdir(dir)).sort();
    expect(names).toEqual(["backbone.json", "group1-shard1of2.bin", "group1-shard2of2.bin", "model.json"]);
    const shards = await Promise.all(names.slice(1, 3).map((name) => fs.readFile(path.join(dir, name))));
    expect(shards.map(({ length }) => length)).toEqual([4 * 2 ** 20, 4 * length + 8 - 4 * 2 ** 20]);
    const bytes = Buffer.concat(shards);
    expect([bytes.readInt32LE(0), bytes.readInt32LE(4)]).toEqual([1, 2]);
    expect([0, 1_048_574, 1_048_575, length - 1].map((i) => bytes.readFloatLE(8 + 4 * i))).toEqual([
      0,
      1_048_574,
      1_048_575,
      length - 1,
    ]);
  });

  test("leaves nothing where a weight cannot be read, and what was there as it was", async () => {
    const broken = () => Promise.reject(new UserError("Expected a weight but received none"));
    await expect(write(broken)).rejects.toThrow("Expected a weight");
    expect(await fs.readdir(path.dirname(dir))).toEqual([]);
    await write(ramp);
    await expect(write(broken)).rejects.toThrow("Expected a weight");
    expect(await fs.readdir(path.dirname(dir))).toEqual(["arch"]);
    expect(existsSync(path.join(dir, "backbone.json"))).toBe(true);
  });

  test("takes away what a killed run left an hour ago, not what another run is writing", async () => {
    const [old, recent] = [`${dir}.1-00000000.partial`, `${dir}.2-00000000.partial`];
    for (const name of [old, recent]) await fs.mkdir(name, { recursive: true });
    const before = Date.now() / 1000 - 4000;
    await fs.utimes(old, before, before);
    await write(ramp);
    expect((await fs.readdir(path.dirname(dir))).sort()).toEqual(["arch", path.basename(recent)]);
  });

  test("replaces a backbone, and nothing else", async () => {
    await write(ramp);
    await fs.writeFile(path.join(dir, "old"), "");
    await write(ramp);
    expect(existsSync(path.join(dir, "old"))).toBe(false);
    await fs.rm(dir, { recursive: true });
    await fs.mkdir(dir, { recursive: true });
    await fs.writeFile(path.join(dir, "thesis.tex"), "");
    await expect(write(ramp)).rejects.toThrow(
      `Expected an empty folder or a backbone at ${dir} but it holds thesis.tex`,
    );
    expect(await fs.readdir(dir)).toEqual(["thesis.tex"]);
  });
});
