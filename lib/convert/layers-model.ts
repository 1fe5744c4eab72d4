import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { ensureBackend } from "../backend/backend.js";
import { digestOfGraph, readWeights, type LayersFiles } from "../backbones/graph-files.js";
import type { BackboneManifest } from "../backbones/manifest.js";
import { messageOf, UserError } from "../errors.js";
import { random } from "../random.js";
import type { GraphBuilder } from "./graph-builder.js";
import { graphModelJson, weightBytesOf } from "./graph-model.js";
import { expectNames, writeImported, type ImportedBackbone, type ImportOptions } from "./import.js";
import { predictTaps } from "./layers/predict.js";
import { traceLayers, type TracedModel } from "./layers/trace.js";
import { proveConversion } from "./proof.js";
import { relativeError } from "./tap-difference.js";

export interface ImportLayersModelOptions extends Omit<ImportOptions, "title" | "file"> {
  files: LayersFiles;
  /** The folder's name where undefined. */
  title?: string;
  /** The model's own name where undefined. */
  arch?: string;
  /** Of a model that takes images of any size: height and width; 224 where undefined. */
  imageSize?: number;
}

/** Two ways of computing the same in single precision are nearer than this, relative to a tap's largest number. */
const tolerance = 1e-3;

/**
 * Writes a Keras LayersModel of TensorFlow.js's as a GraphModel with its manifest and a tap a layer. On a random image,
 * each tap is compared with what the layers themselves give.
 *
 * @throws UserError where TensorFlow.js cannot load the model, a layer cannot be written (it is named), or a tap
 * differs; nothing is written then.
 */
export async function importLayersModel(options: ImportLayersModelOptions): Promise<ImportedBackbone> {
  const { files, precision = "float32", verify } = options;
  await ensureBackend();
  const model = await load(files);
  try {
    const title = options.title ?? path.basename(path.dirname(path.resolve(files.modelFile)));
    const arch = options.arch ?? model.name.replace(/[^A-Za-z0-9._-]/g, "_");
    expectNames({ title, arch });
    const { graph, traced } = traceLayers({ model, side: options.imageSize });
    const proof: BackboneManifest["proof"] = {
      ...(await proveConversion({ graph, precision, verify })),
      predict: await compareWithLayers(graph, traced),
    };
    const shapes = new Map([...graph.shapes].map(([name, shape]) => [name, [1, ...shape]]));
    const sha256 = await digestOfGraph(files);
    const file = files.modelFile;
    return await writeImported({ ...options, file, title, arch, graph, shapes, batch: "any", proof, sha256 });
  } finally {
    // `model.dispose` keeps the weights of a layer that is used twice.
    for (const weight of model.weights) weight.dispose();
  }
}

async function load({ modelFile, json, weightFiles }: LayersFiles): Promise<tf.LayersModel> {
  const artifacts: tf.io.ModelArtifacts = {
    modelTopology: json.modelTopology,
    weightSpecs: json.weightsManifest.flatMap(({ weights }) => weights) as unknown as tf.io.WeightsManifestEntry[],
    weightData: await Promise.all(weightFiles.map(readWeights)),
  };
  try {
    return await tf.loadLayersModel({ load: async () => artifacts });
  } catch (error) {
    throw new UserError(
      `Expected a Keras LayersModel at ${modelFile} but TensorFlow.js cannot load it: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/** What the graph gives at each tap. */
async function tapsOf(graph: GraphBuilder, images: tf.Tensor4D): Promise<tf.Tensor[]> {
  const { modelTopology, weightsManifest } = graphModelJson(graph);
  const weights: ArrayBuffer[] = [];
  for (const [name, weight] of graph.weights) weights.push(Uint8Array.from(await weightBytesOf(name, weight)).buffer);
  const artifacts: tf.io.ModelArtifacts = {
    format: "graph-model",
    modelTopology,
    weightSpecs: weightsManifest[0]!.weights,
    weightData: weights,
  };
  const model = await tf.loadGraphModel({ load: async () => artifacts });
  const nodes = graph.taps.map(({ tensor }) => tensor.node);
  const results = model.execute({ [graph.input.node]: images }, nodes);
  model.dispose();
  return [results].flat();
}

/** @throws UserError where a tap differs from what the layers give. */
async function compareWithLayers(graph: GraphBuilder, traced: TracedModel) {
  const stream = random(0, "proof of a LayersModel");
  const { shape } = graph.input;
  const values = Float32Array.from({ length: shape.reduce((product, size) => product * size, 1) }, () =>
    stream.normal(),
  );
  const images = tf.tensor4d(values, [1, ...shape] as [number, number, number, number]);
  const wanted = predictTaps(traced, [images]);
  const given = await tapsOf(graph, images);
  try {
    let worst = { name: "", error: 0 };
    for (const [i, { name }] of graph.taps.entries()) {
      const error = await relativeError(given[i]!, wanted.get(name)!);
      if (!(error <= worst.error)) worst = { name, error };
    }
    if (worst.error <= tolerance) return { layers: graph.taps.length, error: worst.error };
    throw new UserError(
      `Expected the converted model to agree to ${tolerance} with its layers but ${worst.name} differs by ` +
        worst.error.toPrecision(2),
      { hint: "Nothing was written." },
    );
  } finally {
    tf.dispose([images, ...wanted.values(), ...given]);
  }
}
