import type { Architecture, ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import { selfAttention } from "../lib/convert/attention.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import type { GraphBuilder, GraphTensor } from "../lib/convert/graph-builder.js";
import { resampleDistances, windows, withoutWindows } from "../lib/convert/relative-positions.js";
import { resamplePositions } from "../lib/convert/resample-positions.js";
import { reshape } from "../lib/convert/rearrange.js";
import { elementwise } from "../lib/convert/elementwise.js";
import { layerNorm } from "../lib/convert/layer-norm.js";
import { reshaped } from "../lib/convert/weight-parts.js";
import { convolutionKernel } from "../lib/convert/weight.js";
import { patchMap, withMlp } from "./vision-transformer.js";
import { vitArch, vitArchs, namedDimensions } from "./vit-sizes.js";
import type { VitDimensions } from "./vit-sizes.js";
import { expectPatches, imagesOf, takeLinear, takeNorm } from "./vit-tensors.js";

/**
 * SAM's image encoder (https://github.com/facebookresearch/segment-anything): a ViT on 1024 × 1024 whose blocks look
 * within windows, but for some that look at all, with relative position embeddings; and a neck of convolutions. Its taps
 * are maps. The heads and the windows are told by the relative position embeddings.
 */
export const samVit: ArchitectureFamily = {
  name: "sam-vit",
  archs: vitArchs("sam_vit"),
  marker: "patch_embed.proj.weight",
  recognise: (tensors, arch) => {
    const found = samOf(tensors);
    if (!found) return undefined;
    const dimensions = arch === undefined ? found.dimensions : namedDimensions(arch, "sam_vit", found.dimensions);
    if (!dimensions) return undefined;
    const side = found.side * found.dimensions.patch;
    const network = { ...found, dimensions: { ...dimensions, heads: found.dimensions.heads } };
    return architecture(arch ?? vitArch("sam_vit", dimensions), network, side);
  },
};

interface SamVit {
  dimensions: VitDimensions;
  /** Of the grid of patches. */
  side: number;
  /** Of the window that each block looks within. */
  reach: number[];
}

function samOf(tensors: TensorShapes): SamVit | undefined {
  const kernel = tensors.get("patch_embed.proj.weight")?.shape;
  const positions = tensors.get("pos_embed")?.shape;
  const relative = tensors.get("blocks.0.attn.rel_pos_h")?.shape;
  if (kernel?.length !== 4 || positions?.length !== 4 || relative?.length !== 2) return undefined;
  const reach: number[] = [];
  for (let at = relative; at.length === 2; at = tensors.get(`blocks.${reach.length}.attn.rel_pos_h`)?.shape ?? []) {
    reach.push((at[0]! + 1) / 2);
  }
  const [width, patch] = [kernel[0]!, kernel[2]!];
  return {
    dimensions: { width, patch, depth: reach.length, heads: width / relative[1]! },
    side: positions[1]!,
    reach,
  };
}

function architecture(arch: string, network: SamVit, side: number): Architecture {
  return {
    arch,
    input: { height: side, width: side },
    // SAM keeps the shape of an image and fills up what is missing; an evaluation needs the whole image, and squares it.
    transform: `resize(${side}x${side},bilinear)|normalize(imagenet)`,
    build: (graph, weights) => build(arch, graph, weights, network),
  };
}

const epsilon = 1e-6;

function build(
  arch: string,
  graph: GraphBuilder,
  weights: CheckpointWeights,
  { dimensions, side, reach }: SamVit,
): void {
  const input = imagesOf(graph);
  const { width, depth, patch } = dimensions;
  expectPatches(arch, input, patch);
  const grid = { height: input.height / patch, width: input.width / patch };
  const map = patchMap(graph, {
    kernel: weights.take("patch_embed.proj.weight", [width, 3, patch, patch]),
    bias: weights.take("patch_embed.proj.bias", [width]),
  });
  const table = reshaped(weights.take("pos_embed", [1, side, side, width]), [side * side, width]);
  const from = { height: side, width: side };
  const positions = resamplePositions({ weights: table, from, to: grid, prefixTokens: 0 });
  let x = elementwise(graph, "embed/positions", "AddV2", map, reshaped(positions, [grid.height, grid.width, width]));
  graph.tap("embed", x);
  for (let i = 0; i < depth; i++) {
    x = samBlock(graph, weights, x, { index: i, dimensions, reach: reach[i] ?? side, side });
    graph.tap(`block${i}`, x);
  }
  if (weights.has("neck.0.weight")) {
    x = neck(graph, weights, x);
    graph.tap("neck", x);
  }
  graph.tap("pooled", graph.globalAveragePool("pooled", x));
}

function samBlock(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  options: { index: number; dimensions: VitDimensions; reach: number; side: number },
): GraphTensor {
  const { index, dimensions, reach, side } = options;
  const [height, width, depth] = input.shape as [number, number, number];
  const [name, block] = [`block${index}`, `blocks.${index}`];
  const isGlobal = reach === side;
  const area = isGlobal ? { height, width } : { height: reach, width: reach };
  const size = depth / dimensions.heads;
  const normed = layerNorm(graph, `${name}/norm1`, input, takeNorm(weights, `${block}.norm1`, depth, epsilon));
  const tokens = isGlobal
    ? reshape(graph, `${name}/tokens`, normed, [height * width, depth])
    : windows(graph, `${name}/windows`, normed, reach);
  const relative = (axis: "h" | "w", length: number) => {
    const embeddings = weights.take(`${block}.attn.rel_pos_${axis}`, [2 * reach - 1, size]);
    return resampleDistances(embeddings, length);
  };
  const attended = selfAttention(graph, `${name}/attention`, tokens, {
    heads: dimensions.heads,
    qkv: takeLinear(weights, `${block}.attn.qkv`, 3 * depth, depth),
    out: takeLinear(weights, `${block}.attn.proj`, depth, depth),
    relative: { ...area, rows: relative("h", area.height), columns: relative("w", area.width) },
  });
  const map = isGlobal
    ? reshape(graph, `${name}/map`, attended, input.shape)
    : withoutWindows(graph, `${name}/map`, attended, { side: reach, height, width });
  // timm calls them fc1 and fc2.
  const [first, last] = weights.has(`${block}.mlp.lin1.weight`) ? ["lin1", "lin2"] : ["fc1", "fc2"];
  const up = takeLinear(weights, `${block}.mlp.${first}`, null, depth);
  return withMlp(graph, name, graph.add(`${name}/add1`, input, map), {
    norm2: takeNorm(weights, `${block}.norm2`, depth, epsilon),
    mlp: {
      activation: "gelu",
      up,
      down: takeLinear(weights, `${block}.mlp.${last}`, depth, up.matrix.shape[0]!),
    },
  });
}

function neck(graph: GraphBuilder, weights: CheckpointWeights, input: GraphTensor): GraphTensor {
  const narrow = weights.take("neck.0.weight", [null, input.shape[2]!, 1, 1]);
  const width = narrow.shape[0]!;
  const first = graph.conv2d("neck/narrow", input, convolutionKernel(narrow), { padding: 0 });
  const between = layerNorm(graph, "neck/norm1", first, takeNorm(weights, "neck.1", width, epsilon));
  const kernel = weights.take("neck.2.weight", [width, width, 3, 3]);
  const second = graph.conv2d("neck/conv", between, convolutionKernel(kernel), { padding: 1 });
  return layerNorm(graph, "neck/norm2", second, takeNorm(weights, "neck.3", width, epsilon));
}
