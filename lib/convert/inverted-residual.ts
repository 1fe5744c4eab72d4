import { activate, type Activation, type Gate } from "./activation.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import { linear } from "./classifier.js";
import { normalisedConvolution } from "./convolution.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import type { InvertedResidualNames, NormalisedLayer } from "./inverted-residual-names.js";
import { squeezeExcite } from "./squeeze-excite.js";

/** A network of inverted residuals: MobileNetV2 and V3, EfficientNet. */
export interface InvertedResidualNetwork {
  stem: NormalisedLayer;
  blocks: readonly InvertedResidual[];
  /** The convolution behind the blocks. */
  head: NormalisedLayer;
  /** What follows on the mean over the map: a layer with an activation, and scores. */
  hidden?: { layer: string; is: "linear" | "convolution" };
  classifier: string;
  /** Of stem, head and the hidden layer. */
  activation: Activation;
  padding: "symmetric" | "same";
  /** Of the batch norms. */
  epsilon: number;
}

export interface InvertedResidual extends InvertedResidualNames {
  stride: number;
  activation: Activation;
  /** How squeeze-and-excitation computes where the block has one. */
  excitation: { activation: Activation; gate: Gate };
}

/** Taps: `stem`, `block0` …, `head`, `pooled` (the mean), `pre_logits` where there is a hidden layer, `logits`. */
export function buildInvertedResiduals(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  network: InvertedResidualNetwork,
): void {
  const { blocks, hidden, classifier, activation } = network;
  let x = convolution(graph, weights, graph.input, network, {
    name: "stem",
    layer: network.stem,
    stride: 2,
    activation,
  });
  graph.tap("stem", x);
  for (const [index, block] of blocks.entries()) {
    x = invertedResidual(graph, weights, x, network, { ...block, name: `block${index}` });
    graph.tap(`block${index}`, x);
  }
  x = convolution(graph, weights, x, network, { name: "head", layer: network.head, activation });
  graph.tap("head", x);
  x = graph.globalAveragePool("pooled", x);
  graph.tap("pooled", x);
  if (hidden && weights.has(`${hidden.layer}.weight`)) {
    x = linear(graph, weights, x, { name: "pre_logits", ...hidden });
    x = activate(graph, `pre_logits/${activation}`, x, activation);
    graph.tap("pre_logits", x);
  }
  // A checkpoint of the backbone alone has no classifier.
  if (!weights.has(`${classifier}.weight`)) return;
  graph.tap("logits", linear(graph, weights, x, { name: "logits", layer: classifier }));
}

/** Widen, filter each channel by itself, narrow; and add the input where its shape is the same. */
function invertedResidual(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  network: InvertedResidualNetwork,
  block: InvertedResidual & { name: string },
): GraphTensor {
  const { name, expand, depthwise, squeeze, project, stride, activation } = block;
  const part = (x: GraphTensor, options: Omit<Convolution, "name">, step: string) =>
    convolution(graph, weights, x, network, { name: `${name}/${step}`, ...options });
  let x = input;
  if (expand) x = part(x, { layer: expand, activation }, "expand");
  x = part(x, { layer: depthwise, stride, depthwise: true, activation }, "depthwise");
  if (squeeze) {
    x = squeezeExcite(graph, weights, x, { name: `${name}/squeeze`, ...squeeze, ...block.excitation });
  }
  x = part(x, { layer: project }, "project");
  return stride === 1 && block.channels === input.shape[2] ? graph.add(`${name}/add`, x, input) : x;
}

interface Convolution {
  name: string;
  layer: NormalisedLayer;
  stride?: number;
  depthwise?: boolean;
  activation?: Activation;
}

/** Channels and size are the tensor's. */
function convolution(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  x: GraphTensor,
  { padding, epsilon }: InvertedResidualNetwork,
  { name, layer, stride, depthwise = false, activation }: Convolution,
): GraphTensor {
  const kernel = `${layer.kernel}.weight`;
  const channelsIn = x.shape[2]!;
  const expected = depthwise ? [channelsIn, 1, null, null] : [null, channelsIn, null, null];
  const [channels, , size] = weights.take(kernel, expected).shape as [number, number, number];
  const normalised = normalisedConvolution(graph, weights, x, {
    name,
    kernel,
    norm: { name: layer.norm, epsilon },
    channels,
    size,
    stride,
    padding: padding === "same" ? "same" : (size - 1) / 2,
    depthwise,
  });
  return activation ? activate(graph, `${name}/${activation}`, normalised, activation) : normalised;
}
