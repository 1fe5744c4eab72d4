import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { readCheckpoint, type Checkpoint } from "../../lib/checkpoints/checkpoint.js";
import { CheckpointWeights } from "../../lib/convert/checkpoint-weights.js";
import { GraphBuilder } from "../../lib/convert/graph-builder.js";
import { graphModelJson } from "../../lib/convert/graph-model.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { families, recogniseArchitecture } from "../../models/index.js";

export interface Images {
  /** [batch, height, width, 3] */
  shape: [number, number, number, number];
  values: Float32Array;
}

/** The images of bench/peers/golden_resnets.py. */
export function goldenImages(count: number, side: number): Images {
  const values = Float32Array.from({ length: count * side * side * 3 }, (_, i) => ((i * 7919) % 251) / 125 - 1);
  return { shape: [count, side, side, 3], values };
}

/** Images that are stored. */
export async function storedImages(file: string): Promise<Images> {
  const { shape, data } = await readNpy({ file });
  return { shape: shape as Images["shape"], values: data as Float32Array };
}

/** The network of a checkpoint, written for images of that size, and its tensors that are not in it. */
export function buildNetwork(options: {
  checkpoint: Pick<Checkpoint, "file" | "tensors">;
  images: Pick<Images, "shape">;
  arch?: string;
}) {
  const { checkpoint, images } = options;
  const asked = families.flatMap((family) => family.recognise(checkpoint.tensors, options.arch) ?? [])[0];
  const { architecture, prefix } =
    options.arch !== undefined && asked ? { architecture: asked, prefix: "" } : recogniseArchitecture({ checkpoint });
  const graph = new GraphBuilder({ height: images.shape[1], width: images.shape[2] });
  const weights = new CheckpointWeights(checkpoint, architecture.arch, prefix);
  architecture.build(graph, weights);
  return { architecture, prefix, graph, unused: weights.unused() };
}

export async function loadGraph(graph: GraphBuilder): Promise<tf.GraphModel> {
  const { modelTopology, weightsManifest } = graphModelJson(graph);
  const values: Uint8Array[] = [];
  for (const weight of graph.weights.values()) {
    const { buffer, byteOffset, byteLength } = await weight.read();
    values.push(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return tf.loadGraphModel({
    load: async () => ({
      format: "graph-model",
      modelTopology,
      weightSpecs: weightsManifest[0]!.weights,
      weightData: values.map((bytes) => bytes.slice().buffer),
    }),
  });
}

/**
 * How far a network's taps are from stored ones, each relative to the largest value of its tap.
 *
 * @param options.folder holds weights.pth and `<tap>.npy`.
 * @param options.stored file of a tap, without `.npy`, where it is not the tap's name.
 */
export async function tapErrors(options: {
  folder: string;
  images: Images;
  taps: readonly string[];
  stored?: Record<string, string>;
  checkpoint?: Pick<Checkpoint, "file" | "tensors">;
  arch?: string;
}): Promise<Record<string, number>> {
  const { folder, images, taps, stored = {}, arch } = options;
  const checkpoint = options.checkpoint ?? (await readCheckpoint({ file: path.join(folder, "weights.pth") }));
  const { graph } = buildNetwork({ checkpoint, images, arch });
  const tensors = taps.map((name) => graph.taps.find((tap) => tap.name === name)!.tensor);
  const model = await loadGraph(graph);
  const input = tf.tensor4d(images.values, images.shape);
  const nodes = tensors.map(({ node }) => node);
  const outputs = [model.execute({ [graph.input.node]: input }, nodes)].flat();
  const errors: Record<string, number> = {};
  for (const [i, tap] of taps.entries()) {
    const expected = await readNpy({ file: path.join(folder, `${stored[tap] ?? tap}.npy`) });
    expect([tap, outputs[i]!.shape]).toEqual([tap, expected.shape]);
    expect([tap, [images.shape[0], ...tensors[i]!.shape]]).toEqual([tap, expected.shape]);
    errors[tap] = relativeError(await outputs[i]!.data(), expected.data as Float32Array);
  }
  tf.dispose([input, outputs]);
  model.dispose();
  return errors;
}

function relativeError(values: ArrayLike<number>, expected: Float32Array): number {
  let [largest, furthest] = [0, 0];
  for (const [i, value] of expected.entries()) {
    largest = Math.max(largest, Math.abs(value));
    furthest = Math.max(furthest, Math.abs(value - values[i]!));
  }
  return furthest / largest;
}
