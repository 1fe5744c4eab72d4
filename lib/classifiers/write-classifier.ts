import path from "node:path";

import { weightBytes } from "../backbones/graph-files.js";
import type { WeightSpec } from "../backbones/graph.js";
import type { GraphBuilder } from "../convert/graph-builder.js";
import { tensorInfo, weightBytesOf } from "../convert/graph-model.js";
import { shardNames, shardsOf } from "../convert/shards.js";
import { writeFileAtomic, writeJson } from "../files.js";
import { writeFolderAtomic } from "../folders.js";
import type { BackbonePart } from "./backbone-part.js";
import { manifestName, type ClassifierManifest } from "./manifest.js";

/**
 * Writes a classifier's folder whole or not at all; a classifier that was there is replaced.
 *
 * @param options.backbone what `graph` goes on from, where it does.
 * @returns the size of all weights.
 */
export async function writeClassifier(options: {
  dir: string;
  graph: GraphBuilder;
  backbone?: BackbonePart;
  manifest: ClassifierManifest;
}): Promise<{ bytes: number }> {
  const { dir, graph, backbone, manifest } = options;
  const added = [...graph.weights].map(([name, { shape, dtype }]): WeightSpec => ({ name, shape: [...shape], dtype }));
  const specs = [...(backbone?.weights ?? []), ...added];
  const bytes = specs.reduce((sum, spec) => sum + weightBytes(spec), 0);
  const paths = shardNames(bytes);
  const model = {
    format: "graph-model",
    generatedBy: "frozen-eval",
    convertedBy: "frozen-eval",
    signature: signatureOf(graph, manifest),
    // Operations as TensorFlow 2.9 defines them.
    modelTopology: { library: {}, versions: { producer: 1087 }, ...backbone?.topology, node: graph.nodes },
    weightsManifest: [{ paths, weights: specs }],
    userDefinedMetadata: { classifier: manifest },
  };
  const fill = async (folder: string) => {
    let written = 0;
    for await (const shard of shardsOf({ bytes, weights: weightsOf(graph, backbone) })) {
      await writeFileAtomic(path.join(folder, paths[written++]!), shard);
    }
    await writeFileAtomic(path.join(folder, "model.json"), JSON.stringify(model));
    await writeJson(path.join(folder, manifestName), manifest);
  };
  const hint = "Choose another folder with --out.";
  await writeFolderAtomic({ dir, mark: manifestName, kind: "a classifier", hint, fill });
  return { bytes };
}

function signatureOf(graph: GraphBuilder, { input, outputs, classes }: ClassifierManifest) {
  const dtype = input.kind === "images" && input.dtype === "int32" ? "DT_INT32" : "DT_FLOAT";
  const scores = (node: string) => tensorInfo({ node, shape: [classes.length] });
  return {
    inputs: { [input.kind]: { ...tensorInfo(graph.input), dtype } },
    outputs: { logits: scores(outputs.logits), probabilities: scores(outputs.probabilities) },
  };
}

async function* weightsOf(graph: GraphBuilder, backbone: BackbonePart | undefined): AsyncIterable<Uint8Array> {
  if (backbone) yield* backbone.bytes();
  for (const [name, weight] of graph.weights) yield weightBytesOf(name, weight);
}
