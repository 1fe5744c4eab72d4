import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { openNativeSession } from "../../lib/backend/native-session.js";
import { eagerForwardPass } from "../../lib/backbones/forward-pass.js";
import { digestOfGraph, openGraphFiles } from "../../lib/backbones/graph-files.js";
import { describeOnNative } from "../backends.js";
import { writeSmallBackbone } from "../small-backbone.js";

describeOnNative("weights of a session", ({ tolerance }) => {
  const outputs = ["block1"];
  const formerCache = process.env.FROZEN_EVAL_CACHE;
  let root: string;
  let dir: string;
  beforeEach(async () => {
    root = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-test-"));
    // The second convolution's kernel has 36 kB, and is mapped.
    dir = await writeSmallBackbone({ root, channels: 64 });
    process.env.FROZEN_EVAL_CACHE = path.join(root, "cache");
  });
  afterEach(() => {
    if (formerCache === undefined) delete process.env.FROZEN_EVAL_CACHE;
    else process.env.FROZEN_EVAL_CACHE = formerCache;
    rmSync(root, { recursive: true });
  });

  const open = async (options: { inGraph?: number } = {}) => {
    const files = await openGraphFiles(dir);
    return openNativeSession({ modelJson: files.modelFile, digest: await digestOfGraph(files), outputs, ...options });
  };
  const features = async (options: { inGraph?: number } = {}) => {
    const session = await open(options);
    const input = tf.tensor4d(Float32Array.from({ length: 32 * 32 * 3 }, (_, i) => Math.sin(i)), [1, 32, 32, 3]); // prettier-ignore
    const results = session.run(input);
    const values = await results[0]!.data();
    tf.dispose([input, results]);
    session.dispose();
    return values as Float32Array;
  };
  const entries = () => {
    const sessions = path.join(root, "cache", "sessions");
    return readdirSync(sessions).filter((name) => !name.endsWith(".lock")).map((name) => path.join(sessions, name)); // prettier-ignore
  };
  const mapped = () =>
    path.join(
      entries()[0]!,
      readdirSync(entries()[0]!).find((name) => /^\d+\.bin$/.test(name))!,
    );

  test("mapped or in the graph, the session equals the execution op by op, and leaves no tensors", async () => {
    const before = tf.memory().numTensors;
    const eager = await eagerForwardPass({ files: await openGraphFiles(dir), inputNode: "images" });
    const input = tf.tensor4d(Float32Array.from({ length: 32 * 32 * 3 }, (_, i) => Math.sin(i)), [1, 32, 32, 3]); // prettier-ignore
    const [expected] = await eager.run({ input, nodes: outputs });
    const wanted = (await expected!.data()) as Float32Array;
    const largest = Math.max(...wanted);
    expect(largest).toBeGreaterThan(0.1);
    for (const inGraph of [0, 36_863, 36_864, undefined]) {
      const seen = await features({ inGraph });
      expect(wanted.every((value, i) => Math.abs(value - seen[i]!) <= tolerance * largest)).toBe(true);
    }
    eager.dispose();
    tf.dispose([input, expected!]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test("are written once, by one of those who want them", async () => {
    const sessions = await Promise.all([open(), open()]);
    sessions.forEach((session) => session.dispose());
    expect(entries()).toHaveLength(1);
    expect(statSync(mapped()).size).toBe(3 * 3 * 64 * 16 * 4);
    const written = statSync(mapped()).mtimeMs;
    await features();
    expect(statSync(mapped()).mtimeMs).toBe(written);
  });

  test("other weights are another entry; one that was not used for long goes", async () => {
    await features();
    const [former] = entries();
    const long = new Date(Date.now() - 31 * 24 * 60 * 60 * 1000);
    utimesSync(path.join(former!, "index.json"), long, long);
    dir = await writeSmallBackbone({ root, channels: 64, seed: 1 });
    await features();
    expect(entries()).toHaveLength(1);
    expect(entries()).not.toContain(former);
  });

  test.each<[string, () => void]>([
    ["a flipped bit", () => writeFileSync(mapped(), readFileSync(mapped()).map((byte, i) => (i === 5 ? byte ^ 1 : byte)))], // prettier-ignore
    ["a file cut short", () => writeFileSync(mapped(), readFileSync(mapped()).subarray(0, 100))],
    ["a missing file", () => rmSync(mapped())],
    ["a damaged index", () => writeFileSync(path.join(entries()[0]!, "index.json"), '{"digest":')],
  ])("%s: they are made anew", async (_, spoil) => {
    const first = await features();
    spoil();
    expect(await features()).toEqual(first);
    expect(statSync(mapped()).size).toBe(3 * 3 * 64 * 16 * 4);
  });
});
