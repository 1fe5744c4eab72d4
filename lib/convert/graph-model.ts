import fs from "node:fs/promises";
import path from "node:path";

import type { BackboneManifest } from "../backbones/manifest.js";
import { UserError } from "../errors.js";
import { asWriteError, errorCode, exists, temporaryName, writeFileAtomic, writeJson } from "../files.js";
import type { GraphBuilder } from "./graph-builder.js";

/** Browsers keep files of this size in their cache. */
const shardBytes = 4 * 1024 * 1024;

/** The content of `model.json`: https://www.tensorflow.org/js/guide/conversion */
export interface GraphModelJson {
  format: "graph-model";
  generatedBy: string;
  convertedBy: string;
  signature: Record<"inputs" | "outputs", Record<string, TensorInfo>>;
  modelTopology: { node: GraphBuilder["nodes"]; library: Record<string, never>; versions: { producer: number } };
  weightsManifest: { paths: string[]; weights: { name: string; shape: number[]; dtype: "float32" | "int32" }[] }[];
}

interface TensorInfo {
  name: string;
  dtype: "DT_FLOAT";
  tensorShape: { dim: { size: string }[] };
}

/** @returns the graph as TensorFlow.js reads it; `predict` gives the last tap, and `execute` any node. */
export function graphModelJson(graph: GraphBuilder): GraphModelJson {
  const last = graph.taps.at(-1)!;
  const shards = Math.max(1, Math.ceil(weightBytes(graph) / shardBytes));
  return {
    format: "graph-model",
    generatedBy: "frozen-eval",
    convertedBy: "frozen-eval",
    signature: {
      inputs: { images: tensorInfo(graph.input.node, graph.input.shape) },
      outputs: { [last.name]: tensorInfo(last.tensor.node, last.tensor.shape) },
    },
    // Operations as TensorFlow 2.9 defines them.
    modelTopology: { node: graph.nodes, library: {}, versions: { producer: 1087 } },
    weightsManifest: [
      {
        paths: Array.from({ length: shards }, (_, i) => `group1-shard${i + 1}of${shards}.bin`),
        weights: [...graph.weights].map(([name, { shape, dtype }]) => ({ name, shape: [...shape], dtype })),
      },
    ],
  };
}

/**
 * Writes a backbone's folder: `model.json`, weights in shards of 4 MB, `backbone.json`. The folder is filled under a
 * temporary name and then renamed, so that it is whole or absent; a backbone that was there is replaced.
 *
 * @throws UserError where `dir` holds something other than a backbone, or cannot be written.
 */
export async function writeGraphModel(options: {
  dir: string;
  graph: GraphBuilder;
  model: GraphModelJson;
  manifest: BackboneManifest;
}): Promise<void> {
  const { dir, graph, model, manifest } = options;
  await expectBackboneOrNothing(dir);
  await removeLeftovers(dir);
  const temporary = temporaryName(dir);
  try {
    await fs.mkdir(temporary, { recursive: true });
    const [{ paths }] = model.weightsManifest as [GraphModelJson["weightsManifest"][number]];
    let written = 0;
    for await (const shard of shardsOf(graph)) await writeFileAtomic(path.join(temporary, paths[written++]!), shard);
    await writeFileAtomic(path.join(temporary, "model.json"), JSON.stringify(model));
    await writeJson(path.join(temporary, "backbone.json"), manifest);
    await replaceFolder(temporary, dir);
  } catch (error) {
    throw asWriteError(error, dir);
  } finally {
    await fs.rm(temporary, { recursive: true, force: true });
  }
}

/** The weights one after another, little-endian, cut into shards; one weight and one shard are held at a time. */
async function* shardsOf(graph: GraphBuilder): AsyncIterable<Uint8Array> {
  const total = weightBytes(graph);
  let shard = new Uint8Array(Math.min(shardBytes, total));
  let [filled, given] = [0, 0];
  for (const [name, weight] of graph.weights) {
    const values = await weight.read();
    if (values.length !== lengthOf(weight.shape)) throw new Error(`${name} has ${values.length} values`);
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    for (let at = 0; at < bytes.length;) {
      const piece = bytes.subarray(at, at + shard.length - filled);
      shard.set(piece, filled);
      at += piece.length;
      filled += piece.length;
      if (filled < shard.length) continue;
      yield shard;
      given += filled;
      filled = 0;
      shard = new Uint8Array(Math.min(shardBytes, total - given));
    }
  }
}

async function expectBackboneOrNothing(dir: string): Promise<void> {
  const names = await fs.readdir(dir).catch((error: unknown): string[] => {
    if (errorCode(error) === "ENOENT") return [];
    throw asWriteError(error, dir);
  });
  if (names.length > 0 && !names.includes("backbone.json")) {
    throw new UserError(
      `Expected an empty folder or a backbone at ${dir} but it holds ${names.slice(0, 3).join(", ")}`,
      {
        hint: "Choose another folder, or another title.",
      },
    );
  }
}

/** What killed runs left beside the folder, once it is old enough that no other process is at it. */
async function removeLeftovers(dir: string): Promise<void> {
  const parent = path.dirname(dir);
  for (const name of await fs.readdir(parent).catch(() => [])) {
    if (!name.startsWith(`${path.basename(dir)}.`) || !name.endsWith(".partial")) continue;
    const leftover = path.join(parent, name);
    const { mtimeMs } = await fs.stat(leftover);
    if (Date.now() - mtimeMs > oneHour) await fs.rm(leftover, { recursive: true, force: true });
  }
}

const oneHour = 3_600_000;

async function replaceFolder(from: string, to: string): Promise<void> {
  const old = temporaryName(to);
  if (await exists(to)) await fs.rename(to, old);
  await fs.rename(from, to);
  await fs.rm(old, { recursive: true, force: true });
}

function weightBytes(graph: GraphBuilder): number {
  return [...graph.weights.values()].reduce((sum, { shape }) => sum + 4 * lengthOf(shape), 0);
}

function lengthOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function tensorInfo(node: string, shape: readonly number[]): TensorInfo {
  const dim = [-1, ...shape].map((size) => ({ size: String(size) }));
  return { name: `${node}:0`, dtype: "DT_FLOAT", tensorShape: { dim } };
}
