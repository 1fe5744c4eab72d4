import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";

import fc from "fast-check";

import { readNpy } from "../../lib/features/npy-file.js";
import { findStore, layerFolder, rowsPerShardOf } from "../../lib/features/store-format.js";
import type { StoreKey } from "../../lib/features/store-format.js";
import { openStoreWriter } from "../../lib/features/store-writer.js";
import { missingLayers, openStore } from "../../lib/features/store.js";
import { random } from "../../lib/random.js";
import { extract, featuresOf, filesOf, layers, listing, place, size, unreadable } from "./synthetic.js";

let root: string;
beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "store-"));
});
afterEach(async () => {
  jest.restoreAllMocks();
  await fs.rm(root, { recursive: true });
});
const plain = () => path.join(root, "moco-v2", "resnet50", "photos", "features_train");

describe("a store", () => {
  test("holds what was given, in files that NumPy reads", async () => {
    const store = await extract(root);
    const rows = Array.from({ length: size }, (_, row) => row).filter((row) => !unreadable.has(row));
    expect(store.folder).toBe(plain());
    expect(store.size).toBe(rows.length);
    expect(store.ids).toEqual(rows.map((row) => `class/${row}.jpg`));
    expect(store.targets).toEqual({ kind: "single", labels: Int32Array.from(rows, (row) => row % 7) });
    expect(store.skipped.map(({ row }) => row)).toEqual([...unreadable]);
    expect(store.skipped[0]).toEqual({ row: 5, id: "class/5.jpg", reason: "row 5 is broken" });
    expect(Object.keys(await filesOf(store.folder)).filter((name) => !name.endsWith(".npy"))).toEqual([
      "ids.txt",
      "store.json",
    ]);
    for (const layer of store.layers) {
      const shards = await Promise.all(
        layer.shards.map(({ file }) => readNpy({ file: path.join(store.folder, layer.folder, file) })),
      );
      expect(shards.map(({ shape }) => shape[0])).toEqual(layer.shards.map((shard) => shard.rows));
      expect(shards.map(({ shape }) => shape.slice(1))).toEqual(shards.map(() => layer.shape));
      const values = shards.flatMap(({ data }) => Array.from(data as Float32Array));
      expect(Float32Array.from(values)).toEqual(featuresOf(layer, rows));
    }
    expect(store.layers.map(({ folder }) => folder)).toEqual(["res4.avg_pool-8x8-3-0", "res5.global_avg"]);
  });

  test("keeps several labels an image", async () => {
    const labels = Int8Array.from({ length: size * 3 }, (_, i) => (i % 3) - 1);
    const store = await extract(root, { listing: { ...listing, targets: { kind: "multi", labels, classes: 3 } } });
    expect(store.targets.kind).toBe("multi");
    expect(Array.from(store.targets.labels.subarray(0, 3))).toEqual([-1, 0, 1]);
    expect(store.targets.labels).toHaveLength(store.size * 3);
  });

  test("of halves rounds to them, and refuses what they cannot hold", async () => {
    const store = await extract(root, { place: place(root, { precision: "float16" }) });
    const { data } = await readNpy({ file: path.join(store.folder, "res5.global_avg", "00000.npy") });
    const exact = featuresOf(layers[1]!, [0]);
    exact.forEach((value, i) => expect(Math.abs((data[i] as number) - value)).toBeLessThan(2 ** -11));

    const writer = await openStoreWriter({
      place: place(root, { precision: "float16", weights: "large" }),
      layers: [layers[1]!],
      listing,
      classes: [],
    });
    await expect(
      writer.append({ rows: Uint32Array.of(0), features: { res5avg: Float32Array.of(1, 2, 70000, 4, 5) } }),
    ).rejects.toThrow("within ±65504 for float16 but layer res5avg gave 70000");
  });

  test("refuses features that are no numbers", async () => {
    const writer = await openStoreWriter({ place: place(root), layers: [layers[1]!], listing, classes: [] });
    const append = writer.append({ rows: Uint32Array.of(0), features: { res5avg: Float32Array.of(1, NaN, 3, 4, 5) } });
    await expect(append).rejects.toThrow("finite features of layer res5avg but received NaN");
  });

  test("is not made of nothing", async () => {
    const all = new Set(listing.ids.keys());
    await expect(extract(root, { bad: all })).rejects.toThrow(`all ${size} were skipped`);
  });
});

describe("a run that ends early", () => {
  test("is killed at random moments, again and again, and leaves the bytes of an undisturbed run", async () => {
    await extract(root);
    const undisturbed = await filesOf(plain());
    const other = await fs.mkdtemp(path.join(os.tmpdir(), "store-killed-"));
    const chance = random(Date.now());
    let kills = 0;
    for (let done = false; !done;) {
      const child = spawn(process.execPath, [path.join(__dirname, "extract-slowly.js"), other], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let lines = 4 + chance.integer(9);
      readline.createInterface(child.stdout).on("line", () => {
        if (--lines === 0) setTimeout(() => child.kill("SIGKILL"), chance.integer(4));
      });
      const [code] = (await once(child, "exit")) as [number | null];
      done = code !== null;
      if (done) expect(code).toBe(0);
      else kills++;
    }
    expect(kills).toBeGreaterThan(2);
    expect(await filesOf(path.join(other, "moco-v2", "resnet50", "photos", "features_train"))).toEqual(undisturbed);
    await fs.rm(other, { recursive: true });
  });

  test("goes on after the last whole shard, wherever and for whichever layers it ended", async () => {
    await extract(root);
    const undisturbed = await filesOf(plain());
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ at: fc.nat(192), only: fc.constantFrom([0, 1], [0], [1]) }), { maxLength: 4 }),
        fc.integer({ min: 1, max: 40 }),
        async (ends, batchSize) => {
          await fs.rm(plain(), { recursive: true });
          for (const { at, only } of ends) {
            const stop = (row: number) => {
              if (row >= at) throw new Error("stopped");
            };
            await extract(root, { layers: only.map((i) => layers[i]!), batchSize, after: stop }).catch(() => undefined);
          }
          await extract(root, { batchSize });
          expect(await filesOf(plain())).toEqual(undisturbed);
        },
      ),
      { numRuns: 12, examples: [[[], 7]] },
    );
  });

  test("starts where it stopped", async () => {
    const stop = (row: number) => {
      if (row >= 100) throw new Error("stopped");
    };
    await expect(extract(root, { after: stop })).rejects.toThrow("stopped");
    const rows: number[] = [];
    await extract(root, { after: (row) => rows.push(row) });
    expect(rows[0]).toBe(96);
  });

  test("is not taken for a store", async () => {
    const stop = () => {
      throw new Error("stopped");
    };
    await expect(extract(root, { after: stop })).rejects.toThrow("stopped");
    await expect(openStore({ folder: plain() })).rejects.toThrow("did not come to an end");
    expect(await missingLayers({ folder: plain(), layers })).toEqual(layers);
  });

  test("says so when an image that was read cannot be read again", async () => {
    const stop = (row: number) => {
      if (row >= 30) throw new Error("stopped");
    };
    await expect(extract(root, { layers: [layers[0]!], after: stop })).rejects.toThrow("stopped");
    await expect(extract(root, { bad: new Set([...unreadable, 7]) })).rejects.toThrow(
      "Expected to read class/7.jpg again",
    );
  });
});

describe("one more layer", () => {
  const third = { name: "pool", tap: "res5", pooling: "max", shape: [5] };

  test("extracts only that", async () => {
    await extract(root);
    const before = await filesOf(plain());
    expect(await missingLayers({ folder: plain(), layers: [...layers, third] })).toEqual([third]);
    const writer = await openStoreWriter({ place: place(root), layers: [...layers, third], listing, classes: [] });
    expect(writer.missing).toEqual([third]);
    await writer.abort();

    const store = await extract(root, { layers: [...layers, third] });
    expect(store.layers.map(({ name }) => name)).toEqual(["res4", "res5avg", "pool"]);
    const after = await filesOf(plain());
    for (const name of Object.keys(before)) if (name !== "store.json") expect(after[name]).toBe(before[name]);
    expect(store.size).toBe(size - unreadable.size);
  });

  test("under another name is the same layer", async () => {
    await extract(root);
    expect(await missingLayers({ folder: plain(), layers: [{ ...layers[1]!, name: "res5:global_avg" }] })).toEqual([]);
  });

  test("of another node is another", async () => {
    await extract(root);
    const moved = { ...layers[1]!, node: "another/node" };
    expect(await missingLayers({ folder: plain(), layers: [moved] })).toEqual([moved]);
    const store = await extract(root, { layers: [moved] });
    expect(new Set(store.layers.map(({ folder }) => folder)).size).toBe(3);
  });

  test("of another shape under the same weights is refused", async () => {
    await extract(root);
    const wrong = { ...layers[1]!, shape: [7] };
    await expect(extract(root, { layers: [wrong] })).rejects.toThrow("Expected the shape [5] for layer res5avg");
  });
});

describe("another key", () => {
  test("makes a store beside it, and neither is opened for the other", async () => {
    const first = await extract(root);
    const keys: Partial<StoreKey>[] = [
      { weights: "other" },
      { transform: "resize(224,bicubic)" },
      { precision: "float16" },
      { dataset: "e".repeat(64) },
    ];
    const folders = new Set([first.folder]);
    for (const key of keys) {
      const other = place(root, key);
      expect(await findStore(other)).toBeUndefined();
      await expect(openStore({ folder: first.folder, key: other.key })).rejects.toThrow(
        `the store was made from another ${Object.keys(key)[0]!}`,
      );
      const store = await extract(root, { place: other, listing: { ...listing, digest: other.key.dataset } });
      folders.add(store.folder);
      expect(store.folder).toMatch(/features_train\.[0-9a-f]{8}$/);
      expect(await findStore(other)).toBe(store.folder);
    }
    expect(folders.size).toBe(5);
    expect(await findStore(place(root))).toBe(first.folder);
  });

  test("leaves room to names that a file system would not take", () => {
    const long = { name: "x", tap: `${"tower/".repeat(40)}add`, pooling: "", shape: [1] };
    expect(layerFolder(long, []).length).toBeLessThanOrEqual(100);
    const twin = { name: "x", tap: "a/b", pooling: "", shape: [1] };
    expect(layerFolder(twin, [])).toBe("a-b");
    expect(layerFolder(twin, ["A-B"])).toMatch(/^a-b-[0-9a-f]{8}$/);
  });
});

describe("damage", () => {
  const shard = () => path.join(plain(), "res5.global_avg", "00002.npy");

  test("of one bit in a shard is found, and the shard named", async () => {
    await extract(root, { bad: new Set() });
    const bytes = await fs.readFile(shard());
    bytes[bytes.length - 3]! ^= 4;
    await fs.writeFile(shard(), bytes);
    await expect(openStore({ folder: plain() })).resolves.toMatchObject({ size });
    const opened = openStore({ folder: plain(), verify: true });
    await expect(opened).rejects.toThrow(`${shard()} but the file was changed or is damaged`);
    await expect(opened).rejects.toMatchObject({ hint: expect.stringContaining(`Delete ${shard()}`) as string });
  });

  test("is mended as the message says: delete the shard, run again", async () => {
    await extract(root, { bad: new Set() });
    const before = await filesOf(plain());
    await fs.rm(shard());
    await expect(openStore({ folder: plain() })).rejects.toThrow(`${shard()} but there is no such file`);
    expect(await missingLayers({ folder: plain(), layers })).toEqual([layers[1]]);
    await extract(root, { bad: new Set() });
    expect(await filesOf(plain())).toEqual(before);
  });

  test.each(["ids.txt", "targets.npy"])("of %s is found and mended", async (name) => {
    await extract(root);
    const before = await filesOf(plain());
    const file = path.join(plain(), name);
    await fs.appendFile(file, "x\n");
    await expect(openStore({ folder: plain() })).rejects.toThrow(`${file} but the file was changed`);
    await fs.rm(file);
    await expect(openStore({ folder: plain() })).rejects.toThrow(`${file} but there is no such file`);
    expect(await missingLayers({ folder: plain(), layers })).toEqual(layers);
    await extract(root);
    expect(await filesOf(plain())).toEqual(before);
  });

  test("of the description, and another version of it", async () => {
    await extract(root);
    const file = path.join(plain(), "store.json");
    const description = JSON.parse(await fs.readFile(file, "utf8")) as Record<string, unknown>;
    await fs.writeFile(file, JSON.stringify({ ...description, format: 2 }));
    await expect(openStore({ folder: plain() })).rejects.toThrow("Expected a feature store of format 1");
    await fs.writeFile(file, JSON.stringify({ ...description, layers: 3 }));
    await expect(openStore({ folder: plain() })).rejects.toThrow("but layers is wrong");
    await fs.writeFile(file, "{");
    await expect(openStore({ folder: plain() })).rejects.toThrow("Expected JSON");
    await expect(openStore({ folder: root })).rejects.toThrow("it holds no store.json");
  });
});

describe("two runs at once", () => {
  test("the second is told so", async () => {
    const writer = await openStoreWriter({ place: place(root), layers, listing, classes: [] });
    await expect(openStoreWriter({ place: place(root), layers, listing, classes: [] })).rejects.toThrow(
      `alone but process ${process.pid} on`,
    );
    await writer.abort();
    await expect(extract(root)).resolves.toMatchObject({ folder: plain() });
  });

  test("with other keys do not disturb each other", async () => {
    const writer = await openStoreWriter({ place: place(root), layers, listing, classes: [] });
    const other = await extract(root, { place: place(root, { transform: "other" }) });
    expect(other.folder).not.toBe(writer.folder);
    await writer.abort();
  });

  test("a lock of a process that is gone does not count", async () => {
    await fs.mkdir(plain(), { recursive: true });
    const child = spawn(process.execPath, ["-e", ""]);
    await once(child, "exit");
    const gone = { token: "x", pid: child.pid, host: os.hostname() };
    await fs.writeFile(path.join(plain(), "lock"), JSON.stringify(gone));
    await expect(extract(root)).resolves.toMatchObject({ folder: plain() });
  });
});

describe("a full disk", () => {
  test("is told in a sentence, leaves no half shard, and the run goes on when there is room", async () => {
    await extract(root);
    const undisturbed = await filesOf(plain());
    await fs.rm(plain(), { recursive: true });

    const sample = await fs.open(path.join(root, "sample"), "w");
    const prototype = Object.getPrototypeOf(sample) as typeof sample;
    await sample.close();
    let room = 1500;
    const write = Reflect.get(prototype, "write") as (...args: unknown[]) => Promise<{ bytesWritten: number }>;
    const spy = jest.spyOn(prototype, "write").mockImplementation(async function (this: unknown, ...args: unknown[]) {
      room -= (args[0] as Uint8Array).length;
      if (room < 0) throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
      return (await write.apply(this, args)) as never;
    });
    await expect(extract(root)).rejects.toThrow("Expected room on the disk");
    spy.mockRestore();

    const left = Object.keys(await filesOf(plain()));
    expect(left.filter((name) => name.endsWith(".partial") || name === "lock")).toEqual([]);
    expect(left).toContain(path.join("res4.avg_pool-8x8-3-0", "00000.npy"));
    await extract(root);
    expect(await filesOf(plain())).toEqual(undisturbed);
  });
});

describe("the rows of a shard", () => {
  test("are a power of two that keeps it below 32 MB where it can, whatever the machine", () => {
    const rows = (...shape: number[]) => rowsPerShardOf({ name: "", tap: "", pooling: "", shape }, "float32");
    expect(rows(1280)).toBe(512);
    expect(rows(9216)).toBe(512);
    expect(rows(256, 56, 56)).toBe(64);
  });

  test("come in order, and all of them", async () => {
    const open = () => openStoreWriter({ place: place(root), layers: [layers[1]!], listing, classes: [] });
    const five = (count: number) => ({ res5avg: new Float32Array(5 * count) });
    await expect((await open()).append({ rows: Uint32Array.of(1), features: five(1) })).rejects.toThrow(
      "Position 0 came neither read nor skipped",
    );
    await expect((await open()).append({ rows: Uint32Array.of(0), features: five(2) })).rejects.toThrow("10 features");
    await expect((await open()).finish()).rejects.toThrow("Positions from 0 on did not come");
  });
});
