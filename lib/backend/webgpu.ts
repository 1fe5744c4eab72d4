import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { promisify } from "node:util";

import { errorCode } from "../files.js";
import { messageOf, UserError } from "../errors.js";

/** A GPU as WebGPU shows it. */
export interface WebGpuAdapter {
  /** The GPU's name, and that of its driver where it tells one. */
  name: string;
  /** Whether it is a program that takes the part of a GPU. */
  software: boolean;
}

const packages = ["webgpu", "@tensorflow/tfjs-backend-webgpu"] as const;

/** Dawn's devices need it as long as they are used, and do not keep it themselves. */
let instance: object | undefined;

/** How users install the packages: the backend has to be of the version of TensorFlow.js. */
export const installWebGpu = "npm install webgpu @tensorflow/tfjs-backend-webgpu@4.22.0";

/**
 * Registers the backend `webgpu` of TensorFlow.js in this process, on Dawn, the WebGPU of Chromium, as the package
 * `webgpu` brings it.
 *
 * @param start makes the backend the current one; what Dawn needs of a browser is there while it runs.
 * @throws UserError where a package is not installed, or there is no adapter.
 */
export async function loadWebGpu(start: () => Promise<void>): Promise<WebGpuAdapter> {
  const { gpu, adapter, globals } = await openAdapter();
  instance = gpu;
  Object.assign(globalThis, globals);
  // The backend looks for it as in a browser. It goes again, for it would keep the program from ending.
  const own = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { gpu: instance }, configurable: true });
  try {
    createRequire(__filename)(packages[1]);
    await start();
  } finally {
    if (own) Object.defineProperty(globalThis, "navigator", own);
    else delete (globalThis as { navigator?: unknown }).navigator;
  }
  return adapter;
}

/**
 * The GPU that `--device webgpu` would compute on, or in one sentence why there is none. Looked for in a process of its
 * own: a graphics driver may write what it likes, and may end the process.
 */
export async function findWebGpuAdapter(): Promise<WebGpuAdapter | string> {
  const script =
    `require(${JSON.stringify(__filename)}).openAdapter().then(({ adapter }) => adapter, ({ message }) => message)` +
    `.then((found) => process.stdout.write(JSON.stringify(found), () => process.exit()))`;
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ["-e", script]);
    return JSON.parse(stdout) as WebGpuAdapter | string;
  } catch (error) {
    return `a process that looks for one ends (${messageOf(error).split("\n")[0]})`;
  }
}

/** Loads Dawn and asks it for the fastest GPU. */
export async function openAdapter(): Promise<{ gpu: object; adapter: WebGpuAdapter; globals: object }> {
  const { create, globals } = await loadDawn();
  const gpu = create([]);
  const found = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!found) {
    throw new UserError("Expected a GPU for --device webgpu but WebGPU finds none", {
      hint: "On Linux it needs a Vulkan driver: vulkaninfo must list the GPU (libvulkan1 with the GPU's own driver, or mesa-vulkan-drivers).",
    });
  }
  const { device, description, isFallbackAdapter } = found.info;
  const name = [device.trim(), description.trim()].filter((word) => word !== "").join(", ");
  return { gpu, adapter: { name: name || "unknown GPU", software: isFallbackAdapter }, globals };
}

async function loadDawn() {
  try {
    for (const name of packages) createRequire(__filename).resolve(`${name}/package.json`);
    return await import("webgpu");
  } catch (error) {
    if (errorCode(error) === "MODULE_NOT_FOUND") {
      throw new UserError(
        `Expected the packages ${packages.join(" and ")} for --device webgpu but they are not installed`,
        {
          hint: `Run: ${installWebGpu}`,
          cause: error,
        },
      );
    }
    throw new UserError(
      `Expected the package webgpu to load for --device webgpu but it does not: ${messageOf(error).split("\n")[0]}`,
      {
        cause: error,
      },
    );
  }
}
