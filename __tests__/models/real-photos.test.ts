import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../../lib/backend/backend.js";
import { loadBackbone } from "../../lib/backbones/backbone.js";
import { parseLayers } from "../../lib/backbones/layers.js";
import { convertCheckpoint } from "../../lib/convert/convert.js";
import { cacheFolder } from "../../lib/downloads/cache.js";
import { extractEntries } from "../../lib/downloads/archive.js";
import { downloadWheel } from "../../lib/downloads/pypi.js";
import { imageBatches } from "../../lib/images/pipeline.js";
import { zooCheckpoint } from "../../lib/zoo/checkpoint.js";

// Twenty photos of ImageNet's, one a file; the class is the last number of its name.
const photographs = {
  project: "foolbox",
  filename: "foolbox-3.3.4-py3-none-any.whl",
  sha256: "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
};

let out: string;
let photos: string[];
beforeAll(async () => {
  await prepareBackend();
  out = await fs.mkdtemp(path.join(os.tmpdir(), "photos-"));
  const archive = await downloadWheel({ ...photographs, into: path.join(cacheFolder(), "downloads") });
  photos = await extractEntries({
    archive,
    into: out,
    select: (name) => (/imagenet_\d+_\d+\.jpg$/.test(name) ? path.basename(name) : undefined),
  });
}, 180_000);
afterAll(() => fs.rm(out, { recursive: true, force: true }));

/** How many of the photos have their class among the five and as the first of a network's answers. */
async function right(options: { dir: string; transform?: string }) {
  const backbone = await loadBackbone({ dir: options.dir });
  const layers = parseLayers({ text: "logits", taps: backbone.taps });
  const images = imageBatches({
    count: photos.length,
    source: (index) => ({ kind: "file", path: photos[index]! }),
    transform: options.transform ?? backbone.manifest.transform,
    batchSize: 10,
    workers: 0,
    onBadImage: "stop",
  });
  let [first, five] = [0, 0];
  for await (const { rows, pixels, height, width } of images) {
    const input = tf.tensor4d(pixels.slice(0, rows.length * height * width * 3), [rows.length, height, width, 3]);
    const { logits } = await backbone.extract({ pixels: input, layers });
    const { indices } = tf.topk(logits!, 5);
    const best = await indices.array();
    rows.forEach((row, i) => {
      const label = Number(/(\d+)\.jpg$/.exec(photos[row]!)![1]);
      if (best[i]![0] === label) first++;
      if (best[i]!.includes(label)) five++;
    });
    tf.dispose([input, logits!, indices]);
  }
  backbone.dispose();
  return { first, five };
}

test("there are twenty photos", () => expect(photos).toHaveLength(20));

// Published top-1 on ImageNet: 75.1, 76.7 and 77.6 %. Twenty photos bear that out no closer than this.
test.each([
  ["efficientnet-lite0", 224],
  ["efficientnet-lite1", 240],
  ["efficientnet-lite2", 260],
])(
  "%s, converted from its published checkpoint, knows real photos at %d pixels",
  async (name, size) => {
    const { dir, manifest } = await convertCheckpoint({
      file: await zooCheckpoint({ name }),
      out,
      title: "imagenet1k",
    });
    expect([manifest.input.height, manifest.input.width]).toEqual([size, size]);
    const { first, five } = await right({ dir });
    expect(first).toBeGreaterThanOrEqual(18);
    expect(five).toBeGreaterThanOrEqual(19);
  },
  180_000,
);

test("with another network's normalisation it knows fewer: the preprocessing counts", async () => {
  const dir = path.join(out, "imagenet1k", "efficientnet_lite0");
  const transform = "resize(256,bilinear)|center_crop(224)|normalize(imagenet)";
  expect((await right({ dir, transform })).first).toBeLessThan((await right({ dir })).first);
}, 60_000);
