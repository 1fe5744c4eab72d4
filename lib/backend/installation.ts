import fs from "node:fs/promises";
import path from "node:path";

import { z } from "zod";

import { cacheFolder } from "../downloads/cache.js";
import { sha256OfFile } from "../files.js";

import { tensorflowVersion } from "./tensorflow-wheels.js";

/**
 * What `frozen-eval setup` made, in one folder:
 *
 *     ready.json                      written last; what there is, with sizes and digests
 *     tensorflow/                     TensorFlow's C library
 *     nvidia/<library>/               CUDA's libraries, where TensorFlow's run path looks for them
 *     tfjs-node/                      the JavaScript of @tensorflow/tfjs-node as published, and the binding built here
 *     node_modules/google-protobuf/   which that JavaScript needs
 *     node_modules/@tensorflow/       hands it the caller's own instance of TensorFlow.js
 */
export interface Installation {
  folder: string;
  cuda: boolean;
  /** TensorFlow's version. */
  tensorflow: string;
  /** Path of the compiled binding. */
  binding: string;
}

/** Counted up where what {@link Installation} holds, or how it is made, changes: an older one is then made again. */
export const recipe = 1;

export const bindingInFolder = path.join("tfjs-node", "lib", "napi-v8", "tfjs_binding.node");

const readyRecord = z.object({
  recipe: z.literal(recipe),
  tensorflow: z.string(),
  wheels: z.array(z.string()),
  compiler: z.string(),
  files: z.record(z.string(), z.object({ bytes: z.number(), sha256: z.string() })),
});

/** The content of `ready.json`; paths of `files` are relative to the folder. */
export type ReadyRecord = z.infer<typeof readyRecord>;

export function installationFolder(cuda: boolean): string {
  return path.join(cacheFolder(), `tensorflow-${tensorflowVersion}-${cuda ? "cuda" : "cpu"}`);
}

/**
 * The installation in the cache folder, or undefined where it is not there or not whole.
 *
 * @param verify also compares the digest of every file (some seconds) instead of its size alone.
 */
export async function findInstallation(options: {
  cuda: boolean;
  verify?: boolean;
}): Promise<Installation | undefined> {
  const folder = installationFolder(options.cuda);
  const ready = await readReady(folder);
  if (!ready) return undefined;
  for (const [name, { bytes, sha256 }] of Object.entries(ready.files)) {
    const file = path.join(folder, name);
    const found = await fs.stat(file).catch(() => undefined);
    if (found?.size !== bytes) return undefined;
    if (options.verify && (await sha256OfFile(file)) !== sha256) return undefined;
  }
  return { folder, cuda: options.cuda, tensorflow: ready.tensorflow, binding: path.join(folder, bindingInFolder) };
}

async function readReady(folder: string): Promise<ReadyRecord | undefined> {
  try {
    return readyRecord.parse(JSON.parse(await fs.readFile(path.join(folder, "ready.json"), "utf8")));
  } catch {
    return undefined;
  }
}
