import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import util from "node:util";

import * as tf from "@tensorflow/tfjs";

import { messageOf } from "../errors.js";

import type { Installation } from "./installation.js";

/** What we use of the binding of tfjs-node. */
export interface Binding {
  TF_Version: string;
  isUsingGpuDevice(): boolean;
}

/** A SavedModel that tfjs-node opened. */
export interface SavedModel {
  predict(inputs: tf.NamedTensorMap): tf.NamedTensorMap;
  dispose(): void;
}

/** Native TensorFlow, registered in this process as the backend `tensorflow`. */
export interface Native {
  /** `"official tfjs-node"`, `"official tfjs-node-gpu"`, or the path of the binding that `frozen-eval setup` built. */
  binding: string;
  tensorflow: string;
  gpu: boolean;
  loadSavedModel(folder: string, signature: string): Promise<SavedModel>;
}

type OfficialName = "@tensorflow/tfjs-node-gpu" | "@tensorflow/tfjs-node";

const load = createRequire(__filename);

let native: Native | undefined;

/** What was loaded, or undefined where native TensorFlow is not loaded in this process. */
export function loadedNative(): Native | undefined {
  return native;
}

/**
 * Loads an official tfjs-node that is installed beside this package, with its own TensorFlow.
 *
 * @returns undefined where it is not installed.
 * @throws Error where it is installed and does not work here: with the reason.
 */
export function loadOfficial(name: OfficialName): Native | undefined {
  let manifest: string;
  try {
    manifest = load.resolve(`${name}/package.json`);
  } catch {
    return undefined;
  }
  const folder = path.dirname(manifest);
  // Loading its index registers kernels before it finds out that it has no binding: see first.
  const library = path.join(folder, "lib");
  const builds = existsSync(library) ? readdirSync(library, { recursive: true, encoding: "utf8" }) : [];
  if (!builds.some((file) => path.basename(file) === "tfjs_binding.node")) return undefined;
  if (load.resolve("@tensorflow/tfjs") !== createRequire(manifest).resolve("@tensorflow/tfjs")) {
    throw new Error(`${name} brings another copy of @tensorflow/tfjs`);
  }
  giveBackRemovedFunctions();
  load(name);
  const { binding } = tf.findBackend("tensorflow") as unknown as { binding: Binding };
  const savedModels = createRequire(manifest)("./dist/saved_model.js") as SavedModelModule;
  return (native = describe(binding, `official ${name.slice("@tensorflow/".length)}`, savedModels));
}

/**
 * Loads the binding that `frozen-eval setup` built, with the JavaScript of tfjs-node and the instance of TensorFlow.js
 * that this package uses.
 *
 * @throws Error where it does not load.
 */
export function loadInstallation(installation: Installation): Native {
  giveBackRemovedFunctions();
  // The JavaScript is in the user's cache and cannot find this project's @tensorflow/tfjs by itself: setup put a
  // module of that name beside it which gives what it finds here.
  (globalThis as Record<symbol, unknown>)[Symbol.for("frozen-eval.tfjs")] = tf;
  const folder = path.join(installation.folder, "tfjs-node");
  const fromFolder = createRequire(path.join(folder, "package.json"));
  let binding: Binding;
  try {
    binding = fromFolder(installation.binding) as Binding;
  } catch (error) {
    throw new Error(`${installation.binding} does not load: ${messageOf(error).split("\n")[0]}`, { cause: error });
  }
  fromFolder("./dist/register_all_kernels.js");
  const { NodeJSKernelBackend } = fromFolder("./dist/nodejs_kernel_backend.js") as {
    NodeJSKernelBackend: new (binding: Binding, packageName: string) => tf.KernelBackend;
  };
  tf.registerBackend(
    "tensorflow",
    () => new NodeJSKernelBackend(binding, installation.cuda ? "@tensorflow/tfjs-node-gpu" : "@tensorflow/tfjs-node"),
    3,
  );
  const savedModels = fromFolder("./dist/saved_model.js") as SavedModelModule;
  return (native = describe(binding, installation.binding, savedModels));
}

interface SavedModelModule {
  loadSavedModel(folder: string, tags: string[], signature: string): Promise<SavedModel>;
}

function describe(binding: Binding, source: string, savedModels: SavedModelModule): Native {
  return {
    binding: source,
    tensorflow: binding.TF_Version,
    gpu: binding.isUsingGpuDevice(),
    loadSavedModel: (folder, signature) => savedModels.loadSavedModel(folder, ["serve"], signature),
  };
}

/** Functions of node:util that tfjs-node 4.22 calls, which Node 22 warns about and Node 23 no longer has. */
function giveBackRemovedFunctions(): void {
  Object.assign(util, {
    isNullOrUndefined: (value: unknown) => value === null || value === undefined,
    isArray: Array.isArray,
  });
}
