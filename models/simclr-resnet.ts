import { UserError } from "../lib/errors.js";
import type { ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import { classesOf, linear } from "../lib/convert/classifier.js";
import { normalisedConvolution } from "../lib/convert/convolution.js";
import type { GraphBuilder, GraphTensor } from "../lib/convert/graph-builder.js";
import { epsilon } from "../lib/convert/residual-block.js";
import { visslPooling } from "../lib/convert/vissl-pooling.js";

/**
 * SimCLRv2's ResNets 50 to 152 of any width, as converted by https://github.com/Separius/SimCLRv2-Pytorch. Chen et al.
 * 2020, https://arxiv.org/abs/2006.10029.
 *
 * The padding is that of the original program, https://github.com/google-research/simclr: as much on each side of a
 * strided convolution, TensorFlow's `SAME` for the max pool. Images are 0 … 1, without mean and deviation.
 */
export const simclrResnet: ArchitectureFamily = {
  name: "simclr-resnet",
  archs: [50, 101, 152].flatMap((depth) => ["", "w2", "w3"].map((width) => `simclrv2_resnet${depth}${width}`)),
  marker: "net.1.blocks.0.net.0.weight",
  recognise: (tensors, arch) => {
    const network = networkOf(tensors);
    if (!network || (arch !== undefined && arch !== network.arch)) return undefined;
    return {
      arch: network.arch,
      input: { height: 224, width: 224 },
      transform: "resize(256,bicubic)|center_crop(224)|normalize(none)",
      build: (graph, weights) => build(graph, weights, network),
    };
  },
};

interface Network {
  arch: string;
  /** Blocks of each stage. */
  depths: number[];
  /** Channels of the stem. */
  width: number;
  hasClassifier: boolean;
}

function networkOf(tensors: TensorShapes): Network | undefined {
  const selective = [...tensors.keys()].find((name) => name.includes(".mixing_conv."));
  if (selective !== undefined) {
    throw new UserError(
      `Expected a SimCLRv2 network with plain convolutions but received one with selective kernels (${selective})`,
      { hint: "The networks whose names end in sk0 can be converted, those in sk1 can not." },
    );
  }
  const stem = tensors.get("net.0.0.weight")?.shape;
  if (stem?.[3] !== 7) return undefined;
  const depths = [1, 2, 3, 4].map((stage) => {
    let depth = 0;
    while (tensors.has(`net.${stage}.blocks.${depth}.net.4.weight`)) depth++;
    return depth;
  });
  if (depths.includes(0)) return undefined;
  const width = stem[0]!;
  const blocks = depths.reduce((sum, depth) => sum + depth, 0);
  return {
    arch: `simclrv2_resnet${2 + 3 * blocks}${width === 64 ? "" : `w${width / 64}`}`,
    depths,
    width,
    hasClassifier: classesOf(tensors, "fc", 32 * width) !== undefined,
  };
}

function build(graph: GraphBuilder, weights: CheckpointWeights, { depths, width, hasClassifier }: Network): void {
  let x = convolution(graph, weights, graph.input, {
    name: "conv1",
    kernel: "net.0.0.weight",
    norm: "net.0.1.0",
    channels: width,
    size: 7,
    stride: 2,
    activation: "relu",
  });
  graph.tap("conv1", x, visslPooling(graph, "conv1"));
  x = graph.maxPool("res1", x, { size: 3, stride: 2, padding: "same" });
  graph.tap("res1", x);
  for (const [stage, depth] of depths.entries()) {
    const name = `res${stage + 2}`;
    for (let i = 0; i < depth; i++) {
      x = bottleneck(graph, weights, x, {
        name: `${name}/block${i}`,
        tensors: `net.${stage + 1}.blocks.${i}`,
        width: width * 2 ** stage,
        stride: stage > 0 && i === 0 ? 2 : 1,
      });
    }
    graph.tap(name, x, visslPooling(graph, name));
  }
  const features = graph.globalAveragePool("res5avg", x);
  graph.tap("res5avg", features);
  if (hasClassifier) graph.tap("logits", linear(graph, weights, features, { name: "logits", layer: "fc" }));
}

function bottleneck(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  { name, tensors, width, stride }: { name: string; tensors: string; width: number; stride: number },
): GraphTensor {
  const part = (x: GraphTensor, index: 0 | 2 | 4, options: Partial<Convolution>) =>
    convolution(graph, weights, x, {
      name: `${name}/conv${index / 2 + 1}`,
      kernel: `${tensors}.net.${index}.weight`,
      norm: `${tensors}.net.${index + 1}.0`,
      channels: width,
      size: 1,
      ...options,
    });
  let x = part(input, 0, { activation: "relu" });
  x = part(x, 2, { size: 3, stride, activation: "relu" });
  x = part(x, 4, { channels: 4 * width });
  const shortcut = weights.has(`${tensors}.projection.shortcut.weight`)
    ? convolution(graph, weights, input, {
        name: `${name}/projection`,
        kernel: `${tensors}.projection.shortcut.weight`,
        norm: `${tensors}.projection.bn.0`,
        channels: 4 * width,
        size: 1,
        stride,
      })
    : input;
  return graph.relu(`${name}/relu`, graph.add(`${name}/add`, x, shortcut));
}

interface Convolution {
  name: string;
  kernel: string;
  norm: string;
  channels: number;
  size: number;
  stride?: number;
  activation?: "relu";
}

function convolution(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  { norm, ...options }: Convolution,
): GraphTensor {
  const padding = (options.size - 1) / 2;
  return normalisedConvolution(graph, weights, input, { ...options, norm: { name: norm, epsilon }, padding });
}
