import { readFileSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

interface ModelJson {
  modelTopology: { node: { name: string; op: string; input?: string[] }[] };
  weightsManifest: { paths: string[]; weights: tf.io.WeightsManifestEntry[] }[];
  signature: object;
  userDefinedMetadata: { classifier: unknown };
}

export function readModelJson(dir: string): ModelJson {
  return JSON.parse(readFileSync(path.join(dir, "model.json"), "utf8")) as ModelJson;
}

/** Opens a graph model by TensorFlow.js alone, as a program does that knows nothing of us. */
export async function loadPlain(dir: string): Promise<tf.GraphModel> {
  const { modelTopology, weightsManifest, signature, userDefinedMetadata } = readModelJson(dir);
  const bytes = weightsManifest.flatMap(({ paths }) => paths.map((name) => readFileSync(path.join(dir, name))));
  return tf.loadGraphModel(
    tf.io.fromMemory({
      format: "graph-model",
      modelTopology,
      signature,
      userDefinedMetadata,
      weightSpecs: weightsManifest.flatMap(({ weights }) => weights),
      weightData: new Uint8Array(Buffer.concat(bytes)).buffer,
    }),
  );
}
