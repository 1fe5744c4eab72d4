import type { ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import { classesOf, linear } from "../lib/convert/classifier.js";
import { normalisedConvolution } from "../lib/convert/convolution.js";
import type { GraphBuilder, GraphTensor } from "../lib/convert/graph-builder.js";
import { groupedConvolution } from "../lib/convert/grouped-convolution.js";
import { meanMap } from "../lib/convert/mean-map.js";
import { convolutionKernel } from "../lib/convert/weight.js";
import { dialects, type BlockNames, type Dialect } from "./regnet-names.js";
import { regnetArch, regnetArchs } from "./regnet-sizes.js";

const epsilon = 1e-5;

interface Network {
  arch: string;
  dialect: Dialect;
  /** Channels of the stem. */
  stem: number;
  stages: Block[][];
  hasClassifier: boolean;
}

interface Block {
  names: BlockNames;
  /** Channels of the grouped 3×3 convolution. */
  width: number;
  groups: number;
  channels: number;
  stride: number;
  hasProjection: boolean;
  /** Channels that squeeze-and-excitation squeezes to. */
  squeezed?: number;
}

/**
 * One family for each way to name the tensors of a RegNet: torchvision's, timm's, and ClassyVision's, of which VISSL's
 * (SEER) takes the blocks. RegNet X, and Y with squeeze-and-excitation: Radosavovic et al. 2020,
 * https://arxiv.org/abs/2003.13678. Every stage begins with a stride of 2.
 */
export const regnets: ArchitectureFamily[] = dialects.map((dialect) => ({
  name: `regnet (${dialect.name})`,
  archs: regnetArchs,
  marker: `${dialect.stem.convolution}.weight`,
  recognise: (tensors, arch) => {
    const network = networkOf(tensors, dialect);
    if (!network || (arch !== undefined && arch !== network.arch)) return undefined;
    return {
      arch: network.arch,
      input: { height: 224, width: 224 },
      transform: `resize(256,${dialect.filter})|center_crop(224)|normalize(imagenet)`,
      build: (graph, weights) => build(graph, weights, network),
    };
  },
}));

function networkOf(tensors: TensorShapes, dialect: Dialect): Network | undefined {
  const stem = tensors.get(`${dialect.stem.convolution}.weight`)?.shape;
  const stages: Block[][] = [];
  for (let stage = 0; blockOf(tensors, dialect, stage, 0); stage++) {
    const blocks: Block[] = [];
    for (let block; (block = blockOf(tensors, dialect, stage, blocks.length));) blocks.push(block);
    stages.push(blocks);
  }
  if (stem?.[3] !== 3 || stages.length !== 4) return undefined;
  const widths = stages.map(([block]) => block!.channels);
  const depths = stages.map((blocks) => blocks.length);
  const isY = stages[0]![0]!.squeezed !== undefined;
  return {
    arch: regnetArch({ kind: isY ? "y" : "x", widths, depths }),
    dialect,
    stem: stem[0]!,
    stages,
    hasClassifier: classesOf(tensors, dialect.classifier, widths[3]!) !== undefined,
  };
}

function blockOf(tensors: TensorShapes, dialect: Dialect, stage: number, index: number): Block | undefined {
  const names = dialect.block(stage, index);
  const shapeOf = (name: string) => tensors.get(`${name}.weight`)?.shape;
  const [second, third] = [shapeOf(names.b.convolution), shapeOf(names.c.convolution)];
  // RegNet Z, another network with the same names, is wider within.
  if (second?.length !== 4 || third?.length !== 4 || second[0] !== third[0]) return undefined;
  return {
    names,
    width: second[0]!,
    groups: second[0]! / second[1]!,
    channels: third[0]!,
    stride: index === 0 ? 2 : 1,
    hasProjection: shapeOf(names.projection.convolution) !== undefined,
    squeezed: shapeOf(names.squeeze)?.[0],
  };
}

function build(graph: GraphBuilder, weights: CheckpointWeights, network: Network): void {
  const { dialect, stages } = network;
  let x = normalisedConvolution(graph, weights, graph.input, {
    name: "conv1",
    kernel: `${dialect.stem.convolution}.weight`,
    norm: { name: dialect.stem.norm, epsilon },
    channels: network.stem,
    size: 3,
    stride: 2,
    padding: 1,
    activation: "relu",
  });
  graph.tap("conv1", x);
  for (const [stage, blocks] of stages.entries()) {
    const name = `res${stage + 2}`;
    for (const [i, block] of blocks.entries()) x = writeBlock(graph, weights, x, `${name}/block${i}`, block);
    graph.tap(name, x);
  }
  const features = graph.globalAveragePool("res5avg", x);
  graph.tap("res5avg", features);
  if (network.hasClassifier) {
    graph.tap("logits", linear(graph, weights, features, { name: "logits", layer: dialect.classifier }));
  }
}

function writeBlock(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  name: string,
  block: Block,
): GraphTensor {
  const { names, width, groups, channels, stride } = block;
  const part = (x: GraphTensor, own: "a" | "b" | "c" | "projection", options: Partial<GroupedConvolution>) =>
    groupedConvolution(graph, weights, x, {
      name: `${name}/${own}`,
      kernel: `${names[own].convolution}.weight`,
      norm: { name: names[own].norm, epsilon },
      channels: width,
      size: 1,
      groups: 1,
      padding: 0,
      ...options,
    });
  let x = part(input, "a", { activation: "relu" });
  x = part(x, "b", { size: 3, stride, padding: 1, groups, activation: "relu" });
  if (block.squeezed !== undefined) {
    x = squeezeAndExcitation(graph, weights, x, { name: `${name}/se`, names, squeezed: block.squeezed });
  }
  x = part(x, "c", { channels });
  const shortcut = block.hasProjection ? part(input, "projection", { channels, stride }) : input;
  return graph.relu(`${name}/relu`, graph.add(`${name}/add`, x, shortcut));
}

type GroupedConvolution = Parameters<typeof groupedConvolution>[3];

/** Scales each channel by what two layers make of the means of all. Hu et al. 2017, https://arxiv.org/abs/1709.01507 */
function squeezeAndExcitation(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  { name, names, squeezed }: { name: string; names: BlockNames; squeezed: number },
): GraphTensor {
  const channels = input.shape[2]!;
  const layer = (x: GraphTensor, own: string, tensors: string, out: number) => {
    const kernel = weights.take(`${tensors}.weight`, [out, x.shape[2]!, 1, 1]);
    const product = graph.conv2d(`${own}/conv`, x, convolutionKernel(kernel), { padding: 0 });
    return graph.biasAdd(`${own}/bias_add`, product, weights.take(`${tensors}.bias`, [out]));
  };
  const mean = meanMap(graph, `${name}/mean`, input);
  const reduced = graph.relu(`${name}/relu`, layer(mean, `${name}/reduce`, names.squeeze, squeezed));
  const inputs = [layer(reduced, `${name}/expand`, names.excite, channels)];
  const gate = graph.operation({ name: `${name}/sigmoid`, op: "Sigmoid", inputs, shape: [1, 1, channels] });
  return graph.operation({ name: `${name}/scale`, op: "Mul", inputs: [input, gate], shape: input.shape });
}
