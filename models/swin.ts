import type { Architecture, ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import { activate } from "../lib/convert/activation.js";
import { linear } from "../lib/convert/classifier.js";
import type { GraphBuilder, GraphTensor } from "../lib/convert/graph-builder.js";
import { consecutive } from "../lib/convert/consecutive.js";
import { channelNorm } from "../lib/convert/layer-norm.js";
import { pointwise } from "../lib/convert/pointwise.js";
import { reshape } from "../lib/convert/rearrange.js";
import { convolutionKernel } from "../lib/convert/weight.js";
import { windowAttention } from "../lib/convert/window-attention.js";
import { gatherPlaces, padPlaces, squareOrder } from "../lib/convert/windows.js";
import { UserError } from "../lib/errors.js";

const sizes = [
  { arch: "swin_tiny", width: 96, depths: [2, 2, 6, 2], resize: 232 },
  { arch: "swin_small", width: 96, depths: [2, 2, 18, 2], resize: 246 },
  { arch: "swin_base", width: 128, depths: [2, 2, 18, 2], resize: 238 },
  { arch: "swin_large", width: 192, depths: [2, 2, 18, 2] },
];

/** Where a dialect keeps the parts of the network. */
interface Dialect {
  name: "layers" | "torchvision";
  patch: { kernel: string; norm: string };
  block: (stage: number, index: number) => string;
  /** The two layers of a block's perceptron. */
  perceptron: readonly [string, string];
  /** What halves the map in front of a stage: of the stages from 1. */
  merging: (stage: number) => string;
  classifier: string;
}

/**
 * Swin transformers of the first version (https://arxiv.org/abs/2103.14030), under the names of the authors, of timm and
 * of torchvision. Depths, widths, heads and windows are those of the tensors; a network of other sizes than the
 * published is called `swin`.
 */
export const swin: ArchitectureFamily = {
  name: "swin",
  archs: [...sizes.map(({ arch }) => arch), "swin"],
  marker: ["layers.0.blocks.0.norm1.weight", "features.1.0.norm1.weight"],
  recognise,
};

function dialectOf(tensors: TensorShapes): Dialect {
  if (tensors.has("features.1.0.norm1.weight")) {
    return {
      name: "torchvision",
      patch: { kernel: "features.0.0", norm: "features.0.2" },
      block: (stage, index) => `features.${2 * stage + 1}.${index}`,
      perceptron: ["mlp.0", "mlp.3"],
      merging: (stage) => `features.${2 * stage}`,
      classifier: "head",
    };
  }
  // The authors count it to the stage before; timm, since its version 0.9, to the one behind.
  const before = tensors.has("layers.0.downsample.norm.weight") ? 1 : 0;
  return {
    name: "layers",
    patch: { kernel: "patch_embed.proj", norm: "patch_embed.norm" },
    block: (stage, index) => `layers.${stage}.blocks.${index}`,
    perceptron: ["mlp.fc1", "mlp.fc2"],
    merging: (stage) => `layers.${stage - before}.downsample`,
    classifier: tensors.has("head.fc.weight") ? "head.fc" : "head",
  };
}

interface Network {
  dialect: Dialect;
  depths: readonly number[];
  /** Side of the patches of the first layer. */
  patch: number;
}

const epsilon = 1e-5;

function recognise(tensors: TensorShapes, arch?: string): Architecture | undefined {
  const dialect = dialectOf(tensors);
  const attention = `${dialect.block(0, 0)}.attn`;
  if (tensors.has(`${attention}.logit_scale`) && tensors.has(`${attention}.cpb_mlp.0.weight`)) {
    throw new UserError("Expected a Swin transformer of the first version but received one of the second (Swin V2)", {
      hint: "Its attention is another one, which is not built; a model that was exported to ONNX may be converted.",
    });
  }
  const table = tensors.get(`${attention}.relative_position_bias_table`)?.shape;
  const kernel = tensors.get(`${dialect.patch.kernel}.weight`)?.shape;
  if (table?.length !== 2 || kernel?.length !== 4) return undefined;
  const depths = consecutive((stage) => {
    const blocks = consecutive((index) => tensors.get(`${dialect.block(stage, index)}.norm1.weight`));
    return blocks.length > 0 ? blocks.length : undefined;
  });
  const [width, , patch] = kernel as [number, number, number, number];
  const size = sizes.find((one) => one.width === width && one.depths.join() === depths.join());
  const found = size?.arch ?? "swin";
  if (arch !== undefined && arch !== found) return undefined;
  // Each stage but the first halves the map, and the last one's is as large as a window.
  const side = (patch * 2 ** (depths.length - 1) * (Math.sqrt(table[0]!) + 1)) / 2;
  return {
    arch: found,
    input: { height: side, width: side },
    transform: transformOf(dialect, side, size?.resize),
    build: (graph, weights) => build(graph, weights, { dialect, depths, patch }),
  };
}

/** torchvision resized the images of each size to what scored best. */
function transformOf({ name }: Dialect, side: number, torchvision?: number): string {
  const resize = (name === "torchvision" ? torchvision : undefined) ?? Math.floor((side * 256) / 224);
  return `resize(${resize},bicubic)|center_crop(${side})|normalize(imagenet)`;
}

function build(graph: GraphBuilder, weights: CheckpointWeights, { dialect, depths, patch }: Network): void {
  const kernel = weights.take(`${dialect.patch.kernel}.weight`, [null, 3, patch, patch]);
  let x = graph.conv2d("stem/conv", graph.input, convolutionKernel(kernel), { stride: patch, padding: 0 });
  x = graph.biasAdd("stem/bias_add", x, weights.take(`${dialect.patch.kernel}.bias`, [kernel.shape[0]!]));
  x = channelNorm(graph, weights, x, { name: "stem/norm", norm: dialect.patch.norm, epsilon });
  graph.tap("stem", x);
  for (const [stage, depth] of depths.entries()) {
    if (stage > 0) x = mergePatches(graph, weights, x, { name: `stage${stage}/merge`, layer: dialect.merging(stage) });
    for (let index = 0; index < depth; index++) {
      x = block(graph, weights, x, {
        name: `stage${stage}/block${index}`,
        block: dialect.block(stage, index),
        shifted: index % 2 === 1,
        perceptron: dialect.perceptron,
      });
    }
    graph.tap(`stage${stage}`, x);
  }
  x = channelNorm(graph, weights, x, { name: "norm", norm: "norm", epsilon });
  x = graph.globalAveragePool("pooled", x);
  graph.tap("pooled", x);
  if (!weights.has(`${dialect.classifier}.weight`)) return;
  graph.tap("logits", linear(graph, weights, x, { name: "logits", layer: dialect.classifier }));
}

/** Attention within windows, then a perceptron at each place; both are added to their input. */
function block(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  options: { name: string; block: string; shifted: boolean; perceptron: readonly [string, string] },
): GraphTensor {
  const { name, shifted, perceptron } = options;
  const [norm1, norm2] = [`${options.block}.norm1`, `${options.block}.norm2`];
  let x = channelNorm(graph, weights, input, { name: `${name}/norm1`, norm: norm1, epsilon });
  x = windowAttention(graph, weights, x, { name: `${name}/attention`, layer: `${options.block}.attn`, shifted });
  const attended = graph.add(`${name}/attended`, x, input);
  x = channelNorm(graph, weights, attended, { name: `${name}/norm2`, norm: norm2, epsilon });
  x = pointwise(graph, weights, x, { name: `${name}/widen`, layer: `${options.block}.${perceptron[0]}`, is: "linear" });
  x = activate(graph, `${name}/gelu`, x, "gelu");
  x = pointwise(graph, weights, x, {
    name: `${name}/narrow`,
    layer: `${options.block}.${perceptron[1]}`,
    is: "linear",
  });
  return graph.add(`${name}/add`, x, attended);
}

/** Half the height and width, twice the channels: each 2 × 2 places become one. */
function mergePatches(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  x: GraphTensor,
  { name, layer }: { name: string; layer: string },
): GraphTensor {
  const [rows, columns, channels] = x.shape as [number, number, number];
  const size = [rows + (rows % 2), columns + (columns % 2)] as const;
  const ordered = gatherPlaces(graph, `${name}/order`, padPlaces(graph, `${name}/pad`, x, size), squareOrder(size));
  const squares = reshape(graph, `${name}/squares`, ordered, [size[0] / 2, size[1] / 2, 4 * channels]);
  const norm = channelNorm(graph, weights, squares, { name: `${name}/norm`, norm: `${layer}.norm`, epsilon });
  return pointwise(graph, weights, norm, { name, layer: `${layer}.reduction`, is: "linear", bias: false });
}
