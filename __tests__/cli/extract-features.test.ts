import { readdirSync, readFileSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";

import { readNpy } from "../../lib/features/npy-file.js";
import { openStore } from "../../lib/features/store.js";
import { device, run, temporaryFolder } from "../command-line.js";
import { filesOf } from "../features/synthetic.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const inFolder = (...names: string[]) => path.join(folder, ...names);
const extract = (...argv: string[]) =>
  run("frozen-eval", ["extract-features", "--backbone", "models/small/convnet", "--data", "folder:photos", ...argv], folder); // prettier-ignore
const execution = device === "native" ? "session" : "op by op";
const place = path.join("features", "small", "convnet", "photos");
const plain = path.join(place, "features_all");

beforeAll(async () => {
  await writeSmallBackbone({ root: inFolder("models") });
  await writeSmallImages({ folder: inFolder("photos"), count: 5 });
});

test("fills a store, extracts only what it lacks, and then nothing", async () => {
  const first = await extract("--layers", "block1", "--device", device);
  expect(first.status).toBe(0);
  const way = device === "native" ? "in TensorFlow's session" : execution;
  expect(first.stdout).toMatch(new RegExp(`^30 images, [\\d.]+ a second, ${way}, 16 at once, \\d+ threads?\\.\\n`));
  expect(first.stdout).toContain("features_all: 30 images");
  // Where there is no terminal: lines now and then, on stderr.
  expect(first.stderr).toMatch(/extract all: 30\/30 images \(100 %\), [\d.]+\/s\n/);
  const { data, shape } = await readNpy({ file: inFolder(plain, "block1.avg", "00000.npy") });
  expect(shape).toEqual([30, 16]);
  expect(data.every((value) => Number.isFinite(value))).toBe(true);
  const before = await filesOf(inFolder(plain));

  const more = ["--layers", 'all,block1:max_pool(4x4,4,0)', "--device", device, "--json", "--quiet"]; // prettier-ignore
  const { status, stdout, stderr } = await extract(...more);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(JSON.parse(stdout)).toEqual({
    stores: [{ folder: expect.stringContaining(plain) as string, size: 30 }],
    extraction: {
      ...{ images: 30, seconds: expect.any(Number) as number, execution, batchSize: 16 },
      ...{ processes: 1, threads: expect.any(Number) as number },
    },
    skipped: [],
  });
  const after = await filesOf(inFolder(plain));
  expect(Object.keys(after).filter((name) => !(name in before))).toEqual(
    ["block0.avg", "block1.max_pool-4x4-4-0", "features.identity"].map((layer) => path.join(layer, "00000.npy")),
  );
  for (const name of Object.keys(before)) if (name !== "store.json") expect(after[name]).toBe(before[name]);

  const again = await extract(...more.slice(0, -2));
  expect(again.stdout).toMatch(/^All was there\.\n/);
  expect(await filesOf(inFolder(plain))).toEqual(after);
});

test("another transform, precision or set of weights makes a store beside", async () => {
  const before = await filesOf(inFolder(plain));
  const resized = ["--transform", "resize(32x32,bicubic)|normalize(imagenet)"];
  await Promise.all([
    extract("--layers", "features", "--device", "wasm", ...resized).then(({ status }) => expect(status).toBe(0)),
    extract("--layers", "features", "--device", "wasm", "--precision", "float16").then(({ status }) =>
      expect(status).toBe(0),
    ),
  ]);
  await writeSmallBackbone({ root: inFolder("models"), seed: 1 });
  expect((await extract("--layers", "features", "--device", "wasm")).status).toBe(0);
  await writeSmallBackbone({ root: inFolder("models") });

  const stores = readdirSync(inFolder(place)).sort();
  expect(stores).toHaveLength(4);
  for (const name of stores.slice(1)) expect(name).toMatch(/^features_all\.[0-9a-f]{8}$/);
  expect(await filesOf(inFolder(plain))).toEqual(before);
  const opened = await Promise.all(stores.map((name) => openStore({ folder: inFolder(place, name), verify: true })));
  expect(new Set(opened.map(({ key }) => key.weights)).size).toBe(2);
  const shards = new Set(stores.map((name) => readFileSync(inFolder(place, name, "features.identity", "00000.npy"))));
  expect(new Set(Array.from(shards, (bytes) => bytes.toString("hex"))).size).toBe(4);

  // Each is found again by its own settings.
  const { stdout } = await extract("--layers", "features", "--device", "wasm", ...resized);
  const found = opened.find(({ key }) => key.transform.includes("bicubic"))!;
  expect(stdout).toBe(`All was there.\n${found.folder}: 30 images\n`);
});

test("--splits takes some of the splits, and VISSL's pooling entries are understood", async () => {
  for (const split of ["train", "test"]) await fs.cp(inFolder("photos"), inFolder("parts", split), { recursive: true });
  const asked = ["extract-features", "--backbone", "models/small/convnet", "--data", "folder:parts"];
  const vissl = ["--layers", '[["block1", ["AvgPool2d", [[8, 8], 4, 0]]]]', "--splits", "test"];
  const { status } = await run("frozen-eval", [...asked, ...vissl, "--device", "wasm", "-q"], folder);
  expect(status).toBe(0);
  expect(readdirSync(inFolder("features", "small", "convnet", "parts"))).toEqual(["features_test"]);
  const store = await openStore({ folder: inFolder("features", "small", "convnet", "parts", "features_test") });
  expect(store.layers.map(({ name, shape }) => ({ name, shape }))).toEqual([
    { name: "block1:avg_pool(8x8,4,0)", shape: [16, 3, 3] },
  ]);
});

test("--dry-run measures a batch, and writes nothing", async () => {
  const before = await filesOf(folder);
  const { status, stdout } = await extract(...["--device", "wasm", "--dry-run", "--json", "--features-root", "new"]);
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toEqual({
    splits: [{ name: "all", images: 30, missingLayers: 3 }],
    images: 30,
    bytes: 30 * (8 + 16 + 16) * 4,
    imagesPerSecond: expect.any(Number) as number,
    layers: [
      { name: "block0", shape: [8] },
      { name: "block1", shape: [16] },
      { name: "features", shape: [16] },
    ],
  });
  expect(await filesOf(folder)).toEqual(before);
});
