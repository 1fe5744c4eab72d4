import { existsSync } from "node:fs";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { cacheFolder } from "../downloads/cache.js";
import { bytes } from "../progress.js";

import { type BackendDescription, type BackendOptions, type Device, prepareBackend } from "./backend.js";
import { type Gpu, hasNvidiaDevice, nvidiaGpus } from "./gpu.js";
import { findInstallation, installationFolder } from "./installation.js";
import { findWebGpuAdapter, type WebGpuAdapter } from "./webgpu.js";

/** What a run on this machine would use, and how fast that is. */
export interface Diagnosis {
  backend: BackendDescription;
  node: string;
  platform: string;
  processor: { model: string; cores: number };
  /** Bytes. */
  memory: { total: number; free: number };
  gpus: Gpu[];
  /** What `--device webgpu` would compute on, or why it cannot. */
  webgpu: WebGpuAdapter | string;
  /** A measured product of two `size` × `size` matrices. */
  matrixProduct: { size: number; gigaflops: number };
  cache: {
    folder: string;
    bytes: number;
    /** Of the native TensorFlow in it: `damaged` where a file is missing or has another digest. */
    native: InstallationState;
    cuda: InstallationState;
  };
  /** What to do to be faster, each one sentence; empty where nothing is known. */
  advice: string[];
}

export type InstallationState = "whole" | "damaged" | "absent";

/**
 * Finds out what computes here, why, and how fast; some seconds.
 *
 * @throws UserError where a named device is not there.
 */
export async function diagnose(options: Pick<BackendOptions, "device" | "threads"> = {}): Promise<Diagnosis> {
  // Its one line of warning is part of the advice here.
  const backend = await prepareBackend({ ...options, warn: () => {} });
  const [gpus, webgpu, native, cuda] = await Promise.all([
    nvidiaGpus(),
    findWebGpuAdapter(),
    stateOf(false),
    stateOf(true),
  ]);
  const processors = os.cpus();
  return {
    backend,
    node: process.version,
    platform: `${os.type()} ${os.release()} (${os.arch()})`,
    processor: { model: processors[0]?.model.trim() || "unknown", cores: os.availableParallelism() },
    memory: { total: os.totalmem(), free: await availableMemory() },
    gpus,
    webgpu,
    matrixProduct: await measureMatrixProduct(productSize(backend, webgpu)),
    cache: { folder: cacheFolder(), bytes: await sizeOf(cacheFolder()), native, cuda },
    advice: advise({ backend, gpuSeen: hasNvidiaDevice() || gpus.length > 0, webgpu, native, cuda }),
  };
}

/** The diagnosis as lines for a person. */
export function formatDiagnosis(diagnosis: Diagnosis): string {
  const { backend, processor, memory, gpus, webgpu, matrixProduct, cache, advice } = diagnosis;
  const names: Record<Device, string> = {
    cuda: "TensorFlow on the GPU",
    native: "TensorFlow on the processor",
    wasm: "WebAssembly",
    webgpu: "WebGPU",
  };
  const rows: [string, string][] = [
    ["computes on", `${names[backend.device]} (${backend.why})`],
    ...(backend.tensorflow
      ? ([["TensorFlow", `${backend.tensorflow}, ${backend.binding}`]] as [string, string][])
      : []),
    ["TensorFlow.js", `${tf.version.tfjs}, backend ${backend.name}`],
    ["Node", `${diagnosis.node} on ${diagnosis.platform}`],
    ["processor", `${processor.model}, ${processor.cores} cores`],
    ["threads", String(backend.threads)],
    ["memory", `${bytes(memory.free)} free of ${bytes(memory.total)}`],
    ...(gpus.length === 0
      ? ([["NVIDIA GPU", backend.device === "cuda" ? backend.gpu! : "none seen"]] as [string, string][])
      : gpus.map((gpu): [string, string] => [
          "NVIDIA GPU",
          `${gpu.name}, ${bytes(gpu.freeMemory)} free of ${bytes(gpu.memory)}, driver ${gpu.driver}`,
        ])),
    ["WebGPU", typeof webgpu === "string" ? webgpu : `${webgpu.name}${webgpu.software ? " (a program, no GPU)" : ""}`],
    ["matrix product", `${matrixProduct.gigaflops.toFixed(1)} GFLOP/s (${matrixProduct.size}³)`],
    ["cache", `${cache.folder} (${bytes(cache.bytes)}); TensorFlow ${cache.native}, with CUDA ${cache.cuda}`],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  const lines = rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`);
  const list = advice.length > 0 ? advice : ["Nothing is known that would make it faster."];
  return [...lines, "", ...list].join("\n");
}

/** What would make runs faster, most effective first. */
export function advise(options: {
  backend: Pick<BackendDescription, "device" | "threads" | "gpu">;
  gpuSeen: boolean;
  webgpu: WebGpuAdapter | string;
  native: InstallationState;
  cuda: InstallationState;
  platform?: NodeJS.Platform;
  cores?: number;
}): string[] {
  const {
    backend,
    gpuSeen,
    webgpu,
    native,
    cuda,
    platform = process.platform,
    cores = os.availableParallelism(),
  } = options;
  const advice: string[] = [];
  if (gpuSeen && backend.device !== "cuda") {
    advice.push(
      cuda === "whole"
        ? "There is an NVIDIA GPU, but TensorFlow does not use it: see that nvidia-smi lists it and its driver is at least 525."
        : "There is an NVIDIA GPU: npx frozen-eval setup --cuda gets the TensorFlow that uses it (some 3 GB).",
    );
  }
  if (backend.gpu === undefined && !gpuSeen && typeof webgpu !== "string" && !webgpu.software) {
    advice.push(`There is a GPU (${webgpu.name}): see whether --device webgpu is faster.`);
  }
  if (backend.device === "wasm" && native !== "whole") {
    advice.push(
      platform === "linux"
        ? "npx frozen-eval setup gets native TensorFlow (about 300 MB and a minute): some ten times faster."
        : "Install @tensorflow/tfjs-node beside frozen-eval where it has a build for this machine: some ten times faster.",
    );
  }
  if (native === "damaged" || cuda === "damaged") {
    advice.push(
      `The TensorFlow in the cache is damaged: npx frozen-eval setup${cuda === "damaged" ? " --cuda" : ""} --force makes it again.`,
    );
  }
  if (backend.device === "native" && backend.threads < cores) {
    advice.push(
      `${backend.threads} of ${cores} cores are used: leave --threads and TF_NUM_INTRAOP_THREADS out to use all.`,
    );
  }
  return advice;
}

async function stateOf(cuda: boolean): Promise<InstallationState> {
  if (await findInstallation({ cuda, verify: true })) return "whole";
  return existsSync(installationFolder(cuda)) ? "damaged" : "absent";
}

/** Large enough to keep the machine busy, and done in a moment. */
function productSize({ device }: BackendDescription, webgpu: WebGpuAdapter | string): number {
  if (device === "webgpu" && typeof webgpu !== "string" && webgpu.software) return 256;
  return device === "wasm" ? 768 : 2048;
}

async function measureMatrixProduct(size: number): Promise<Diagnosis["matrixProduct"]> {
  const [a, b] = tf.tidy(() => [tf.randomUniform([size, size]), tf.randomUniform([size, size])] as const);
  try {
    let best = Infinity;
    // The first one also warms the threads up.
    for (let i = 0; i < 4; i++) {
      const begun = performance.now();
      const product = tf.matMul(a, b);
      await product.data();
      product.dispose();
      best = Math.min(best, performance.now() - begun);
    }
    return { size, gigaflops: (2 * size ** 3) / best / 1e6 };
  } finally {
    tf.dispose([a, b]);
  }
}

/** What programs may still take, the disk cache included, where the system tells it. */
async function availableMemory(): Promise<number> {
  const text = await fs.readFile("/proc/meminfo", "utf8").catch(() => "");
  const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(text)?.[1];
  return kilobytes ? Number(kilobytes) * 1024 : os.freemem();
}

async function sizeOf(folder: string): Promise<number> {
  const entries = await fs.readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      fs.stat(path.join(entry.parentPath, entry.name)).then(
        ({ size }) => size,
        () => 0,
      ),
    );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
