import { foldBatchNorm } from "./batch-norm.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import type { GraphBuilder, GraphTensor, Padding } from "./graph-builder.js";
import { convolutionKernel, depthwiseKernel } from "./weight.js";

export interface NormalisedConvolution {
  /** Of the nodes in the graph. */
  name: string;
  /** Tensor of the kernel in the checkpoint, e.g. `conv1.weight`. */
  kernel: string;
  /** The batch norm behind it, e.g. `bn1`. */
  norm: { name: string; epsilon: number };
  /** Channels of the result; those of the input where it is depthwise. */
  channels: number;
  size: number;
  stride?: number;
  padding: Padding;
  depthwise?: boolean;
  activation?: "relu" | "relu6";
}

/** Convolution, batch norm and activation: in the graph a Conv2D, a BiasAdd and a Relu, the batch norm folded in. */
export function normalisedConvolution(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  options: NormalisedConvolution,
): GraphTensor {
  const { name, size, channels, stride, padding, depthwise = false, activation } = options;
  const channelsIn = input.shape[2]!;
  const { kernel, bias } = foldBatchNorm({
    kernel: weights.take(options.kernel, [channels, depthwise ? 1 : channelsIn, size, size]),
    norm: weights.batchNorm(options.norm.name, channels, options.norm.epsilon),
  });
  const convolved = depthwise
    ? graph.depthwiseConv2d(`${name}/depthwise`, input, depthwiseKernel(kernel, channelsIn), { stride, padding })
    : graph.conv2d(`${name}/conv`, input, convolutionKernel(kernel), { stride, padding });
  const shifted = graph.biasAdd(`${name}/bias_add`, convolved, bias);
  return activation ? graph[activation](`${name}/${activation}`, shifted) : shifted;
}
