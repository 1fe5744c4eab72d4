import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { loadBackbone, type Backbone } from "../../lib/backbones/backbone.js";
import { openDataset } from "../../lib/datasets/open.js";
import { UserError } from "../../lib/errors.js";
import { extractFeatures, type ExtractFeaturesOptions } from "../../lib/features/extract.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { mostProcesses } from "../../lib/features/open-extractor.js";
import { describeOnBackends } from "../backends.js";
import { temporaryFolder } from "../command-line.js";
import { childrenOf, untilGone } from "../processes.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";
import { relativeGap } from "./relative-gap.js";
import { filesOf } from "./synthetic.js";

jest.setTimeout(120_000);

const images = 60;

describeOnBackends("extraction by several processes", ({ device, tolerance }) => {
  const folder = temporaryFolder();
  const photos = path.join(folder, "photos");
  let backbone: Backbone;
  beforeAll(async () => {
    backbone = await loadBackbone({ dir: await writeSmallBackbone({ root: path.join(folder, "models") }) });
    await writeSmallImages({ folder: photos, count: images / 6 });
    // The second batch has one image less, and the last none.
    await fs.writeFile(path.join(photos, "blue", "005.png"), "");
    for (const name of ["006", "007", "008", "009"]) await fs.writeFile(path.join(photos, "red-striped", `${name}.png`), ""); // prettier-ignore
  });
  afterAll(() => backbone.dispose());

  const extract = async (root: string, options: Partial<ExtractFeaturesOptions> = {}) => {
    const dataset = await openDataset({ spec: `folder:${photos}` });
    const [where, onBadImage] = [path.join(folder, root), "skip"] as const;
    const features = await extractFeatures({ backbone, dataset, root: where, workers: 1, batchSize: 4, onBadImage, ...options }); // prettier-ignore
    await features.close();
    return features;
  };
  const placeOf = (root: string) => path.join(folder, root, "small", "convnet", "photos", "features_all");
  const storeOf = (root: string) => filesOf(placeOf(root));
  const children = () => childrenOf(process.pid, "extraction-process.js");

  /** With fewer threads native TensorFlow sums in another order. */
  const expectAlmostSame = async (root: string, other: string) => {
    const names = Object.keys(await storeOf(root));
    expect(Object.keys(await storeOf(other))).toEqual(names);
    for (const name of names.filter((one) => one.endsWith("00000.npy"))) {
      const [one, two] = await Promise.all([root, other].map((at) => readNpy({ file: path.join(placeOf(at), name) })));
      expect(relativeGap(one!.data as Float32Array, two!.data as Float32Array)).toBeLessThan(tolerance);
    }
  };

  test("gives the rows of one process, in order, and names the same bad images", async () => {
    const before = tf.memory().numTensors;
    const one = await extract("one", { processes: 1 });
    expect(one.skipped).toHaveLength(5);
    const notes: string[] = [];
    const task = { advance: () => undefined, end: () => undefined };
    const progress = { note: (text: string) => void notes.push(text), task: () => task };
    // With room for one batch its pixels are overwritten as soon as they have been sent.
    const two = await extract("two", { processes: 2, lookAhead: 1, progress });
    expect(notes).toEqual(["2 processes pass images through the backbone side by side"]);
    expect(two.skipped).toEqual(one.skipped);
    const { execution } = one.extraction;
    expect(execution).toBe(device === "native" ? "session" : "op by op");
    expect([one, two].map(({ extraction }) => extraction)).toMatchObject([1, 2].map((processes) => ({ execution, processes }))); // prettier-ignore
    expect(two.extraction.threads).toBe(device === "native" ? Math.max(1, Math.floor(one.extraction.threads! / 2)) : 1);
    if (device === "native") await expectAlmostSame("two", "one");
    else expect(await storeOf("two")).toEqual(await storeOf("one"));
    expect(tf.memory().numTensors).toBe(before);
    await untilGone(children());
  });

  // What follows is the same on every backend.
  if (device === "native") return;

  test("is stopped, goes on with another number of processes, and gives the same bytes", async () => {
    const stop = new AbortController();
    const task = { advance: () => stop.abort(new Error("stopped")), end: () => undefined };
    const progress = { note: () => undefined, task: () => task };
    await expect(extract("stopped", { processes: 2, progress, signal: stop.signal })).rejects.toThrow("stopped");
    await untilGone(children());
    await extract("stopped", { processes: 1 });
    expect(await storeOf("stopped")).toEqual(await storeOf("one"));
  });

  test("names a process that dies, and is taken up again", async () => {
    const task = { advance: () => children().slice(1).forEach((pid) => process.kill(pid, "SIGKILL")), end: () => undefined }; // prettier-ignore
    const progress = { note: () => undefined, task: () => task };
    const error = await extract("killed", { processes: 2, progress }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UserError);
    const { message, hint } = error as UserError;
    expect(message).toMatch(/^Expected process [12] of 2 that pass images through the backbone to finish but it ended \(SIGKILL\)$/); // prettier-ignore
    expect(hint).toContain("fewer --processes");
    await untilGone(children());
    await extract("killed", { processes: 1 });
    expect(await storeOf("killed")).toEqual(await storeOf("one"));
  });

  test("starts none for little work, and where each would need more memory than is free", async () => {
    const notes: string[] = [];
    const task = { advance: () => undefined, end: () => undefined };
    await extract("little", { progress: { note: (text) => void notes.push(text), task: () => task } });
    expect(notes).toEqual([]);
    expect(await mostProcesses()).toBe(os.availableParallelism());
    jest.spyOn(os, "freemem").mockReturnValue(2 ** 20);
    expect(await mostProcesses()).toBe(1);
    jest.restoreAllMocks();
  });
});
