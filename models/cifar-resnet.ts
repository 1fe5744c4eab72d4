import type { ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import { classesOf, linear } from "../lib/convert/classifier.js";
import { normalisedConvolution } from "../lib/convert/convolution.js";
import type { GraphBuilder } from "../lib/convert/graph-builder.js";
import { epsilon, residualBlock, residualStages, type ResidualBlock } from "../lib/convert/residual-block.js";

/**
 * The ResNets of He et al. 2015 (https://arxiv.org/abs/1512.03385, section 4.2) for CIFAR: a 3×3 stem and three stages of
 * basic blocks at 32, 16 and 8 pixels.
 *
 * Names as in https://github.com/akamaster/pytorch_resnet_cifar10 (classifier `linear`, shortcuts without weights) and
 * https://github.com/chenyaofo/pytorch-cifar-models (classifier `fc`, shortcuts with them).
 */
export const cifarResnet: ArchitectureFamily = {
  name: "cifar-resnet",
  archs: ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202"],
  marker: "layer1.0.conv1.weight",
  recognise: (tensors, arch) => {
    const network = networkOf(tensors);
    if (!network || (arch !== undefined && arch !== network.arch)) return undefined;
    const { stages, classifier } = network;
    return {
      arch: network.arch,
      input: { height: 32, width: 32 },
      // Those with weightless shortcuts were trained with ImageNet's statistics.
      transform: stages[1]![0]!.shortcut.kind === "zeros" ? "normalize(imagenet)" : cifarTransform(classifier?.classes),
      build: (graph, weights) => build(graph, weights, network),
    };
  },
};

/**
 * The statistics of CIFAR-100 where there are 100 classes, else those of CIFAR-10, as chenyaofo's networks and most
 * others take them (https://github.com/kuangliu/pytorch-cifar; chenyaofo/image-classification-codebase).
 */
export function cifarTransform(classes?: number): string {
  return classes === 100
    ? "normalize(mean=0.507/0.4865/0.4409,std=0.2673/0.2564/0.2761)"
    : "normalize(mean=0.4914/0.4822/0.4465,std=0.2023/0.1994/0.201)";
}

interface Network {
  arch: string;
  /** Channels of the stem. */
  width: number;
  stages: ResidualBlock[][];
  classifier?: { tensors: string; classes: number };
}

function networkOf(tensors: TensorShapes): Network | undefined {
  const stem = tensors.get("conv1.weight")?.shape;
  const stages = residualStages(tensors);
  if (stem?.[3] !== 3 || !tensors.has("bn1.weight") || tensors.has("conv2.weight")) return undefined;
  if (stages?.length !== 3 || stages.flat().some(({ kind }) => kind !== "basic")) return undefined;
  const channels = stages[2]!.at(-1)!.channels;
  const [classifier] = ["linear", "fc"].flatMap((name) => {
    const classes = classesOf(tensors, name, channels);
    return classes === undefined ? [] : [{ tensors: name, classes }];
  });
  return { arch: `resnet${2 + 2 * stages.flat().length}`, width: stem[0]!, stages, classifier };
}

function build(graph: GraphBuilder, weights: CheckpointWeights, { width, stages, classifier }: Network): void {
  let x = normalisedConvolution(graph, weights, graph.input, {
    name: "conv1",
    kernel: "conv1.weight",
    norm: { name: "bn1", epsilon },
    channels: width,
    size: 3,
    padding: 1,
    activation: "relu",
  });
  graph.tap("conv1", x);
  for (const [stage, blocks] of stages.entries()) {
    const name = `res${stage + 2}`;
    for (const [i, block] of blocks.entries()) {
      x = residualBlock(graph, weights, x, { name: `${name}/block${i}`, block, padding: "symmetric" });
    }
    graph.tap(name, x);
  }
  const features = graph.globalAveragePool("res4avg", x);
  graph.tap("res4avg", features);
  if (classifier) graph.tap("logits", linear(graph, weights, features, { name: "logits", layer: classifier.tensors }));
}
