import path from "node:path";

import { manifestSchema } from "../lib/backbones/manifest.js";
import { GraphBuilder } from "../lib/convert/graph-builder.js";
import { graphModelJson, writeGraphModel } from "../lib/convert/graph-model.js";
import { convolutionKernel, type FloatWeight } from "../lib/convert/weight.js";
import { random } from "../lib/random.js";

export interface SmallBackboneOptions {
  /** Folder of backbones; this one goes to `<root>/small/convnet`. */
  root: string;
  /** Height and width of the images that enter. */
  size?: number;
  /** Channels of the first block. */
  channels?: number;
  /** Another seed is another set of weights. */
  seed?: number;
}

/**
 * Writes a backbone of two convolutions with random weights, on images of 32 × 32: block0 (32 × 32 × 8), block1
 * (16 × 16 × 16), and its mean, features (16).
 *
 * @returns its folder.
 */
export async function writeSmallBackbone(options: SmallBackboneOptions): Promise<string> {
  const { root, size = 32, channels = 8, seed = 0 } = options;
  const stream = random(seed, "small backbone");
  const kernel = (channelsOut: number, channelsIn: number): FloatWeight => {
    const scale = Math.sqrt(2 / (9 * channelsIn));
    const values = Float32Array.from({ length: channelsOut * channelsIn * 9 }, () => scale * stream.normal());
    return { shape: [channelsOut, channelsIn, 3, 3], dtype: "float32", read: () => Promise.resolve(values) };
  };
  const graph = new GraphBuilder({ height: size, width: size });
  const conv0 = graph.conv2d("conv0", graph.input, convolutionKernel(kernel(channels, 3)), { padding: 1 });
  const block0 = graph.relu("block0", conv0);
  const wide = convolutionKernel(kernel(16, channels));
  const block1 = graph.relu("block1", graph.conv2d("conv1", block0, wide, { stride: 2, padding: 1 }));
  graph.tap("block0", block0);
  graph.tap("block1", block1);
  graph.tap("features", graph.globalAveragePool("features", block1));
  const manifest = manifestSchema.parse({
    format: 1,
    title: "small",
    arch: "convnet",
    input: { node: graph.input.node, height: size, width: size, batch: "any" },
    transform: `resize(${size + 4},bilinear)|center_crop(${size})|normalize(imagenet)`,
    taps: graph.taps.map(({ name, tensor, pooling }) => ({
      name,
      node: tensor.node,
      kind: tensor.shape.length === 1 ? "vector" : "map",
      shape: tensor.shape,
      pooling,
    })),
    source: { checkpoint: "random weights" },
    precision: "float32",
  });
  const dir = path.join(root, "small", "convnet");
  await writeGraphModel({ dir, graph, model: graphModelJson(graph), manifest });
  return dir;
}
