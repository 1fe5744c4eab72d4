import type { ArchitectureFamily } from "../../lib/convert/architecture.js";
import type { CheckpointWeights } from "../../lib/convert/checkpoint-weights.js";
import type { GraphBuilder, GraphTensor } from "../../lib/convert/graph-builder.js";
import { constant, convolutionKernel } from "../../lib/convert/weight.js";

/** SqueezeNet 1.1 (Iandola et al. 2016, https://arxiv.org/abs/1602.07360), under torchvision's names. */
export const squeezenet: ArchitectureFamily = {
  name: "squeezenet",
  archs: ["squeezenet1_1"],
  marker: "features.0.weight",
  recognise: (tensors) => {
    const first = tensors.get("features.0.weight")?.shape;
    if (!tensors.has("features.12.expand3x3.weight") || first?.[2] !== 3) return undefined;
    return {
      arch: "squeezenet1_1",
      input: { height: 224, width: 224 },
      transform: "resize(256,bilinear)|center_crop(224)|normalize(imagenet)",
      build,
    };
  },
};

/** Where the fire modules are in torchvision's list, and where the map is halved before one. */
const fires = [3, 4, 6, 7, 9, 10, 11, 12];
const halved = [3, 6, 9];

function build(graph: GraphBuilder, weights: CheckpointWeights): void {
  let x = convolution(graph, weights, graph.input, "features.0", { size: 3, stride: 2 });
  graph.tap("conv1", x);
  for (const [i, index] of fires.entries()) {
    if (halved.includes(index)) x = graph.maxPool(`pool${index}`, x, { size: 3, stride: 2, padding: 0 });
    x = fire(graph, weights, x, `features.${index}`);
    graph.tap(`fire${i}`, x);
  }
  graph.tap("pooled", graph.globalAveragePool("pooled", x));
  if (!weights.has("classifier.1.weight")) return;
  const scores = convolution(graph, weights, x, "classifier.1", { size: 1 });
  graph.tap("logits", graph.globalAveragePool("logits", scores));
}

/** Fewer channels, then two convolutions of them side by side. */
function fire(graph: GraphBuilder, weights: CheckpointWeights, input: GraphTensor, name: string): GraphTensor {
  const squeezed = convolution(graph, weights, input, `${name}.squeeze`, { size: 1 });
  const narrow = convolution(graph, weights, squeezed, `${name}.expand1x1`, { size: 1 });
  const wide = convolution(graph, weights, squeezed, `${name}.expand3x3`, { size: 3, padding: 1 });
  const [height, width, channels] = narrow.shape as [number, number, number];
  return graph.operation({
    name: `${name}/concat`,
    op: "ConcatV2",
    inputs: [narrow, wide, constant([3], "int32", [])],
    shape: [height, width, channels + wide.shape[2]!],
    attr: { N: { i: "2" }, Tidx: { type: "DT_INT32" } },
  });
}

function convolution(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  name: string,
  { size, stride = 1, padding = 0 }: { size: number; stride?: number; padding?: number },
): GraphTensor {
  // Any number of channels out, so that narrower networks are converted too.
  const kernel = weights.take(`${name}.weight`, [null, input.shape[2]!, size, size]);
  const bias = weights.take(`${name}.bias`, [kernel.shape[0]!]);
  const convolved = graph.conv2d(name, input, convolutionKernel(kernel), { stride, padding });
  return graph.relu(`${name}/relu`, graph.biasAdd(`${name}/bias_add`, convolved, bias));
}
