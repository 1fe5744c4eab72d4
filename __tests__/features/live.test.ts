import fs from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { loadBackbone, type Backbone } from "../../lib/backbones/backbone.js";
import { openDataset } from "../../lib/datasets/open.js";
import { extractFeatures } from "../../lib/features/extract.js";
import { planExtraction } from "../../lib/features/extraction-plan.js";
import { liveFeatures, type LiveFeaturesOptions, trainingTransform, viewFeatures } from "../../lib/features/live.js";
import { openFeatures } from "../../lib/features/open-features.js";
import type { FeatureSource } from "../../lib/features/source.js";
import { describeOnBackends } from "../backends.js";
import { temporaryFolder } from "../command-line.js";
import { complaint } from "../datasets/files.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";
import { relativeGap } from "./relative-gap.js";
import { filesOf } from "./synthetic.js";

const images = 30;
const every = Uint32Array.from({ length: images }, (_, row) => row);
/** The draw of an epoch for all images. */
const all = (draw: number) => new Uint32Array(images).fill(draw);

describeOnBackends("features of augmented images", ({ tolerance }) => {
  const folder = temporaryFolder();
  const photos = path.join(folder, "photos");
  let backbone: Backbone;
  beforeAll(async () => {
    backbone = await loadBackbone({ dir: await writeSmallBackbone({ root: path.join(folder, "models") }) });
    await writeSmallImages({ folder: photos, count: images / 6 });
  });
  afterAll(() => backbone.dispose());

  const settings = async (more: Partial<LiveFeaturesOptions> = {}, data = photos): Promise<LiveFeaturesOptions> => ({
    ...{ backbone, dataset: await openDataset({ spec: `folder:${data}` }), layers: "block1,features" },
    ...{ root: path.join(folder, "features"), workers: 0, batchSize: 4, ...more },
  });
  const live = async (more?: Partial<LiveFeaturesOptions>) => liveFeatures(await settings(more));

  describe("live", () => {
    test("under the transform of the evaluation they are the stored ones", async () => {
      const before = tf.memory().numTensors;
      const features = await live({ trainTransform: backbone.manifest.transform });
      const source = features.splits.all!;
      const [drawn, plain] = [await valuesOf(source, { draws: all(7) }), await valuesOf(source)];
      expect(relativeGap(drawn, plain)).toBeLessThan(tolerance);
      await features.close();
      expect(tf.memory().numTensors).toBe(before);
    });

    test("passes without draws are the store's, and nothing else is extracted", async () => {
      const features = await live();
      const stored = await extractFeatures(await settings());
      expect(await valuesOf(features.splits.all!)).toEqual(await valuesOf(stored.splits.all!));
      expect(stored.extraction.images).toBe(0);
      expect(features.backbone).toMatchObject({
        transform: backbone.manifest.transform,
        trainTransform: "random_resized_crop(32,bilinear)|hflip(0.5)|normalize(imagenet)",
      });
      await stored.close();
      await features.close();
    });

    test("equal draws give equal bits, others other views; an image's view does not depend on its place", async () => {
      const features = await live();
      const source = features.splits.all!;
      const first = await valuesOf(source, { draws: all(1) });
      expect(await valuesOf(source, { draws: all(1) })).toEqual(first);
      const width = first.length / images;
      const second = await valuesOf(source, { draws: all(2) });
      const rowOf = (values: Float32Array, i: number) => values.slice(i * width, (i + 1) * width);
      for (const i of every) expect(relativeGap(rowOf(first, i), rowOf(second, i))).toBeGreaterThan(tolerance);

      // In another order, one image twice, and draws of both passes.
      const order = { rows: Uint32Array.of(21, 3, 3, 8, 0), draws: Uint32Array.of(2, 1, 2, 1, 2), batchSize: 2 };
      const mixed = await valuesOf(source, order);
      order.rows.forEach((row, i) => {
        const expected = rowOf(order.draws[i] === 1 ? first : second, row);
        expect(relativeGap(rowOf(mixed, i), expected)).toBeLessThan(tolerance);
      });
      await features.close();
      const other = await live({ seed: 1 });
      expect(await valuesOf(other.splits.all!, { draws: all(1) })).not.toEqual(first);
      await other.close();
    });

    test.each([
      [1, 1],
      [2, 3],
      [64, 1],
    ])("batches of %d images and %d workers change nothing", async (batchSize, workers) => {
      const [one, other] = [await live(), await live({ batchSize, workers })];
      const pass = { draws: all(3), batchSize: 7, layers: ["features"] };
      const gap = relativeGap(await valuesOf(other.splits.all!, pass), await valuesOf(one.splits.all!, pass));
      expect(gap).toBeLessThan(tolerance);
      await one.close();
      await other.close();
    });

    test("a pass that starts at a later batch gives the bits of one that came there", async () => {
      const features = await live();
      const source = features.splits.all!;
      const pass = { draws: all(4), batchSize: 11 };
      const whole = await valuesOf(source, pass);
      const rest = { ...pass, rows: every.subarray(11), draws: all(4).subarray(11) };
      expect(await valuesOf(source, rest)).toEqual(whole.slice((whole.length / images) * 11));
      await features.close();
    });

    test("a consumer that stops early leaves no tensor and no thread behind", async () => {
      const features = await live({ workers: 2 });
      const source = features.splits.all!;
      const held = tf.memory().numTensors;
      const pass = { rows: every, draws: all(5), batchSize: 8 };
      for await (const { features: some } of source.pass(pass)) {
        tf.dispose(some);
        break;
      }
      const stopped = async () => {
        for await (const { features: some } of source.pass(pass)) {
          tf.dispose(some);
          throw new Error("stopped");
        }
      };
      await expect(stopped()).rejects.toThrow("stopped");
      expect(tf.memory().numTensors).toBe(held);
      const threads = process.getActiveResourcesInfo().filter((name) => name.startsWith("Worker") || name === "MessagePort"); // prettier-ignore
      expect(threads).toEqual([]);
      await features.close();
      expect(() => source.pass(pass)).toThrow("closed");
    });

    test("bad images are known before training; one that turns bad later is named", async () => {
      const flawed = path.join(folder, "flawed");
      await fs.cp(photos, flawed, { recursive: true });
      await fs.writeFile(path.join(flawed, "blue", "001.png"), "");
      expect(await complaint(liveFeatures(await settings({}, flawed)))).toContain("blue/001.png");
      const features = await liveFeatures(await settings({ onBadImage: "skip" }, flawed));
      const source = features.splits.all!;
      expect(source.size).toBe(images - 1);
      // Behind the gap an image keeps its own view.
      const whole = await live();
      const [behind, own] = [
        await valuesOf(source, { rows: Uint32Array.of(1), draws: Uint32Array.of(9) }),
        await valuesOf(whole.splits.all!, { rows: Uint32Array.of(2), draws: Uint32Array.of(9) }),
      ];
      expect(source.ids[1]).toBe(whole.splits.all!.ids[2]);
      expect(behind).toEqual(own);
      await fs.writeFile(path.join(flawed, "green", "000.png"), "");
      const held = tf.memory().numTensors;
      const rows = every.subarray(0, images - 1);
      expect(await complaint(valuesOf(source, { rows, draws: all(1).subarray(1) }))).toMatch(
        /^Expected an image that random_resized_crop.* can be done to but received green\/000\.png: /,
      );
      expect(tf.memory().numTensors).toBe(held);
      await whole.close();
      await features.close();
    });
  });

  describe("stored views", () => {
    const views = async (count: number, more?: Partial<LiveFeaturesOptions>) =>
      viewFeatures({ ...(await settings(more)), views: count });

    test("are what the live source draws, each about as often as the others", async () => {
      const before = tf.memory().numTensors;
      const count = 3;
      const features = await views(count, { layers: "features" });
      const source = features.splits.all!;
      expect(features.extraction.images).toBeGreaterThanOrEqual(count * images);
      const lively = await live({ layers: "features" });
      const known = [];
      for (let view = 0; view < count; view++) known.push(await valuesOf(lively.splits.all!, { draws: all(view) }));
      const width = known[0]!.length / images;
      const seen = [0, 0, 0];
      for (let draw = 0; draw < 40; draw++) {
        const values = await valuesOf(source, { draws: all(draw) });
        for (const row of every) {
          const own = (of: Float32Array) => of.slice(row * width, (row + 1) * width);
          const view = known.findIndex((of) => relativeGap(own(values), own(of)) < tolerance);
          seen[view]!++;
        }
      }
      // 1200 draws: each view 400 times, with a standard deviation of 16.
      for (const times of seen) expect(Math.abs(times - 400)).toBeLessThan(80);
      expect(await valuesOf(source)).toEqual(await valuesOf(lively.splits.all!));
      expect(source.ids).toEqual(lively.splits.all!.ids);
      await lively.close();
      await features.close();
      expect(tf.memory().numTensors).toBe(before);
    });

    test("are found again; another number, seed or transform is another store", async () => {
      const again = await views(3, { layers: "features" });
      expect(again.extraction.images).toBe(0);
      await again.close();
      const crop = "resize(36,bilinear)|random_crop(32)|normalize(imagenet)";
      for (const more of [{ seed: 1 }, { trainTransform: crop }]) {
        const other = await views(3, { layers: "features", ...more });
        expect(other.extraction.images).toBe(3 * images);
        await other.close();
      }
      const plan = await planExtraction({ ...(await settings({ layers: "features" })), views: 2, liveImages: 100 });
      expect(plan).toMatchObject({ images: 2 * images + 100, bytes: 3 * images * 16 * 4 });
    });

    test("are not taken for images of their own", async () => {
      const stores = path.join(folder, "features", "small", "convnet", "photos");
      expect(await complaint(openFeatures({ spec: path.join(stores, "features_all_views3") }))).toContain("holds 3 of");
      const plain = await openFeatures({ spec: stores });
      expect(plain.splits.all!.size).toBe(images);
      await plain.close();
    });

    test("an extraction that was stopped goes on, and gives the same bytes", async () => {
      // Two shards, of 512 rows and of what is left.
      const wide = { layers: "features", trainTransform: "random_crop(32)|hflip(0.5)|normalize(imagenet)" };
      const stop = new AbortController();
      const progress = {
        note: () => {},
        task: ({ unit }: { unit: string }) => {
          let seen = 0;
          const advance = (by = 1) => void ((seen += by) > 520 && unit === "views" && stop.abort(new Error("stopped")));
          return { advance, end: () => {} };
        },
      };
      const [killed, whole] = [path.join(folder, "killed"), path.join(folder, "whole")];
      const stopped = views(20, { ...wide, root: killed, progress, signal: stop.signal });
      await expect(stopped).rejects.toThrow("stopped");
      const rest = await views(20, { ...wide, root: killed });
      expect(rest.extraction.images).toBe(20 * images - 512);
      const undisturbed = await views(20, { ...wide, root: whole });
      expect(await filesOf(killed)).toEqual(await filesOf(whole));
      await rest.close();
      await undisturbed.close();
    });
  });

  test("what cannot be done is said before an image is read", async () => {
    const cases: [Partial<LiveFeaturesOptions>, string][] = [
      [{ trainTransform: "random_resized_crop(48)|hflip(0.5)" }, 'Expected images of 32x32, as convnet wants them, for --train-transform'], // prettier-ignore
      [{ trainTransform: "random_resize(32)" }, "Expected the name of a step"],
      [{ splits: ["val"] }, "Expected one of all"],
    ];
    for (const [more, told] of cases) expect(await complaint(live({ root: "nowhere", ...more }))).toContain(told);
    expect(await complaint(viewFeatures({ ...(await settings()), views: 0 }))).toContain("--views");
  });

  test("the training transform keeps what the evaluation's does to decoding and numbers", () => {
    const transform = "exif()|flatten(white)|resize(40,bicubic)|center_crop(32)|channels(bgr)|normalize(half)";
    expect(trainingTransform({ backbone, transform })).toBe(
      "exif()|flatten(white)|random_resized_crop(32x32,bilinear)|hflip(0.5)|channels(bgr)|normalize(half)",
    );
  });
});

/** The values of a pass over all layers, batch behind batch; a row's layers stand one behind the other. */
async function valuesOf(
  source: FeatureSource,
  pass: { rows?: Uint32Array; draws?: Uint32Array; batchSize?: number; layers?: string[] } = {},
): Promise<Float32Array> {
  const parts: number[] = [];
  const rows: number[] = [];
  for await (const batch of source.pass({ rows: every, batchSize: 8, ...pass })) {
    rows.push(...batch.rows);
    const whole = tf.concat(Object.values(batch.features), 1);
    parts.push(...(await whole.data()));
    tf.dispose([whole, batch.features]);
  }
  expect(rows).toEqual([...(pass.rows ?? every)]);
  return Float32Array.from(parts);
}
