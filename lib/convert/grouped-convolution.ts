import { foldBatchNorm } from "./batch-norm.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import { normalisedConvolution, type NormalisedConvolution } from "./convolution.js";
import type { GraphBuilder, GraphTensor, Window } from "./graph-builder.js";
import { channels, concatenate } from "./rearrange.js";
import { readTogether } from "./weight-parts.js";
import { convolutionKernel, type FloatWeight } from "./weight.js";

/** {@link normalisedConvolution} whose channels are in so many groups, each with filters of its own. */
export function groupedConvolution(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  { groups, ...options }: Omit<NormalisedConvolution, "depthwise"> & { groups: number },
): GraphTensor {
  if (groups === 1) return normalisedConvolution(graph, weights, input, options);
  const { name, size, channels, stride, padding, activation } = options;
  const { kernel, bias } = foldBatchNorm({
    kernel: weights.take(options.kernel, [channels, input.shape[2]! / groups, size, size]),
    norm: weights.batchNorm(options.norm.name, channels, options.norm.epsilon),
  });
  const convolved = groupedConv2d(graph, `${name}/conv`, input, kernel, { groups, stride, padding });
  const shifted = graph.biasAdd(`${name}/bias_add`, convolved, bias);
  return activation ? graph[activation](`${name}/${activation}`, shifted) : shifted;
}

/** Channels that one plain convolution takes; see {@link groupedConv2d}. */
const channelsOfPart = 32;

/**
 * A grouped convolution by plain ones, for not every backend knows groups: the channels are cut into parts of up to 32
 * channels, each part is convolved with a kernel that is zero between its groups, and the results are joined.
 *
 * Measured for the 3×3 convolutions of ResNeXt-50 (32 groups; one of each stage, batch of 4, two shared cores): in
 * parts of 32 channels 0.77 s on WebAssembly and 0.15 s on native TensorFlow, with 2.2 MB of weights; one convolution a
 * group 2.3 s, 0.18 s and 1.6 MB; one for all groups 2.9 s, 0.78 s and 50 MB.
 *
 * @param kernel PyTorch's layout, [out, in / groups, rows, columns].
 */
export function groupedConv2d(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  kernel: FloatWeight,
  { groups, ...window }: Window & { groups: number },
): GraphTensor {
  const [channelsOut, channelsOfGroup] = kernel.shape as [number, number];
  const together = groupsTogether(groups, channelsOfGroup);
  const width = together * channelsOfGroup;
  const shared = readTogether(kernel);
  const parts = Array.from({ length: groups / together }, (_, part) => {
    const taken =
      together === groups ? input : channels(graph, `${name}/part${part}/input`, input, part * width, width);
    const dense = blockDiagonal(shared, { first: (part * together * channelsOut) / groups, groups, together });
    return graph.conv2d(`${name}/part${part}`, taken, convolutionKernel(dense), window);
  });
  const result = concatenate(graph, name, parts, 2);
  graph.grouped.set(result.node, { input, kernel, groups, parts });
  return result;
}

/** The most groups that divide all of them and fit into a part. */
function groupsTogether(groups: number, channelsOfGroup: number): number {
  const most = Math.max(1, Math.floor(channelsOfPart / channelsOfGroup));
  let together = Math.min(most, groups);
  while (groups % together !== 0) together--;
  return together;
}

/** The kernel of some of the groups, from output channel `first` on, as that of a plain convolution. */
function blockDiagonal(
  { shape, read }: FloatWeight,
  { first, groups, together }: { first: number; groups: number; together: number },
): FloatWeight {
  const [channelsOut, channelsOfGroup, rows, columns] = shape as [number, number, number, number];
  const outOfGroup = channelsOut / groups;
  const [out, channels, run] = [outOfGroup * together, channelsOfGroup * together, channelsOfGroup * rows * columns];
  return {
    shape: [out, channels, rows, columns],
    dtype: "float32",
    read: async () => {
      const values = await read();
      const dense = new Float32Array(out * channels * rows * columns);
      for (let i = 0; i < out; i++) {
        const group = Math.floor(i / outOfGroup);
        const from = (first + i) * run;
        dense.set(values.subarray(from, from + run), (i * together + group) * run);
      }
      return dense;
    },
  };
}
