import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";
import fc from "fast-check";

import { arraySource, openNpyPair } from "../../lib/features/array-source.js";
import { encodeNpy } from "../../lib/features/npy.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { OpenFiles } from "../../lib/features/row-reader.js";
import type { FeaturePass, FeatureSource } from "../../lib/features/source.js";
import { openStoredSource } from "../../lib/features/stored-source.js";
import { openVisslDump } from "../../lib/features/vissl-dump.js";
import { goldenPath } from "../golden.js";
import { describeOnBackends } from "../backends.js";
import { extract, featuresOf, layers, place, size, unreadable } from "./synthetic.js";

let root: string;
beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "source-"));
});
afterEach(() => fs.rm(root, { recursive: true }));

const kept = Array.from({ length: size }, (_, row) => row).filter((row) => !unreadable.has(row));
const inOrder = (count: number) => Uint32Array.from({ length: count }, (_, row) => row);

/** All batches of a pass, as plain arrays; disposes the tensors. */
async function collect(source: FeatureSource, pass: FeaturePass) {
  const batches: { rows: number[]; features: Record<string, number[]> }[] = [];
  for await (const { rows, features } of source.pass(pass)) {
    const plain: Record<string, number[]> = {};
    for (const [name, tensor] of Object.entries(features)) {
      expect(tensor.shape[0]).toBe(rows.length);
      plain[name] = Array.from(await tensor.data());
      tensor.dispose();
    }
    batches.push({ rows: Array.from(rows), features: plain });
  }
  return batches;
}

describeOnBackends("features out of a store", () => {
  test("are those that went in, resident or streamed, in any order, and leave no tensor behind", async () => {
    const store = await extract(root);
    const before = tf.memory().numTensors;
    const resident = await openStoredSource({ store });
    const streamed = await openStoredSource({ store, residentBytes: 0 });
    await collect(resident, { rows: Uint32Array.of(0), batchSize: 1 });
    await collect(streamed, { rows: Uint32Array.of(0), batchSize: 1 });
    expect(tf.memory().numTensors).toBe(before + 2);
    const rowsOf = fc.array(fc.nat(kept.length - 1), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(rowsOf, fc.integer({ min: 1, max: 70 }), async (rows, batchSize) => {
        const pass = { rows: Uint32Array.from(rows), batchSize };
        const [ours, theirs] = [await collect(resident, pass), await collect(streamed, pass)];
        expect(theirs).toEqual(ours);
        expect(ours.flatMap((batch) => batch.rows)).toEqual(rows);
        expect(ours).toHaveLength(Math.ceil(rows.length / batchSize));
        for (const layer of layers) {
          const expected = featuresOf(
            layer,
            rows.map((row) => kept[row]!),
          );
          expect(ours.flatMap((batch) => batch.features[layer.name]!)).toEqual(Array.from(expected));
        }
      }),
      { numRuns: 40 },
    );
    const whole = { rows: inOrder(kept.length), batchSize: 50 };
    expect(await collect(streamed, whole)).toEqual(await collect(resident, whole));
    await resident.close();
    await streamed.close();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("of halves come as float32", async () => {
    const store = await extract(root, { place: place(root, { precision: "float16" }) });
    for (const residentBytes of [0, 1e9]) {
      const source = await openStoredSource({ store, layers: ["res5avg"], residentBytes });
      const [batch] = await collect(source, { rows: Uint32Array.of(0, 1), batchSize: 2 });
      featuresOf(layers[1]!, [0, 1]).forEach((value, i) =>
        expect(Math.abs(batch!.features.res5avg![i]! - value)).toBeLessThan(2 ** -11),
      );
      const rows = Uint32Array.from({ length: 50 }, (_, i) => (i * 37) % kept.length);
      const [scattered] = await collect(source, { rows, batchSize: 50 });
      const [layer] = layers.slice(1) as [(typeof layers)[0]];
      featuresOf(
        layer,
        Array.from(rows, (row) => kept[row]!),
      ).forEach((value, i) => expect(Math.abs(scattered!.features.res5avg![i]! - value)).toBeLessThan(2 ** -11));
      await source.close();
    }
  });
});

describe("a stored source", () => {
  test("tells what it holds, and gives the layers asked for under the names asked for", async () => {
    const store = await extract(root);
    const source = await openStoredSource({ store, layers: [{ ...layers[1]!, name: "last" }, "res4"] });
    expect(source.layers).toEqual([
      { name: "last", shape: [5], width: 5 },
      { name: "res4", shape: [3, 2, 2], width: 12 },
    ]);
    expect(source.size).toBe(kept.length);
    expect(source.ids[5]).toBe("class/6.jpg");
    expect(source.origin).toMatchObject({ folder: store.folder, key: store.key });
    const [batch] = await collect(source, { rows: Uint32Array.of(3), batchSize: 1, layers: ["last"] });
    expect(Object.keys(batch!.features)).toEqual(["last"]);
    await expect(collect(source, { rows: Uint32Array.of(3), batchSize: 1, layers: ["lost"] })).rejects.toMatchObject({
      hint: "Did you mean last?",
    });
    await source.close();
    await expect(openStoredSource({ store, layers: ["res3"] })).rejects.toMatchObject({ hint: "Did you mean res4?" });
  });

  test.each([0, 1e9])("finds a shard that was changed (resident up to %d bytes)", async (residentBytes) => {
    const store = await extract(root);
    const shard = path.join(store.folder, store.layers[1]!.folder, "00003.npy");
    const bytes = await fs.readFile(shard);
    bytes[200]! ^= 1;
    await fs.writeFile(shard, bytes);
    const before = tf.memory().numTensors;
    const use = async () => {
      const source = await openStoredSource({ store, residentBytes });
      try {
        await collect(source, { rows: inOrder(20), batchSize: 5 });
        await collect(source, { rows: inOrder(kept.length), batchSize: 5 });
      } finally {
        await source.close();
      }
    };
    await expect(use()).rejects.toThrow(`${shard} but the file was changed or is damaged`);
    expect(tf.memory().numTensors).toBe(before);
  });

  test("tells of a shard that becomes shorter while it is in use", async () => {
    const store = await extract(root);
    const shard = path.join(store.folder, store.layers[1]!.folder, "00003.npy");
    const source = await openStoredSource({ store, layers: ["res5avg"], residentBytes: 0 });
    const rows = inOrder(kept.length).reverse();
    await collect(source, { rows, batchSize: 50 });
    await fs.truncate(shard, 300);
    await expect(collect(source, { rows, batchSize: 50 })).rejects.toThrow(shard);
    await source.close();
  });

  test("may be left in the middle of a pass", async () => {
    const source = await openStoredSource({ store: await extract(root), residentBytes: 0 });
    const before = tf.memory().numTensors;
    for await (const { features } of source.pass({ rows: inOrder(100), batchSize: 7 })) {
      tf.dispose(features);
      break;
    }
    await source.close();
    expect(tf.memory().numTensors).toBe(before);
    await expect(collect(source, { rows: inOrder(1), batchSize: 1 })).rejects.toThrow("closed");
  });

  test("keeps few files open", async () => {
    const files = await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        const file = path.join(root, `${i}.npy`);
        await fs.writeFile(file, encodeNpy({ dtype: "float32", shape: [1], data: Float32Array.of(i) }));
        return { file, rows: 1 };
      }),
    );
    const open = new OpenFiles(3);
    const opened = async () => {
      const links = await fs.readdir("/proc/self/fd");
      const targets = await Promise.all(links.map((fd) => fs.readlink(`/proc/self/fd/${fd}`).catch(() => "")));
      return targets.filter((target) => target.startsWith(root)).length;
    };
    for (const round of [0, 1]) {
      for (const [i, file] of files.entries()) {
        const into = new Float32Array(1);
        await open.use(file, (npy) => npy.readFloats({ start: 0, count: 1, into, at: 0 }));
        expect(into[0]).toBe(i);
        if (process.platform === "linux") expect(await opened()).toBe(Math.min(3, round * 12 + i + 1));
      }
    }
    await open.close();
    if (process.platform === "linux") expect(await opened()).toBe(0);
  });
});

describe("features of one's own", () => {
  const targets = { kind: "single", labels: Int32Array.of(0, 1, 1) } as const;

  test("in arrays", async () => {
    const before = tf.memory().numTensors;
    const source = await arraySource({
      layers: { x: { shape: [2], data: Float32Array.of(1, 2, 3, 4, 5, 6) } },
      targets,
    });
    expect(await collect(source, { rows: Uint32Array.of(2, 0, 2), batchSize: 2 })).toEqual([
      { rows: [2, 0], features: { x: [5, 6, 1, 2] } },
      { rows: [2], features: { x: [5, 6] } },
    ]);
    expect(source.ids).toEqual(["0", "1", "2"]);
    await source.close();
    expect(tf.memory().numTensors).toBe(before);
    await expect(arraySource({ layers: { x: { shape: [2], data: new Float32Array(5) } }, targets })).rejects.toThrow(
      "Expected 3 × 2 numbers, one row a label for layer x but received 5",
    );
  });

  test("are kept in memory for the next pass, but not after an only one", async () => {
    const data = Float32Array.from({ length: 12 }, (_, i) => i);
    const targets = { kind: "single", labels: Int32Array.of(0, 1, 0, 1) } as const;
    const source = await arraySource({ layers: { a: { shape: [3], data } }, targets });
    const before = tf.memory().numTensors;
    const pass = { rows: Uint32Array.of(2, 0, 3), batchSize: 2 };
    const only = await collect(source, { ...pass, once: true });
    expect(tf.memory().numTensors).toBe(before);
    expect(await collect(source, pass)).toEqual(only);
    expect(tf.memory().numTensors).toBe(before + 1);
    await source.close();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("in a pair of .npy files", async () => {
    const [features, labels] = [path.join(root, "x.npy"), path.join(root, "y.npy")];
    const data = Float64Array.of(1, 2, 3, 4, 5, 6);
    await fs.writeFile(features, encodeNpy({ dtype: "float64", shape: [3, 1, 2], data }));
    await fs.writeFile(labels, encodeNpy({ dtype: "int64", shape: [3, 1], data: BigInt64Array.of(0n, 1n, 1n) }));
    const source = await openNpyPair({ features, targets: labels });
    expect(source.targets).toEqual(targets);
    expect(source.layers).toEqual([{ name: "features", shape: [1, 2], width: 2 }]);
    const [batch] = await collect(source, { rows: Uint32Array.of(1), batchSize: 1 });
    expect(batch!.features.features).toEqual([3, 4]);
    await source.close();

    await fs.writeFile(labels, encodeNpy({ dtype: "int8", shape: [2, 2], data: Int8Array.of(1, 0, 0, -1) }));
    await expect(openNpyPair({ features, targets: labels })).rejects.toThrow("Expected 3 labels");
    await fs.writeFile(labels, encodeNpy({ dtype: "int8", shape: [3], data: Int8Array.of(0, 1, -1) }));
    await expect(openNpyPair({ features, targets: labels })).rejects.toThrow("a class index from 0 in entry 3");
    await fs.writeFile(labels, encodeNpy({ dtype: "int8", shape: [1, 3], data: Int8Array.of(0, 1, 2) }));
    await expect(openNpyPair({ features, targets: labels })).rejects.toThrow("1 (present), 0 (absent) or -1 (ignored)");
  });
});

describe("VISSL's dumps", () => {
  const folder = goldenPath("vissl/dump");

  // Merged by VISSL's own ExtractedFeaturesLoader.
  test.each([
    ["train", "train_features_4d"],
    ["test", "test_features"],
  ] as const)("%s is merged as VISSL merges it", async (split, name) => {
    const expected = await readNpy({ file: goldenPath(`vissl/dump_expected/${name}.npy`) });
    const indices = await readNpy({ file: goldenPath(`vissl/dump_expected/${split}_inds.npy`) });
    for (const residentBytes of [0, 1e9]) {
      const source = await openVisslDump({ folder, split, residentBytes });
      expect(source.layers).toEqual([{ name: "res5", shape: expected.shape.slice(1), width: 12 }]);
      expect(source.ids).toEqual(Array.from(indices.data as BigInt64Array, String));
      const batches = await collect(source, { rows: inOrder(source.size), batchSize: 10 });
      expect(batches.flatMap(({ features }) => features.res5!)).toEqual(Array.from(expected.data as Float32Array));
      if (split === "train") {
        const targets = await readNpy({ file: goldenPath("vissl/dump_expected/train_targets.npy") });
        expect(Array.from(source.targets.labels)).toEqual(Array.from(targets.data as BigInt64Array, Number));
      }
      await source.close();
    }
  });

  test("what is missing is named", async () => {
    await expect(openVisslDump({ folder, split: "val" })).rejects.toThrow("features of the split val");
    await expect(openVisslDump({ folder, split: "train", layers: ["res4"] })).rejects.toMatchObject({
      hint: "Did you mean res5?",
    });
    await expect(openVisslDump({ folder: path.join(folder, "none"), split: "val" })).rejects.toThrow("no such file");
    await fs.cp(folder, root, { recursive: true });
    await fs.rm(path.join(root, "rank1_chunk0_train_res5_inds.npy"));
    await expect(openVisslDump({ folder: root, split: "train" })).rejects.toThrow("rank1_chunk0_train_res5_inds.npy");
    const short = encodeNpy({ dtype: "int64", shape: [1], data: BigInt64Array.of(1n) });
    await fs.writeFile(path.join(root, "rank1_chunk0_train_res5_inds.npy"), short);
    await expect(openVisslDump({ folder: root, split: "train" })).rejects.toThrow("Expected 12 targets and indices");
  });
});
