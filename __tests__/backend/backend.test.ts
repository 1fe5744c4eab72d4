import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import util, { promisify } from "node:util";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../../lib/backend/backend.js";
import { advise, diagnose, formatDiagnosis } from "../../lib/backend/doctor.js";
import { installationFolder, recipe } from "../../lib/backend/installation.js";
import { hasNvidiaDevice, parseNvidiaSmi, visibleGpus } from "../../lib/backend/gpu.js";
import { writeJson } from "../../lib/files.js";
import { random } from "../../lib/random.js";
import { describeOnBackends, describeOnNative } from "../backends.js";
import { root } from "../golden.js";

describeOnBackends("a prepared backend", ({ device, tolerance }) => {
  test("is the current one of the one TensorFlow.js, and says what it is", async () => {
    const described = await prepareBackend({ device });
    expect(described).toEqual(await prepareBackend({ device }));
    expect(described).toMatchObject(
      device === "native"
        ? { device, name: "tensorflow", tensorflow: "2.21.0", gpu: undefined, why: "it was asked for" }
        : { device, name: "wasm", threads: 1, why: "it was asked for" },
    );
    expect(tf.getBackend()).toBe(described.name);
  });

  test("multiplies matrices and takes gradients", async () => {
    const before = tf.memory().numTensors;
    const [m, k, n] = [7, 33, 5];
    const stream = random(1, "matrices");
    const [a, b] = [m * k, k * n].map((size) => Float32Array.from({ length: size }, () => stream.normal()));
    const product = tf.tidy(() => tf.matMul(tf.tensor2d(a!, [m, k]), tf.tensor2d(b!, [k, n])));
    const values = await product.data();
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let l = 0; l < k; l++) sum += a![i * k + l]! * b![l * n + j]!;
        expect(Math.abs(values[i * n + j]! - sum)).toBeLessThan(10 * tolerance);
      }
    }
    const slope = tf.tidy(() => tf.grad((x) => x.square().sum())(tf.tensor1d([1, -2, 3])));
    expect([...(await slope.data())]).toEqual([2, -4, 6]);
    tf.dispose([product, slope]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test("gives typed arrays of this realm", async () => {
    const tensor = tf.tensor1d([1, 2], "int32");
    expect(await tensor.data()).toBeInstanceOf(Int32Array);
    tensor.dispose();
  });
});

describeOnNative("native TensorFlow", () => {
  test("is what auto takes, without a word", async () => {
    const said: string[] = [];
    expect((await prepareBackend({ warn: (line) => said.push(line) })).device).toBe("native");
    expect(said).toEqual([]);
  });

  test("finds the functions that Node 23 took away", () => {
    const { isNullOrUndefined } = util as unknown as { isNullOrUndefined: (value: unknown) => boolean };
    expect([null, undefined, 0].map(isNullOrUndefined)).toEqual([true, true, false]);
  });
});

describe("prepareBackend, in a process of its own with another cache folder,", () => {
  let cache: string;
  beforeEach(() => {
    cache = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-test-"));
  });
  afterEach(() => rmSync(cache, { recursive: true }));

  /** @returns for each device asked for, one after another, the description or the error; and the lines of warning. */
  const prepare = async (...devices: string[]) => {
    const library = path.join(root, "dist", "lib", "backend", "backend.js");
    const script = `(async () => {
      const { prepareBackend } = require(${JSON.stringify(library)});
      const said = [], answers = [];
      for (const device of process.argv.slice(1)) {
        answers.push(await prepareBackend({ device, warn: (line) => said.push(line) }).catch(
          ({ name, message, hint }) => ({ name, message, hint })));
      }
      process.stdout.write(JSON.stringify({ said, answers }));
    })()`;
    const env = { ...process.env, FROZEN_EVAL_CACHE: cache };
    const { stdout } = await promisify(execFile)(process.execPath, ["-e", script, ...devices], { env });
    return JSON.parse(stdout) as { said: string[]; answers: Record<string, unknown>[] };
  };

  test("with nothing set up auto takes WebAssembly and says once in one line what to do; a named device is an error", async () => {
    const { said, answers } = await prepare("auto", "auto", "native", "cuda");
    expect(answers[0]).toMatchObject({ device: "wasm", why: expect.stringContaining("is not set up") as string });
    expect(answers[1]).toEqual(answers[0]);
    expect(said).toEqual([expect.stringMatching(/^[^\n]*slower[^\n]*npx frozen-eval setup$/)]);
    expect(answers[2]).toEqual({
      name: "UserError",
      message: "Expected native TensorFlow for --device native but native TensorFlow is not set up",
      hint: "Run npx frozen-eval setup, or leave --device out.",
    });
    expect(answers[3]).toMatchObject({
      name: "UserError",
      message: expect.stringContaining("--device cuda") as string,
    });
  });

  test("an installation that does not load is told with the reason", async () => {
    const folder = path.join(cache, path.basename(installationFolder(false)));
    const ready = { recipe, tensorflow: "2.21.0", wheels: [], compiler: "g++", files: {} };
    await writeJson(path.join(folder, "ready.json"), ready);
    const { answers } = await prepare("native");
    expect(answers[0]!.message).toMatch(/but .*tfjs_binding\.node does not load/);
  });
});

describe("prepareBackend", () => {
  test("refuses unknown devices and counts", async () => {
    await expect(prepareBackend({ device: "gpu" as "cuda" })).rejects.toThrow(
      'Expected one of auto, cuda, native, wasm, webgpu for --device but received "gpu"',
    );
    await expect(prepareBackend({ threads: 0 })).rejects.toThrow("Expected a whole number from 1 for --threads");
  });
});

describeOnBackends("the doctor", ({ device }) => {
  test("measures, and says what it found", async () => {
    const before = tf.memory().numTensors;
    const diagnosis = await diagnose({ device });
    expect(diagnosis.backend.device).toBe(device);
    expect(diagnosis.matrixProduct.gigaflops).toBeGreaterThan(0.1);
    expect(diagnosis.memory.free).toBeGreaterThan(0);
    const text = formatDiagnosis(diagnosis);
    expect(text).toContain(device === "native" ? "TensorFlow on the processor" : "WebAssembly (it was asked for)");
    expect(text).toMatch(/matrix product +[\d.]+ GFLOP\/s/);
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe("advice", () => {
  const native = { device: "native", threads: 8 } as const;
  const radeon = { name: "Radeon RX 7600", software: false };
  test.each([
    ["nothing to do", { backend: native, native: "whole" }, []],
    ["set up native", { backend: { device: "wasm", threads: 1 } }, [/npx frozen-eval setup gets native/]],
    ["no wheel", { backend: { device: "wasm", threads: 1 }, platform: "win32" }, [/Install @tensorflow\/tfjs-node/]],
    ["an idle GPU", { backend: native, gpuSeen: true }, [/setup --cuda/]],
    ["a GPU that is not seen", { backend: native, gpuSeen: true, cuda: "whole" }, [/nvidia-smi/]],
    ["damage", { backend: native, native: "damaged" }, [/--force/]],
    [
      "a GPU of another maker",
      { backend: native, native: "whole", webgpu: radeon },
      [/Radeon RX 7600\).*--device webgpu/],
    ],
    ["few threads", { backend: { device: "native", threads: 2 } }, [/2 of 8 cores/]],
  ] as [string, Partial<Parameters<typeof advise>[0]>, RegExp[]][])("%s", (_, found, expected) => {
    const advice = advise({
      backend: native,
      gpuSeen: false,
      webgpu: "Expected a GPU",
      native: "absent",
      cuda: "absent",
      platform: "linux",
      cores: 8,
      ...found,
    });
    expect(advice).toEqual(expected.map((pattern) => expect.stringMatching(pattern) as string));
  });

  test("CUDA's list of GPUs is read as CUDA reads it", async () => {
    const before = process.env.CUDA_VISIBLE_DEVICES;
    const seen: Record<string, string[]> = {};
    for (const list of ["0,2", " GPU-8e5f , 1", "1,-1,0", "", "-1"]) {
      process.env.CUDA_VISIBLE_DEVICES = list;
      seen[list] = await visibleGpus();
    }
    if (before === undefined) delete process.env.CUDA_VISIBLE_DEVICES;
    else process.env.CUDA_VISIBLE_DEVICES = before;
    expect(seen).toEqual({ "0,2": ["0", "2"], " GPU-8e5f , 1": ["GPU-8e5f", "1"], "1,-1,0": ["1"], "": [], "-1": [] });
  });

  test("nvidia-smi is read", () => {
    expect(parseNvidiaSmi("Tesla T4, 15360, 14900, 535.54.03\n\n")).toEqual([
      { name: "Tesla T4", memory: 15360 * 2 ** 20, freeMemory: 14900 * 2 ** 20, driver: "535.54.03" },
    ]);
    expect(parseNvidiaSmi("NVIDIA-SMI has failed\n")).toEqual([]);
    expect(typeof hasNvidiaDevice()).toBe("boolean");
  });
});
