import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";

import { expected, messageOf, UserError } from "../errors.js";

import { hasNvidiaDevice, nvidiaGpus } from "./gpu.js";
import { findInstallation } from "./installation.js";
import { loadedNative, loadInstallation, loadOfficial, type Native } from "./native.js";
import { loadWebGpu } from "./webgpu.js";

/** What computes: TensorFlow on an NVIDIA GPU, TensorFlow on the processor, WebAssembly, or WebGPU on any GPU. */
export type Device = "cuda" | "native" | "wasm" | "webgpu";

const deviceChoices = ["auto", "cuda", "native", "wasm", "webgpu"] as const;

export interface BackendOptions {
  /** `auto` takes the first that works of cuda, native, wasm. One that is named and missing is an error. */
  device?: Device | "auto";
  /**
   * Threads of one operation; all cores where left out. Native TensorFlow reads it when it is loaded, so the first
   * call of a process decides; WebAssembly has one thread under Node.
   */
  threads?: number;
  /** Receives the one line that says that WebAssembly is used because nothing faster is there. */
  warn?: (line: string) => void;
}

type BackendName = "tensorflow" | "wasm" | "webgpu";

/** What was chosen and why, for the result's record and for `frozen-eval doctor`. */
export interface BackendDescription {
  device: Device;
  /** The name of the TensorFlow.js backend. */
  name: BackendName;
  /** TensorFlow's version, where it computes. */
  tensorflow?: string;
  threads: number;
  /** The GPU's name, where it computes. */
  gpu?: string;
  /** The path of the native binding, or `"official tfjs-node"` or `"official tfjs-node-gpu"`. */
  binding?: string;
  /** One sentence. */
  why: string;
}

const howTo = "npx frozen-eval setup";

let warned = false;
let current: BackendDescription | undefined;
let threadsOfNative: number | undefined;

/**
 * Chooses a backend, loads it and makes it the current one of TensorFlow.js. May be called again, also with another
 * device.
 *
 * @throws UserError where a named device is not there, or `threads` is no count.
 */
export async function prepareBackend(options: BackendOptions = {}): Promise<BackendDescription> {
  const { device = "auto", threads, warn = (line) => process.stderr.write(`${line}\n`) } = options;
  if (!deviceChoices.includes(device)) throw expected(`one of ${deviceChoices.join(", ")}`, "--device", device);
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1)) {
    throw expected("a whole number from 1", "--threads", threads);
  }
  if (device === "webgpu") return (current = await prepareWebGpu());
  const reasons: string[] = [];
  const native = device === "wasm" ? undefined : await prepareNative({ device, threads, reasons });
  current = native ?? (await prepareWasm(device === "wasm" ? "it was asked for" : reasons.join("; ")));
  if (native) return native;
  if (device === "auto" && !warned) {
    warned = true;
    warn(`Computing on WebAssembly, many times slower than native TensorFlow. Get that with: ${howTo}`);
  }
  return current;
}

/** Chooses a backend where the program has not chosen one itself, by {@link prepareBackend} or `tf.setBackend`. */
export async function ensureBackend(): Promise<void> {
  // Before its first use TensorFlow.js has none; asking `tf.getBackend()` would start its slow default.
  const chosen = tf.engine().backendName as string | undefined;
  if (!chosen) await prepareBackend();
}

/** What the last {@link prepareBackend} chose; undefined before the first. */
export function currentBackend(): BackendDescription | undefined {
  return current;
}

async function prepareNative(options: {
  device: "auto" | "cuda" | "native";
  threads?: number;
  reasons: string[];
}): Promise<BackendDescription | undefined> {
  const { device, threads, reasons } = options;
  const gpuSeen = hasNvidiaDevice();
  if (device === "cuda" && !gpuSeen) {
    throw new UserError("Expected an NVIDIA GPU for --device cuda but this machine shows none", {
      hint: "See that its driver is installed (nvidia-smi must list the GPU), or leave --device out.",
    });
  }
  const native = loadedNative() ?? (await loadFirst({ device, threads, gpuSeen, reasons }));
  if (native && (device !== "cuda" || native.gpu)) {
    // A build with CUDA computes on the GPU whenever it sees one.
    if (device === "native" && native.gpu) {
      throw new UserError(
        "Expected to compute on the processor (--device native) but the TensorFlow in use took the GPU",
        {
          hint: "Set CUDA_VISIBLE_DEVICES=-1 to hide the GPU.",
        },
      );
    }
    await activate("tensorflow");
    return {
      device: native.gpu ? "cuda" : "native",
      name: "tensorflow",
      tensorflow: native.tensorflow,
      threads: threadsOfNative ?? availableThreads(),
      gpu: native.gpu ? ((await nvidiaGpus())[0]?.name ?? "NVIDIA GPU") : undefined,
      binding: native.binding,
      why: device !== "auto" ? "it was asked for" : ["the first that works", ...reasons].join("; "),
    };
  }
  if (device === "auto") return undefined;
  if (native) reasons.push(`${native.binding} sees no GPU`);
  const what = device === "cuda" ? "TensorFlow with CUDA" : "native TensorFlow";
  throw new UserError(`Expected ${what} for --device ${device} but ${reasons.join("; ")}`, {
    hint: `Run ${howTo}${device === "cuda" ? " --cuda" : ""}, or leave --device out.`,
  });
}

/** Two TensorFlows in one process get in each other's way, so what is likeliest to serve is tried first, and alone. */
async function loadFirst(options: {
  device: "auto" | "cuda" | "native";
  threads?: number;
  gpuSeen: boolean;
  reasons: string[];
}): Promise<Native | undefined> {
  const { device, threads, gpuSeen, reasons } = options;
  setEnvironment(threads);
  // The TensorFlow with CUDA computes on the processor where it sees no GPU.
  if (device === "native") process.env.CUDA_VISIBLE_DEVICES ??= "-1";
  const forGpu = { official: "@tensorflow/tfjs-node-gpu", cuda: true } as const;
  const forProcessor = { official: "@tensorflow/tfjs-node", cuda: false } as const;
  const wanted = device === "native" || !gpuSeen ? [forProcessor, forGpu] : [forGpu, forProcessor];
  for (const { official, cuda } of device === "cuda" ? [forGpu] : wanted) {
    try {
      const loaded = loadOfficial(official);
      if (loaded) return loaded;
    } catch (error) {
      reasons.push(`${official} does not work here (${messageOf(error).split("\n")[0]})`);
    }
    const installation = await findInstallation({ cuda });
    if (!installation) {
      if (!cuda || gpuSeen) reasons.push(`native TensorFlow${cuda ? " with CUDA" : ""} is not set up`);
      continue;
    }
    try {
      return loadInstallation(installation);
    } catch (error) {
      reasons.push(messageOf(error).split("\n")[0]!);
    }
  }
  return undefined;
}

/** TensorFlow reads these when it is loaded. What the user has set stays. */
function setEnvironment(threads: number | undefined): void {
  // Warnings and below: at each start it would tell which instructions the processor has.
  process.env.TF_CPP_MIN_LOG_LEVEL ??= "2";
  // It would take all memory of every GPU, and leave none to processes beside it.
  process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= "true";
  // oneDNN's kernels, and buffers that are kept. TensorFlow has them by itself on processors with AVX-512 only, but
  // elsewhere they are faster too. It then says so on stderr, whatever level of messages is set.
  if (process.arch === "x64") process.env.TF_ENABLE_ONEDNN_OPTS ??= "1";
  if (threads !== undefined) process.env.TF_NUM_INTRAOP_THREADS = String(threads);
  threadsOfNative = Number(process.env.TF_NUM_INTRAOP_THREADS) || availableThreads();
}

async function prepareWasm(why: string): Promise<BackendDescription> {
  const folder = path.join(path.dirname(require.resolve("@tensorflow/tfjs-backend-wasm/package.json")), "dist");
  if (tf.findBackend("wasm") === null) setWasmPaths(folder + path.sep);
  await activate("wasm");
  return { device: "wasm", name: "wasm", threads: 1, why };
}

async function prepareWebGpu(): Promise<BackendDescription> {
  const { name, software } = await loadWebGpu(() => activate("webgpu"));
  const why = software ? "it was asked for; the GPU is a program" : "it was asked for";
  return { device: "webgpu", name: "webgpu", threads: 1, gpu: name, why };
}

async function activate(name: BackendName): Promise<void> {
  if (tf.getBackend() !== name && !(await tf.setBackend(name))) {
    throw new Error(`the TensorFlow.js backend ${name} did not start`);
  }
  await tf.ready();
}

function availableThreads(): number {
  return os.availableParallelism();
}
