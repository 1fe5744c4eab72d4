import type { ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import { linear } from "../lib/convert/classifier.js";
import { normalisedConvolution } from "../lib/convert/convolution.js";
import type { GraphBuilder, GraphTensor } from "../lib/convert/graph-builder.js";
import { meanMap } from "../lib/convert/mean-map.js";
import { concatenate, reshape, transpose } from "../lib/convert/rearrange.js";
import { epsilon, residualStages, type ResidualBlock } from "../lib/convert/residual-block.js";
import { constant, convolutionKernel, type FloatWeight } from "../lib/convert/weight.js";

/**
 * The ResNets of CLIP: a stem of three convolutions, means of 2×2 positions in place of strides and of the max pool, and
 * attention over all positions for the embedding, the tap `attnpool`.
 *
 * Radford et al. 2021, https://arxiv.org/abs/2103.00020; names as in https://github.com/openai/CLIP and OpenCLIP.
 */
export const clipResnet: ArchitectureFamily = {
  name: "clip-resnet",
  archs: ["clip_rn50", "clip_rn101", "clip_rn50x4", "clip_rn50x16", "clip_rn50x64"],
  marker: "attnpool.positional_embedding",
  recognise: (tensors, arch) => {
    const network = networkOf(tensors);
    if (!network || (arch !== undefined && arch !== network.arch)) return undefined;
    const { side } = network;
    return {
      arch: network.arch,
      input: { height: side, width: side },
      transform: `resize(${side},bicubic)|center_crop(${side})|normalize(clip)`,
      build: (graph, weights) => build(graph, weights, network),
    };
  },
};

interface Network {
  arch: string;
  /** Of the images: 32 times that of the map which attention is over. */
  side: number;
  /** Channels of the stem's convolutions. */
  stem: number[];
  stages: ResidualBlock[][];
}

const published: Record<string, string> = {
  "64: 3, 4, 6, 3": "clip_rn50",
  "64: 3, 4, 23, 3": "clip_rn101",
  "80: 4, 6, 10, 6": "clip_rn50x4",
  "96: 6, 8, 18, 8": "clip_rn50x16",
  "128: 3, 15, 36, 10": "clip_rn50x64",
};

function networkOf(tensors: TensorShapes): Network | undefined {
  const stem = [1, 2, 3].map((i) => tensors.get(`conv${i}.weight`)?.shape[0] ?? 0);
  const stages = residualStages(tensors);
  const positions = tensors.get("attnpool.positional_embedding")?.shape[0];
  if (stem.includes(0) || stages?.length !== 4 || positions === undefined) return undefined;
  const width = stem[2]!;
  const arch = published[`${width}: ${stages.map((blocks) => blocks.length).join(", ")}`] ?? `clip_resnet_w${width}`;
  return { arch, side: 32 * Math.round(Math.sqrt(positions - 1)), stem, stages };
}

function build(graph: GraphBuilder, weights: CheckpointWeights, { stem, stages }: Network): void {
  let x = graph.input;
  for (const [i, channels] of stem.entries()) {
    x = normalisedConvolution(graph, weights, x, {
      name: `conv1/part${i}`,
      kernel: `conv${i + 1}.weight`,
      norm: { name: `bn${i + 1}`, epsilon },
      channels,
      size: 3,
      stride: i === 0 ? 2 : 1,
      padding: 1,
      activation: "relu",
    });
  }
  graph.tap("conv1", x);
  x = halved(graph, "res1", x);
  graph.tap("res1", x);
  for (const [stage, blocks] of stages.entries()) {
    const name = `res${stage + 2}`;
    for (const [i, block] of blocks.entries()) x = bottleneck(graph, weights, x, `${name}/block${i}`, block);
    graph.tap(name, x);
  }
  graph.tap("res5avg", graph.globalAveragePool("res5avg", x));
  graph.tap("attnpool", attentionPool(graph, weights, x));
}

/** The mean of each 2×2 positions; an odd last row or column is left out, as in PyTorch. */
function halved(graph: GraphBuilder, name: string, input: GraphTensor): GraphTensor {
  return graph.averagePool(name, input, { size: 2, stride: 2, padding: 0 });
}

function bottleneck(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  name: string,
  { tensors, width, channels, stride, shortcut }: ResidualBlock,
): GraphTensor {
  const part = (x: GraphTensor, kernel: string, norm: string, options: Partial<Convolution>) =>
    normalisedConvolution(graph, weights, x, {
      name: `${name}/${kernel}`,
      kernel: `${tensors}.${kernel}.weight`,
      norm: { name: `${tensors}.${norm}`, epsilon },
      channels,
      size: 1,
      padding: 0,
      ...options,
    });
  let x = part(input, "conv1", "bn1", { channels: width, activation: "relu" });
  x = part(x, "conv2", "bn2", { channels: width, size: 3, padding: 1, activation: "relu" });
  if (stride === 2) x = halved(graph, `${name}/pool`, x);
  x = part(x, "conv3", "bn3", {});
  let aside = input;
  if (stride === 2) aside = halved(graph, `${name}/downsample/pool`, aside);
  if (shortcut.kind === "projection") aside = part(aside, "downsample.0", "downsample.1", {});
  return graph.relu(`${name}/relu`, graph.add(`${name}/add`, x, aside));
}

type Convolution = Parameters<typeof normalisedConvolution>[3];

const channelsOfHead = 64;

/** Attention of the mean over all positions to the mean and each of them; heads have 64 channels. */
function attentionPool(graph: GraphBuilder, weights: CheckpointWeights, map: GraphTensor): GraphTensor {
  const [height, width, channels] = map.shape as [number, number, number];
  const tokens = height * width + 1;
  const heads = channels / channelsOfHead;
  const at = (name: string) => `attnpool/${name}`;
  const mean = meanMap(graph, at("mean"), map);
  const positions = reshape(graph, at("positions"), map, [height * width, 1, channels]);
  const embedding = weights.take("attnpool.positional_embedding", [tokens, channels]);
  const embedded = (name: string, x: GraphTensor, rows: FloatWeight) =>
    graph.operation({ name, op: "AddV2", inputs: [x, { ...rows, shape: [x.shape[0]!, 1, channels] }], shape: x.shape });
  const first: FloatWeight = {
    ...embedding,
    shape: [1, channels],
    read: async () => (await embedding.read()).slice(0, channels),
  };
  const query = embedded(at("query"), mean, first);
  const all = embedded(at("all"), concatenate(graph, at("concat"), [mean, positions], 0), embedding);
  // A Linear of every token: a convolution of a map of one column.
  const projected = (x: GraphTensor, part: "q" | "k" | "v") => {
    const name = at(`${part}_proj`);
    const matrix = weights.take(`attnpool.${part}_proj.weight`, [channels, channels]);
    const kernel = convolutionKernel({ ...matrix, shape: [channels, channels, 1, 1] });
    const product = graph.conv2d(`${name}/conv`, x, kernel, { padding: 0 });
    const shifted = graph.biasAdd(`${name}/bias_add`, product, weights.take(`attnpool.${part}_proj.bias`, [channels]));
    const apart = reshape(graph, `${name}/heads`, shifted, [x.shape[0]!, heads, channelsOfHead]);
    return transpose(graph, `${name}/first`, apart, [1, 0, 2]);
  };
  const scaled = graph.operation({
    name: at("scaled"),
    op: "Mul",
    inputs: [projected(query, "q"), constant([channelsOfHead ** -0.5], "float32", [])],
    shape: [heads, 1, channelsOfHead],
  });
  const product = (name: string, left: GraphTensor, right: GraphTensor, transposed: boolean, size: number) =>
    graph.operation({
      name: at(name),
      op: "BatchMatMulV2",
      inputs: [left, right],
      shape: [heads, 1, size],
      attr: { adj_x: { b: false }, adj_y: { b: transposed } },
    });
  const scores = product("scores", scaled, projected(all, "k"), true, tokens);
  const share = graph.operation({ name: at("softmax"), op: "Softmax", inputs: [scores], shape: scores.shape });
  const mixed = product("mixed", share, projected(all, "v"), false, channelsOfHead);
  const joined = reshape(graph, at("joined"), mixed, [channels]);
  return linear(graph, weights, joined, { name: at("c_proj"), layer: "attnpool.c_proj" });
}
