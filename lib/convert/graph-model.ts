import path from "node:path";

import type { BackboneManifest } from "../backbones/manifest.js";
import { writeFileAtomic, writeJson } from "../files.js";
import { writeFolderAtomic } from "../folders.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { store, storedBytes, type Precision, type Quantization } from "./precision.js";
import { shardNames, shardsOf } from "./shards.js";
import type { Weight } from "./weight.js";

/** The content of `model.json`: https://www.tensorflow.org/js/guide/conversion */
export interface GraphModelJson {
  format: "graph-model";
  generatedBy: string;
  convertedBy: string;
  signature: Record<"inputs" | "outputs", Record<string, TensorInfo>>;
  modelTopology: { node: GraphBuilder["nodes"]; library: Record<string, never>; versions: { producer: number } };
  weightsManifest: { paths: string[]; weights: WeightEntry[] }[];
}

interface WeightEntry {
  name: string;
  shape: number[];
  dtype: "float32" | "int32";
  quantization?: Quantization;
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
        paths: shardNames(weightBytes(graph, "float32")),
        weights: [...graph.weights].map(([name, { shape, dtype }]) => ({ name, shape: [...shape], dtype })),
      },
    ],
  };
}

/**
 * Writes a backbone's folder: `model.json`, weights in shards of 4 MB, `backbone.json`. The folder is filled under a
 * temporary name and then renamed, so that it is whole or absent; a backbone that was there is replaced.
 *
 * @param options.precision of the weights in their files; float32 where undefined.
 * @throws UserError where `dir` holds something other than a backbone, or cannot be written.
 */
export async function writeGraphModel(options: {
  dir: string;
  graph: GraphBuilder;
  model: GraphModelJson;
  manifest: BackboneManifest;
  precision?: Precision;
}): Promise<void> {
  const { dir, graph, model, manifest, precision = "float32" } = options;
  const hint = "Choose another folder, or another title.";
  const fill = async (folder: string) => {
    const size = weightBytes(graph, precision);
    const paths = shardNames(size);
    const weights: WeightEntry[] = [];
    let written = 0;
    for await (const shard of shardsOf({ bytes: size, weights: bytesOf(graph, precision, weights) })) {
      await writeFileAtomic(path.join(folder, paths[written++]!), shard);
    }
    const weightsManifest: GraphModelJson["weightsManifest"] = [{ paths, weights }];
    await writeFileAtomic(path.join(folder, "model.json"), JSON.stringify({ ...model, weightsManifest }));
    await writeJson(path.join(folder, "backbone.json"), manifest);
  };
  await writeFolderAtomic({ dir, mark: "backbone.json", kind: "a backbone", hint, fill });
}

/** @param entries gets what the manifest says of each weight; a range of numbers is known once they are read. */
async function* bytesOf(graph: GraphBuilder, precision: Precision, entries: WeightEntry[]): AsyncIterable<Uint8Array> {
  for (const [name, weight] of graph.weights) {
    const { bytes, quantization } = store({ name, weight, values: await valuesOf(name, weight), precision });
    const { shape, dtype } = weight;
    entries.push({ name, shape: [...shape], dtype, ...(quantization && { quantization }) });
    yield bytes;
  }
}

/** The numbers of a weight as they lie in a file, little-endian. */
export async function weightBytesOf(name: string, weight: Weight): Promise<Uint8Array> {
  return store({ name, weight, values: await valuesOf(name, weight), precision: "float32" }).bytes;
}

async function valuesOf(name: string, weight: Weight): Promise<Float32Array | Int32Array> {
  const values = await weight.read();
  if (values.length !== lengthOf(weight.shape)) throw new Error(`${name} has ${values.length} values`);
  return values;
}

function weightBytes(graph: GraphBuilder, precision: Precision): number {
  return [...graph.weights.values()].reduce((sum, weight) => sum + storedBytes(weight, precision), 0);
}

function lengthOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** A tensor of a signature. */
export function tensorInfo({ node, shape }: GraphTensor): TensorInfo {
  const dim = [-1, ...shape].map((size) => ({ size: String(size) }));
  return { name: `${node}:0`, dtype: "DT_FLOAT", tensorShape: { dim } };
}
