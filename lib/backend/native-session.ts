import fs from "node:fs/promises";

import * as tf from "@tensorflow/tfjs";

import { readJson } from "../files.js";

import { graphDef, type JsonNode, type MappedWeight, plainNodes, UnsupportedGraph, type Weight } from "./graph-def.js";
import { castToHalf, type HalfPrecision, planHalf } from "./half-precision.js";
import type { WeightGroup } from "./model-weights.js";
import { loadedNative } from "./native.js";
import { openGraph } from "./saved-model.js";
import { sessionWeights } from "./session-weights.js";

export interface NativeSessionOptions {
  /** Path of a GraphModel's `model.json`; its weight files stand beside it. */
  modelJson: string;
  /** The sha256 over the JSON and the weight files. */
  digest: string;
  /** The tensors to compute, as `node` or `node:1`. */
  outputs: string[];
  /** What goes on from the graph's nodes, e.g. poolings. */
  continuation?: { nodes: JsonNode[]; weights: ReadonlyMap<string, Weight> };
  /** In which convolutions and matrix products are computed, where not in single precision. */
  half?: HalfPrecision;
  /**
   * Bytes of large weights that the graph itself holds; the others are mapped. Default: none, but on a GPU, which would
   * be sent a mapped weight at each run, as many as a message can hold.
   */
  inGraph?: number;
}

/** A GraphModel run by TensorFlow's own graph executor: one call for the whole graph, with operations fused. */
export interface NativeSession {
  /** @returns the outputs in the order asked for; the caller disposes of them. */
  run(input: tf.Tensor): tf.Tensor[];
  dispose(): void;
}

/** A protobuf message holds 2 GiB at most; the rest is for all that is no weight. */
const largest = 2 ** 31 - 2 ** 26;

/**
 * Opens a GraphModel in a session of native TensorFlow. On the same graph it is some 1.5 times as fast as executing op
 * by op, and equal to it within rounding.
 *
 * Large weights are not in the graph but in files of the cache folder ({@link sessionWeights}), which TensorFlow maps
 * into memory.
 *
 * @throws UnsupportedGraph where TensorFlow cannot run this graph, or native TensorFlow is not the backend: execute it
 * op by op instead.
 * @throws UserError where the model's files cannot be read, or the cache folder cannot be written.
 */
export async function openNativeSession(options: NativeSessionOptions): Promise<NativeSession> {
  const { modelJson, digest, outputs, continuation } = options;
  const native = loadedNative();
  if (!native || tf.getBackend() !== "tensorflow") throw new UnsupportedGraph("native TensorFlow is not the backend");
  const model = (await readJson(modelJson, "a GraphModel")) as GraphModelJson;
  const own = model.modelTopology?.node;
  if (!own) throw new UnsupportedGraph(`${modelJson} is no GraphModel`);
  const wanted = [...new Set(outputs)];
  const nodes = plainNodes({ nodes: [...own, ...(continuation?.nodes ?? [])], outputs: wanted });
  const plan = options.half && planHalf(nodes, options.half);
  const half = plan && { precision: plan.precision, names: plan.constants };
  const weights = new Map(await sessionWeights({ modelJson, groups: model.weightsManifest ?? [], digest, half }));
  continuation?.weights.forEach((weight, name) => weights.set(name, weight));
  await takeIn(weights, options.inGraph ?? (native.gpu ? largest : 0));
  const weight = (name: string) => weights.get(name);
  const isHalf = (name: string) => /^b?float16$/.test(weight(name)?.dtype ?? "");
  const fed = nodes.find(({ op }) => op === "Placeholder")!;
  const written = plan ? castToHalf({ nodes, outputs: wanted, plan, isHalf }) : { nodes, outputs: wanted };
  const session = await openGraph({
    native,
    graph: graphDef({ nodes: written.nodes, weight }),
    signatures: {
      predict: {
        inputs: [{ name: fed.name, type: fed.attr?.dtype?.type ?? "DT_FLOAT" }],
        outputs: written.outputs,
      },
    },
  });
  return {
    run: (input) => {
      const results = session.run("predict", { [fed.name]: input });
      return outputs.map((name, position) => {
        const result = results[wanted.indexOf(name)]!;
        return outputs.indexOf(name) === position ? result : result.clone();
      });
    },
    dispose: () => session.dispose(),
  };
}

interface GraphModelJson {
  modelTopology?: { node?: JsonNode[] };
  weightsManifest?: WeightGroup[];
}

/** Makes numbers of mapped weights, the first ones, as many as there is room for. */
async function takeIn(weights: Map<string, Weight | MappedWeight>, bytes: number): Promise<void> {
  let room = bytes;
  for (const [name, weight] of weights) {
    if (!("file" in weight) || weight.dtype !== "float32") continue;
    room -= weight.shape.reduce((product, size) => product * size, 4);
    if (room < 0) return;
    const { buffer, byteOffset, byteLength } = await fs.readFile(weight.file);
    const data = new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
    weights.set(name, { shape: weight.shape, dtype: weight.dtype, data });
  }
}
