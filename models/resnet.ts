import type { Architecture, ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import { classesOf, linear } from "../lib/convert/classifier.js";
import { normalisedConvolution } from "../lib/convert/convolution.js";
import type { GraphBuilder, GraphTensor } from "../lib/convert/graph-builder.js";
import { epsilon, residualBlock, residualStages, type ResidualBlock } from "../lib/convert/residual-block.js";
import { visslPooling } from "../lib/convert/vissl-pooling.js";
import { cifarTransform } from "./cifar-resnet.js";

/**
 * ResNet 18 to 200, of any width: wide ResNets, ResNeXt, timm's with a deep stem (`d`), ResNets for CIFAR with four
 * stages; and BYOL's, which have the same names and TensorFlow's padding, so that they have to be asked for.
 *
 * He et al. 2015 (https://arxiv.org/abs/1512.03385), Zagoruyko 2016 (https://arxiv.org/abs/1605.07146), Xie et al. 2016
 * (https://arxiv.org/abs/1611.05431). Names as in torchvision, which VISSL, MoCo, SwAV, DINO, Barlow Twins, VICReg and
 * timm share; BYOL's as in https://github.com/ajtejankar/byol-convert.
 *
 * What the shapes do not tell: stages begin with a stride of 2, on the 3×3 convolution; a 7×7 or deep stem has a stride
 * of 2 and a max pool behind it, a 3×3 stem neither.
 */
export const resnet: ArchitectureFamily = {
  name: "resnet",
  archs: [
    ...["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet200"],
    ...["resnet50w2", "resnet50w4", "resnet50w5", "resnet101w2", "resnet152w2", "resnet200w2"],
    ...["wide_resnet50_2", "wide_resnet101_2"],
    ...["resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d", "resnext101_32x16d"],
    ...["resnext101_32x32d", "resnext101_32x48d"],
    ...["resnet18d", "resnet26d", "resnet34d", "resnet50d", "resnet101d", "resnet152d", "resnet200d"],
    ...["byol_resnet50", "byol_resnet50w2", "byol_resnet50w4", "byol_resnet200w2"],
  ],
  marker: "layer1.0.conv1.weight",
  recognise: (tensors, arch) => {
    const network = networkOf(tensors);
    if (!network || (arch !== undefined && arch !== network.arch && arch !== `byol_${network.arch}`)) return undefined;
    return architecture(network, arch ?? network.arch);
  },
};

interface Network {
  arch: string;
  stem: Stem;
  stages: ResidualBlock[][];
  classifier?: { tensors: string; classes: number };
}

/** `plain`: 7×7; `deep`: three of 3×3; `cifar`: one of 3×3. */
type Stem = "plain" | "deep" | "cifar";

function networkOf(tensors: TensorShapes): Network | undefined {
  const stem = stemOf(tensors);
  const stages = residualStages(tensors);
  // CLIP's ResNet has more convolutions beside the first.
  if (!stem || stages?.length !== 4 || tensors.has("conv2.weight")) return undefined;
  const channels = stages[3]!.at(-1)!.channels;
  const [classifier] = ["fc", "linear"].flatMap((name) => {
    const classes = classesOf(tensors, name, channels);
    return classes === undefined ? [] : [{ tensors: name, classes }];
  });
  return { arch: nameOf(stem, stages), stem, stages, classifier };
}

function stemOf(tensors: TensorShapes): Stem | undefined {
  const sideOf = (name: string) => tensors.get(name)?.shape[3];
  if (!tensors.has("bn1.weight")) return undefined;
  if (sideOf("conv1.weight") === 7) return "plain";
  if (sideOf("conv1.weight") === 3) return "cifar";
  return sideOf("conv1.0.weight") === 3 && sideOf("conv1.6.weight") === 3 ? "deep" : undefined;
}

/** As torchvision and timm name it; `w` and the factor where all channels are so many times as wide. */
function nameOf(stem: Stem, stages: ResidualBlock[][]): string {
  const [first] = stages[0] as [ResidualBlock];
  const layers = first.kind === "basic" ? 2 : 3;
  const depth = 2 + layers * stages.flat().length;
  const planes = first.kind === "basic" ? first.channels : first.channels / 4;
  const factor = planes === 64 ? "" : `w${planes / 64}`;
  const { groups, width } = first;
  if (groups > 1) return `resnext${depth}${factor}_${groups}x${(width / groups) * (64 / planes)}d`;
  if (width !== planes) return `wide_resnet${depth}${factor}_${width / planes}`;
  const averages = stages.flat().some(({ shortcut }) => shortcut.kind === "average");
  // timm: deep stem c, with averaging shortcuts too d, these alone s.
  const variant = stem === "deep" ? (averages ? "d" : "c") : averages ? "s" : "";
  return `resnet${depth}${variant}${factor}`;
}

function architecture(network: Network, arch: string): Architecture {
  const { stem, classifier } = network;
  const isByol = arch.startsWith("byol_");
  const side = stem === "cifar" ? 32 : 224;
  return {
    arch,
    input: { height: side, width: side },
    transform:
      stem === "cifar"
        ? cifarTransform(classifier?.classes)
        : `resize(256,${isByol ? "bicubic" : "bilinear"})|center_crop(224)|normalize(imagenet)`,
    build: (graph, weights) => build(graph, weights, network, isByol ? "same" : "symmetric"),
  };
}

function build(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  { stem, stages, classifier }: Network,
  padding: "symmetric" | "same",
): void {
  let x = writeStem(graph, weights, stem, padding);
  graph.tap("conv1", x, visslPooling(graph, "conv1"));
  if (stem !== "cifar") {
    x = graph.maxPool("res1", x, { size: 3, stride: 2, padding: padding === "same" ? "same" : 1 });
    graph.tap("res1", x);
  }
  for (const [stage, blocks] of stages.entries()) {
    const name = `res${stage + 2}`;
    for (const [i, block] of blocks.entries()) {
      x = residualBlock(graph, weights, x, { name: `${name}/block${i}`, block, padding });
    }
    graph.tap(name, x, visslPooling(graph, name));
  }
  const features = graph.globalAveragePool("res5avg", x);
  graph.tap("res5avg", features);
  if (classifier) graph.tap("logits", linear(graph, weights, features, { name: "logits", layer: classifier.tensors }));
}

function writeStem(graph: GraphBuilder, weights: CheckpointWeights, stem: Stem, padding: "symmetric" | "same") {
  const convolution = (x: GraphTensor, options: { kernel: string; norm: string; size: number; stride: number }) =>
    normalisedConvolution(graph, weights, x, {
      ...options,
      name: options.kernel.replace(/\.weight$/, "").replace(".", "_"),
      norm: { name: options.norm, epsilon },
      channels: weights.take(options.kernel, [null, x.shape[2]!, options.size, options.size]).shape[0]!,
      padding: padding === "same" ? "same" : (options.size - 1) / 2,
      activation: "relu",
    });
  switch (stem) {
    case "plain":
      return convolution(graph.input, { kernel: "conv1.weight", norm: "bn1", size: 7, stride: 2 });
    case "cifar":
      return convolution(graph.input, { kernel: "conv1.weight", norm: "bn1", size: 3, stride: 1 });
    case "deep": {
      const first = convolution(graph.input, { kernel: "conv1.0.weight", norm: "conv1.1", size: 3, stride: 2 });
      const second = convolution(first, { kernel: "conv1.3.weight", norm: "conv1.4", size: 3, stride: 1 });
      return convolution(second, { kernel: "conv1.6.weight", norm: "bn1", size: 3, stride: 1 });
    }
  }
}
