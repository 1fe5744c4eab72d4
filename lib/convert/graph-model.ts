import path from "node:path";

import type { BackboneManifest } from "../backbones/manifest.js";
import { writeFileAtomic, writeJson } from "../files.js";
import { writeFolderAtomic } from "../folders.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { shardNames, shardsOf } from "./shards.js";
import type { Weight } from "./weight.js";

/** The content of `model.json`: https://www.tensorflow.org/js/guide/conversion */
export interface GraphModelJson {
  format: "graph-model";
  generatedBy: string;
  convertedBy: string;
  signature: Record<"inputs" | "outputs", Record<string, TensorInfo>>;
  modelTopology: { node: GraphBuilder["nodes"]; library: Record<string, never>; versions: { producer: number } };
  weightsManifest: { paths: string[]; weights: { name: string; shape: number[]; dtype: "float32" | "int32" }[] }[];
}

export interface TensorInfo {
  name: string;
  dtype: "DT_FLOAT";
  tensorShape: { dim: { size: string }[] };
}

/** @returns the graph as TensorFlow.js reads it; `predict` gives the last tap, and `execute` any node. */
export function graphModelJson(graph: GraphBuilder): GraphModelJson {
  const last = graph.taps.at(-1)!;
  return {
    format: "graph-model",
    generatedBy: "frozen-eval",
    convertedBy: "frozen-eval",
    signature: {
      inputs: { images: tensorInfo(graph.input) },
      outputs: { [last.name]: tensorInfo(last.tensor) },
    },
    // Operations as TensorFlow 2.9 defines them.
    modelTopology: { node: graph.nodes, library: {}, versions: { producer: 1087 } },
    weightsManifest: [
      {
        paths: shardNames(weightBytes(graph)),
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
  const hint = "Choose another folder, or another title.";
  const fill = async (folder: string) => {
    const [{ paths }] = model.weightsManifest as [GraphModelJson["weightsManifest"][number]];
    let written = 0;
    for await (const shard of shardsOf({ bytes: weightBytes(graph), weights: bytesOf(graph) })) {
      await writeFileAtomic(path.join(folder, paths[written++]!), shard);
    }
    await writeFileAtomic(path.join(folder, "model.json"), JSON.stringify(model));
    await writeJson(path.join(folder, "backbone.json"), manifest);
  };
  await writeFolderAtomic({ dir, mark: "backbone.json", kind: "a backbone", hint, fill });
}

async function* bytesOf(graph: GraphBuilder): AsyncIterable<Uint8Array> {
  for (const [name, weight] of graph.weights) yield weightBytesOf(name, weight);
}

/** The numbers of a weight as they lie in a file, little-endian. */
export async function weightBytesOf(name: string, weight: Weight): Promise<Uint8Array> {
  const values = await weight.read();
  if (values.length !== lengthOf(weight.shape)) throw new Error(`${name} has ${values.length} values`);
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function weightBytes(graph: GraphBuilder): number {
  return [...graph.weights.values()].reduce((sum, { shape }) => sum + 4 * lengthOf(shape), 0);
}

function lengthOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** A tensor of a signature. */
export function tensorInfo({ node, shape }: GraphTensor): TensorInfo {
  const dim = [-1, ...shape].map((size) => ({ size: String(size) }));
  return { name: `${node}:0`, dtype: "DT_FLOAT", tensorShape: { dim } };
}
