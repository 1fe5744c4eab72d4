import type { Architecture, ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import type { GraphBuilder } from "../lib/convert/graph-builder.js";
import type { Activation } from "../lib/convert/activation.js";
import { linearMatrix } from "../lib/convert/weight.js";
import { activationEndings, clipActivation } from "./clip-activation.js";
import { writeVisionTransformer } from "./vision-transformer.js";
import type { TransformerBlock } from "./vision-transformer.js";
import { headsOf, namedDimensions, vitArch, vitArchs } from "./vit-sizes.js";
import type { VitDimensions } from "./vit-sizes.js";
import {
  expectPatches,
  imagesOf,
  positionLayout,
  positionsFor,
  takeLinear,
  takeNorm,
  takeTokens,
} from "./vit-tensors.js";
import type { PositionLayout } from "./vit-tensors.js";

/**
 * The visual towers of CLIP (https://github.com/openai/CLIP) and OpenCLIP that are transformers, under their own names:
 * a norm before the first block, the class token projected into the space that images share with text.
 *
 * The activation is in no tensor ({@link clipActivation}). Where nothing tells, half precision is taken for OpenAI's
 * quick GELU. `--arch clip_vit_base_patch16_quickgelu` and `--arch clip_vit_base_patch16_gelu` say it.
 */
export const clipVit: ArchitectureFamily = {
  name: "clip-vit",
  archs: vitArchs("clip_vit", ["", ...activationEndings]),
  marker: "class_embedding",
  recognise: (tensors, arch, label) => {
    const found = dimensionsOf(tensors);
    if (!found) return undefined;
    const dimensions = arch === undefined ? found : namedDimensions(arch, "clip_vit", found, activationEndings);
    const layout = positionLayout(tensors.get("positional_embedding")!.shape[0]!, 1);
    if (!dimensions || !layout) return undefined;
    const bare = vitArch("clip_vit", dimensions);
    const likely = tensors.get("conv1.weight")!.dtype === "float16" ? "quick_gelu" : "gelu";
    const { activation, assumptions } = clipActivation({ arch: bare, asked: arch, label, likely });
    const side = layout.side * dimensions.patch;
    const name = arch ?? bare + (activation === "quick_gelu" ? "_quickgelu" : "");
    return { ...architecture(name, { dimensions, layout, activation }, side), assumptions };
  },
};

interface ClipVit {
  dimensions: VitDimensions;
  layout: PositionLayout;
  activation: Activation;
}

function dimensionsOf(tensors: TensorShapes): VitDimensions | undefined {
  const kernel = tensors.get("conv1.weight")?.shape;
  if (kernel?.length !== 4 || tensors.get("positional_embedding")?.shape.length !== 2) return undefined;
  const names = [...tensors.keys()];
  const blocks = names.filter((name) => /^transformer\.resblocks\.\d+\.attn\.in_proj_weight$/.test(name)).length;
  if (blocks === 0) return undefined;
  return { width: kernel[0]!, depth: blocks, patch: kernel[2]!, heads: headsOf(kernel[0]!) };
}

function architecture(arch: string, network: ClipVit, side: number): Architecture {
  return {
    arch,
    input: { height: side, width: side },
    transform: `resize(${side},bicubic)|center_crop(${side})|normalize(clip)`,
    build: (graph, weights) => build(arch, graph, weights, network),
  };
}

const epsilon = 1e-5;

function build(
  arch: string,
  graph: GraphBuilder,
  weights: CheckpointWeights,
  { dimensions, layout, activation }: ClipVit,
): void {
  const input = imagesOf(graph);
  const { width, depth, patch } = dimensions;
  expectPatches(arch, input, patch);
  const projection = weights.has("proj") ? weights.take("proj", [width, null]) : undefined;
  writeVisionTransformer(graph, {
    patches: {
      kernel: weights.take("conv1.weight", [width, 3, patch, patch]),
      bias: weights.has("conv1.bias") ? weights.take("conv1.bias", [width]) : undefined,
    },
    prefix: [takeTokens(weights, "class_embedding", width, 1)],
    positions: positionsFor({ positions: weights.take("positional_embedding", [null, width]), layout, input, patch }),
    preNorm: weights.has("ln_pre.weight") ? takeNorm(weights, "ln_pre", width, epsilon) : undefined,
    blocks: Array.from({ length: depth }, (_, i) =>
      takeBlock(weights, `transformer.resblocks.${i}`, dimensions, activation),
    ),
    pooling: { kind: "first", tokens: 1 },
    poolNorm: takeNorm(weights, "ln_post", width, epsilon),
    // Here the matrix is [channels in, channels out].
    projection: projection && { matrix: linearMatrix(projection) },
    classifiers: [],
  });
}

function takeBlock(
  weights: CheckpointWeights,
  block: string,
  { width, heads }: VitDimensions,
  activation: Activation,
): TransformerBlock {
  const scale = (name: string) => (weights.has(name) ? weights.take(name, [width]) : undefined);
  const up = takeLinear(weights, `${block}.mlp.c_fc`, null, width);
  return {
    norm1: takeNorm(weights, `${block}.ln_1`, width, epsilon),
    attention: {
      heads,
      qkv: {
        matrix: weights.take(`${block}.attn.in_proj_weight`, [3 * width, width]),
        bias: weights.take(`${block}.attn.in_proj_bias`, [3 * width]),
      },
      out: takeLinear(weights, `${block}.attn.out_proj`, width, width),
    },
    scale1: scale(`${block}.ls_1.gamma`),
    norm2: takeNorm(weights, `${block}.ln_2`, width, epsilon),
    mlp: {
      activation,
      up,
      down: takeLinear(weights, `${block}.mlp.c_proj`, width, up.matrix.shape[0]!),
    },
    scale2: scale(`${block}.ls_2.gamma`),
  };
}
