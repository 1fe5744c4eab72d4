import type { ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import { foldBatchNorm } from "../lib/convert/batch-norm.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import type { GraphBuilder, GraphTensor } from "../lib/convert/graph-builder.js";
import { reshape } from "../lib/convert/rearrange.js";
import { convolutionKernel, permuted } from "../lib/convert/weight.js";
import { cifarTransform } from "./cifar-resnet.js";

/**
 * VGG 11, 13, 16 and 19, with and without batch norm. Simonyan and Zisserman 2014, https://arxiv.org/abs/1409.1556.
 *
 * Names as in torchvision and, of the classifier, in timm, which writes its Linears as convolutions; networks for CIFAR
 * (a map of one position before the classifier) have torchvision's. Of what has no weights, a max pool is told from a
 * ReLU by the gaps in the numbers of `features`.
 */
export const vgg: ArchitectureFamily = {
  name: "vgg",
  archs: [11, 13, 16, 19].flatMap((depth) => [`vgg${depth}`, `vgg${depth}_bn`]),
  marker: "features.0.weight",
  recognise: (tensors, arch) => {
    const network = networkOf(tensors);
    if (!network || (arch !== undefined && arch !== network.arch)) return undefined;
    const { side, classes, matrices } = network;
    const isCifar = side === 1 && matrices.length > 0;
    const size = isCifar ? 32 : 224;
    return {
      arch: network.arch,
      input: { height: size, width: size },
      transform: isCifar ? cifarTransform(classes) : "resize(256,bilinear)|center_crop(224)|normalize(imagenet)",
      build: (graph, weights) => build(graph, weights, network),
    };
  },
};

interface Network {
  arch: string;
  /** Between two pools: convolutions by their number in `features`. */
  stages: { index: number; channels: number }[][];
  hasNorms: boolean;
  /** Positions on a side of the map that the classifier takes. */
  side: number;
  /** Linears of the classifier, in their order; empty where the checkpoint has none. */
  matrices: string[];
  /** Numbers that the last of them gives. */
  classes?: number;
}

function networkOf(tensors: TensorShapes): Network | undefined {
  const names = [...tensors.keys()].filter((name) => name.startsWith("features."));
  if (!names.every((name) => /^features\.\d+\.(weight|bias|running_mean|running_var|num_batches_tracked)$/.test(name)))
    return undefined;
  const convolutions = names
    .flatMap((name) => {
      const { shape } = tensors.get(name)!;
      return shape.length === 4 ? [{ index: Number(name.split(".")[1]), channels: shape[0]!, side: shape[3]! }] : [];
    })
    .sort((left, right) => left.index - right.index);
  if (convolutions.some(({ side }) => side !== 3)) return undefined;
  const hasNorms = tensors.has("features.1.running_mean");
  const plainGap = hasNorms ? 3 : 2;
  const stages: Network["stages"] = [[]];
  for (const [i, { index, channels }] of convolutions.entries()) {
    const gap = i === 0 ? plainGap : index - convolutions[i - 1]!.index;
    if (gap === plainGap + 1) stages.push([]);
    else if (gap !== plainGap) return undefined;
    stages.at(-1)!.push({ index, channels });
  }
  if (stages.length !== 5) return undefined;
  const channels = convolutions.at(-1)!.channels;
  const shapeOf = (name: string) => tensors.get(`${name}.weight`)?.shape;
  const torchvision = [...tensors.keys()]
    .filter((name) => /^classifier(\.\d+)?\.weight$/.test(name) && tensors.get(name)!.shape.length === 2)
    .map((name) => name.slice(0, -".weight".length))
    .sort((left, right) => numberOf(left) - numberOf(right));
  const timm = ["pre_logits.fc1", "pre_logits.fc2", "head.fc"].filter((name) => shapeOf(name) !== undefined);
  const matrices = torchvision.length > 0 ? torchvision : timm;
  const taken = matrices[0] === undefined ? [channels] : shapeOf(matrices[0])!.slice(1);
  const side = Math.sqrt(taken.reduce((product, size) => product * size) / channels);
  if (!Number.isInteger(side)) return undefined;
  const classes = tensors.get(`${matrices.at(-1)}.weight`)?.shape[0];
  const arch = `vgg${convolutions.length + 3}${hasNorms ? "_bn" : ""}`;
  return { arch, stages, hasNorms, side, matrices, classes };
}

/** `classifier.3` → 3 */
function numberOf(name: string): number {
  return Number(name.split(".")[1] ?? 0);
}

function build(graph: GraphBuilder, weights: CheckpointWeights, network: Network): void {
  const { stages, matrices } = network;
  let x = graph.input;
  for (const [stage, convolutions] of stages.entries()) {
    for (const [i, { index, channels }] of convolutions.entries()) {
      const name = `conv${stage + 1}_${i + 1}`;
      x = convolution(graph, weights, x, { name, index, channels, hasNorm: network.hasNorms });
    }
    x = graph.maxPool(`pool${stage + 1}`, x, { size: 2, stride: 2, padding: 0 });
    graph.tap(`pool${stage + 1}`, x);
  }
  for (const [i, tensors] of matrices.entries()) {
    const isLast = i === matrices.length - 1;
    // The paper counts on from the five stages.
    const name = isLast ? "logits" : `fc${i + 6}`;
    const isConvolution = tensors.startsWith("pre_logits.");
    const product = linear(graph, weights, x, { name, tensors, side: i === 0 ? network.side : 1, isConvolution });
    x = isLast ? product : graph.relu(`${name}/relu`, product);
    graph.tap(name, x);
  }
}

function convolution(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  { name, index, channels, hasNorm }: { name: string; index: number; channels: number; hasNorm: boolean },
): GraphTensor {
  const plain = {
    kernel: weights.take(`features.${index}.weight`, [channels, input.shape[2]!, 3, 3]),
    bias: weights.take(`features.${index}.bias`, [channels]),
  };
  const { kernel, bias } = hasNorm
    ? foldBatchNorm({ ...plain, norm: weights.batchNorm(`features.${index + 1}`, channels, 1e-5) })
    : plain;
  const convolved = graph.conv2d(`${name}/conv`, input, convolutionKernel(kernel), { padding: 1 });
  return graph.relu(`${name}/relu`, graph.biasAdd(`${name}/bias_add`, convolved, bias));
}

/**
 * A Linear, or timm's convolution in its place. PyTorch flattens a map channel by channel, the graph's is position by
 * position.
 *
 * @param options.side of the map that it takes; 1 of a vector.
 */
function linear(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  { name, tensors, side, isConvolution }: { name: string; tensors: string; side: number; isConvolution: boolean },
): GraphTensor {
  const channels = input.shape.at(-1)!;
  const length = side * side * channels;
  const weight = weights.take(`${tensors}.weight`, isConvolution ? [null, channels, side, side] : [null, length]);
  const [out] = weight.shape as [number];
  const matrix = permuted({ ...weight, shape: [out, channels, side, side] }, [2, 3, 1, 0]);
  const vector = input.shape.length === 1 ? input : flattened(graph, name, input, side);
  const product = graph.matMul(`${name}/mat_mul`, vector, { ...matrix, shape: [length, out] });
  const bias = `${tensors}.bias`;
  return weights.has(bias) ? graph.biasAdd(`${name}/bias_add`, product, weights.take(bias, [out])) : product;
}

/** A map as a vector, of its mean over so many positions on a side. */
function flattened(graph: GraphBuilder, name: string, map: GraphTensor, side: number): GraphTensor {
  const [height, , channels] = map.shape as [number, number, number];
  const size = height / side;
  if (!Number.isInteger(size)) throw new Error(`${name} takes ${side} × ${side} positions but is given ${height}`);
  const pooled = size === 1 ? map : graph.averagePool(`${name}/pool`, map, { size, stride: size, padding: 0 });
  return reshape(graph, `${name}/flat`, pooled, [side * side * channels]);
}
