import type { TensorShapes } from "./architecture.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import { normalisedConvolution } from "./convolution.js";
import type { GraphBuilder, GraphTensor, Padding } from "./graph-builder.js";
import { groupedConvolution } from "./grouped-convolution.js";
import { everySecond, padWithZeros } from "./rearrange.js";

/** A block of a residual network, as torchvision names its tensors. He et al. 2015, https://arxiv.org/abs/1512.03385 */
export interface ResidualBlock {
  /** Before its tensors' names, e.g. `layer1.0`. */
  tensors: string;
  /** `basic`: 3×3, 3×3; `bottleneck`: 1×1, 3×3, 1×1. */
  kind: "basic" | "bottleneck";
  /** Channels within. */
  width: number;
  /** Of the 3×3 convolution of a bottleneck. */
  groups: number;
  /** Channels of the result. */
  channels: number;
  /** Of a bottleneck's 3×3 convolution, of a basic block's first. */
  stride: number;
  shortcut: Shortcut;
}

/**
 * How the input reaches the sum.
 *
 * - `identity`: as it is
 * - `zeros`: every second position, with channels of zeros around its own; the paper's option A
 * - `projection`: a 1×1 convolution with the block's stride
 * - `average`: the mean of 2×2 positions, then a 1×1 convolution
 */
export type Shortcut =
  { kind: "identity" | "zeros" } | { kind: "projection" | "average"; convolution: string; norm: string };

/** Of BatchNorm2d, and of TensorFlow's ResNets. */
export const epsilon = 1e-5;

/**
 * The blocks of `layer1`, `layer2`, …, stage by stage.
 *
 * Not seen in the shapes: every stage but the first begins with a stride of 2.
 *
 * @returns undefined where a stage has tensors that plain residual blocks do not have: attention, another norm.
 */
export function residualStages(tensors: TensorShapes): ResidualBlock[][] | undefined {
  const own = [...tensors.keys()].filter((name) => /^layer\d/.test(name));
  const known =
    /^layer\d\.\d+\.(conv[123]\.weight|bn[123]\.[a-z_]+|(downsample|shortcut)\.[012]\.(weight|bias|running_mean|running_var|num_batches_tracked))$/;
  if (!own.every((name) => known.test(name))) return undefined;
  const stages: ResidualBlock[][] = [];
  for (let stage = 1; tensors.has(`layer${stage}.0.conv1.weight`); stage++) {
    const blocks: ResidualBlock[] = [];
    for (let index = 0; tensors.has(`layer${stage}.${index}.conv1.weight`); index++) {
      const block = blockOf(tensors, `layer${stage}.${index}`, stage > 1 && index === 0 ? 2 : 1);
      if (!block) return undefined;
      blocks.push(block);
    }
    stages.push(blocks);
  }
  return stages;
}

function blockOf(tensors: TensorShapes, name: string, stride: number): ResidualBlock | undefined {
  const shapeOf = (part: string) => tensors.get(`${name}.${part}.weight`)?.shape;
  const [first, second, third] = [shapeOf("conv1"), shapeOf("conv2"), shapeOf("conv3")];
  if (first?.length !== 4 || second?.length !== 4) return undefined;
  const [kind, side] = third ? (["bottleneck", 1] as const) : (["basic", 3] as const);
  const [out, channelsOfGroup, rows] = second as [number, number, number];
  const groups = out / channelsOfGroup;
  if (first[2] !== side || rows !== 3 || !Number.isInteger(groups)) return undefined;
  if (kind === "basic" && groups !== 1) return undefined;
  const channels = third ? third[0]! : out;
  return {
    tensors: name,
    kind,
    width: first[0]!,
    groups,
    channels,
    stride,
    shortcut: shortcutOf(tensors, name, stride),
  };
}

function shortcutOf(tensors: TensorShapes, name: string, stride: number): Shortcut {
  const isKernel = (part: string) => tensors.get(`${name}.${part}.weight`)?.shape.length === 4;
  for (const part of ["downsample", "shortcut"]) {
    const at = (index: number) => `${name}.${part}.${index}`;
    if (isKernel(`${part}.0`)) return { kind: "projection", convolution: `${at(0)}.weight`, norm: at(1) };
    if (isKernel(`${part}.1`)) return { kind: "average", convolution: `${at(1)}.weight`, norm: at(2) };
  }
  return { kind: stride === 1 ? "identity" : "zeros" };
}

export interface ResidualOptions {
  /** Of the block's nodes. */
  name: string;
  block: ResidualBlock;
  /** `same` is TensorFlow's; `symmetric`, PyTorch's, is as much on each side. */
  padding: "symmetric" | "same";
}

export function residualBlock(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  { name, block, padding }: ResidualOptions,
): GraphTensor {
  const { tensors, kind, width, channels, stride } = block;
  const around = (size: number): Padding => (padding === "same" ? "same" : (size - 1) / 2);
  const convolution = (x: GraphTensor, index: 1 | 2 | 3, options: Partial<GroupedConvolution>): GraphTensor => {
    const { size = 1 } = options;
    return groupedConvolution(graph, weights, x, {
      name: `${name}/conv${index}`,
      kernel: `${tensors}.conv${index}.weight`,
      norm: { name: `${tensors}.bn${index}`, epsilon },
      channels: width,
      size,
      groups: 1,
      padding: around(size),
      ...options,
    });
  };
  let x: GraphTensor;
  if (kind === "basic") {
    x = convolution(input, 1, { size: 3, stride, activation: "relu" });
    x = convolution(x, 2, { size: 3, channels });
  } else {
    x = convolution(input, 1, { activation: "relu" });
    x = convolution(x, 2, { size: 3, stride, groups: block.groups, activation: "relu" });
    x = convolution(x, 3, { channels });
  }
  const sum = graph.add(`${name}/add`, x, shortcut(graph, weights, input, { name: `${name}/shortcut`, block }));
  return graph.relu(`${name}/relu`, sum);
}

type GroupedConvolution = Parameters<typeof groupedConvolution>[3];

function shortcut(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  { name, block }: { name: string; block: ResidualBlock },
): GraphTensor {
  const { channels, stride, shortcut } = block;
  switch (shortcut.kind) {
    case "identity":
      return input;
    case "zeros": {
      const missing = channels - input.shape[2]!;
      const before = Math.floor(missing / 2);
      const positions = everySecond(graph, `${name}/positions`, input);
      return padWithZeros(graph, `${name}/channels`, positions, [[0, 0], [0, 0], [before, missing - before]]); // prettier-ignore
    }
    default: {
      const { convolution, norm, kind } = shortcut;
      const options = { name, kernel: convolution, norm: { name: norm, epsilon }, channels, size: 1, padding: 0 };
      if (kind === "projection") return normalisedConvolution(graph, weights, input, { ...options, stride });
      // An edge of one row or column is averaged alone.
      const averaged =
        stride === 1 ? input : graph.averagePool(`${name}/pool`, input, { size: 2, stride, padding: "same" });
      return normalisedConvolution(graph, weights, averaged, options);
    }
  }
}
