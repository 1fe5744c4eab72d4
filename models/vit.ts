import type { Architecture, ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import type { Attention, AttentionPooling, Rotation } from "../lib/convert/attention.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import type { GraphBuilder } from "../lib/convert/graph-builder.js";
import { rotationOf, withSplitPairs } from "../lib/convert/rotary.js";
import type { Activation } from "../lib/convert/activation.js";
import type { LayerNorm } from "../lib/convert/layer-norm.js";
import type { Linear } from "../lib/convert/linear.js";
import { projected, reshaped, rowsOf } from "../lib/convert/weight-parts.js";
import type { FloatWeight } from "../lib/convert/weight.js";
import { activationEndings, clipActivation } from "./clip-activation.js";
import { writeVisionTransformer } from "./vision-transformer.js";
import type { Mlp, TokenPooling, TransformerBlock } from "./vision-transformer.js";
import { headsOf, namedDimensions, vitArch, vitArchs } from "./vit-sizes.js";
import type { VitDimensions } from "./vit-sizes.js";
import {
  expectPatches,
  imagesOf,
  joinLinears,
  positionLayout,
  positionsFor,
  takeLinear,
  takeNorm,
  takeTokens,
} from "./vit-tensors.js";
import type { PositionLayout } from "./vit-tensors.js";

/**
 * Vision transformers by the names that timm has made common: timm's own and DeiT's (distilled too), DINO, DINOv2,
 * MAE, MoCo v3, timm's copies of CLIP and SigLIP, EVA-02.
 *
 * Sources: https://github.com/huggingface/pytorch-image-models, facebookresearch/{deit,dino,dinov2,mae,moco-v3},
 * baaivision/EVA. The arch is found as `vit_<size>_patch<side>`, from the shapes; the heads are as published for the
 * width, but 12 for MoCo v3's small network, which is known by its projector or by `--arch vit_small_patch16_heads12`.
 */
export const vit: ArchitectureFamily = {
  name: "vit",
  archs: [...vitArchs("vit", ["", ...activationEndings]), "vit_small_patch16_heads12", ...vitArchs("eva02")],
  marker: "patch_embed.proj.weight",
  recognise: (tensors, arch, label) => {
    const traits = traitsOf(tensors);
    if (!traits) return undefined;
    const endings = traits.isClip ? activationEndings : [];
    const dimensions =
      arch === undefined ? traits.dimensions : namedDimensions(arch, traits.kind, traits.dimensions, endings);
    if (!dimensions) return undefined;
    const side = traits.layout.side * dimensions.patch;
    const bare = archOf({ ...traits, dimensions });
    if (!traits.isClip) return architecture(arch ?? bare, { ...traits, dimensions }, side);
    // timm's copies of CLIP.
    const { activation, assumptions } = clipActivation({ arch: bare, asked: arch, label, likely: "gelu" });
    const name = arch ?? bare + (activation === "quick_gelu" ? "_quickgelu" : "");
    return { ...architecture(name, { ...traits, dimensions, activation }, side), assumptions };
  },
};

/** What the names and shapes tell. */
interface Traits {
  kind: "vit" | "eva02";
  dimensions: VitDimensions;
  /** Names of the blocks, in their order. */
  blocks: string[];
  /** Tensors of the tokens before the patches'. */
  prefix: string[];
  layout: PositionLayout;
  epsilon: number;
  /** Of perceptrons without a gate. */
  activation: Activation;
  /** A copy of CLIP's visual tower. */
  isClip: boolean;
  resampling: { antialias: boolean; offset: number };
  normalization: "imagenet" | "clip" | "half";
}

const prefixNames = ["cls_token", "dist_token", "reg_token", "register_tokens"];

/** All that a block may hold; one that holds more is another network's. */
const blockTensors = new RegExp(
  "^(norm[12]\\.(weight|bias)|attn\\.((qkv|proj|[qkv]_proj|[qk]_norm|norm|inner_attn_ln)\\.(weight|bias)|[qkv]_bias" +
    "|rope\\.freqs_(cos|sin))|ls[12]\\.gamma|gamma_[12]|mlp\\.((fc[12]|fc1_[gx]|w12|w[123]|norm|ffn_ln)\\.(weight|bias)))$",
);

function traitsOf(tensors: TensorShapes): Traits | undefined {
  const shape = (name: string) => tensors.get(name)?.shape;
  const kernel = shape("patch_embed.proj.weight");
  const positions = shape("pos_embed");
  if (kernel?.length !== 4 || positions?.length !== 3) return undefined;
  const blocks = blockNames(tensors);
  const first = blocks[0];
  if (first === undefined) return undefined;
  const inBlock = [...tensors.keys()].filter((name) => name.startsWith(`${first}.`));
  if (!inBlock.every((name) => blockTensors.test(name.slice(first.length + 1)))) return undefined;
  const prefix = prefixNames.filter((name) => tensors.has(name));
  const prefixTokens = prefix.reduce((sum, name) => sum + shape(name)![1]!, 0);
  const layout = positionLayout(positions[1]!, prefixTokens);
  if (!layout) return undefined;
  const [width, patch] = [kernel[0]!, kernel[2]!];
  const has = (name: string) => tensors.has(name);
  const gated = isGated(tensors, first);
  const separate = has(`${first}.attn.q_bias`) || has(`${first}.attn.q_proj.weight`);
  // Its three-layer projector tells MoCo v3, whose small network has 12 heads.
  const isMoco = has("head.0.weight") && has("head.1.running_mean");
  const isDinov2 = has("mask_token") && has(`${first}.ls1.gamma`);
  return {
    kind: gated && separate ? "eva02" : "vit",
    dimensions: { width, depth: blocks.length, patch, heads: isMoco && width === 384 ? 12 : headsOf(width) },
    blocks,
    prefix,
    layout,
    epsilon: has("norm_pre.weight") ? 1e-5 : 1e-6,
    activation: "gelu",
    isClip: has("norm_pre.weight") && !gated,
    // DINOv2 without registers interpolates as DINO did; with them it was trained with an antialiased interpolation.
    resampling:
      isDinov2 && !has("register_tokens") ? { antialias: false, offset: 0.1 } : { antialias: true, offset: 0 },
    normalization: has("attn_pool.latent") ? "half" : has("norm_pre.weight") || separate ? "clip" : "imagenet",
  };
}

/** `blocks.3`, or `blocks.1.3` where DINOv2 keeps them in chunks; the last number is that of the block. */
function blockNames(tensors: TensorShapes): string[] {
  const found = [...tensors.keys()].flatMap((name) => {
    const match = /^(blocks\.(?:\d+\.)?(\d+))\.norm1\.weight$/.exec(name);
    return match ? [{ name: match[1]!, index: Number(match[2]) }] : [];
  });
  return found.sort((a, b) => a.index - b.index).map(({ name }) => name);
}

function isGated(tensors: TensorShapes, block: string): boolean {
  const shape = (name: string) => tensors.get(`${block}.mlp.${name}.weight`)?.shape;
  if (shape("w12") || shape("w1") || shape("fc1_g")) return true;
  const [up, down] = [shape("fc1"), shape("fc2")];
  return up !== undefined && down !== undefined && up[0] === 2 * down[1]!;
}

function archOf({ kind, dimensions }: Pick<Traits, "kind" | "dimensions">): string {
  const own = dimensions.width === 384 && dimensions.heads === 12 ? "_heads12" : "";
  return vitArch(kind, dimensions) + own;
}

function architecture(arch: string, traits: Traits, side: number): Architecture {
  const { normalization } = traits;
  const crop = normalization === "imagenet" ? Math.round((side * 8) / 7) : side;
  return {
    arch,
    input: { height: side, width: side },
    transform: `resize(${crop},bicubic)|center_crop(${side})|normalize(${normalization})`,
    build: (graph, weights) => build(arch, graph, weights, traits),
  };
}

function build(arch: string, graph: GraphBuilder, weights: CheckpointWeights, traits: Traits): void {
  const input = imagesOf(graph);
  const { dimensions, layout, epsilon, activation, resampling } = traits;
  const { width, depth, patch } = dimensions;
  expectPatches(arch, input, patch);
  const prefix = traits.prefix.map((name) => takeTokens(weights, name, width));
  const classTokens = traits.prefix.filter((name) => name === "cls_token" || name === "dist_token").length;
  const take = (name: string) => takeNorm(weights, name, width, epsilon);
  const optional = (name: string): LayerNorm | undefined => (weights.has(`${name}.weight`) ? take(name) : undefined);
  const kernel = weights.take("patch_embed.proj.weight", [width, 3, patch, patch]);
  const rotation = traits.kind === "eva02" ? rotationFor(traits, input) : undefined;
  const poolNorm = optional("fc_norm");
  writeVisionTransformer(graph, {
    patches: {
      kernel,
      bias: weights.has("patch_embed.proj.bias") ? weights.take("patch_embed.proj.bias", [width]) : undefined,
    },
    prefix,
    positions: positionsFor({
      positions: weights.take("pos_embed", [1, null, width]),
      layout,
      input,
      patch,
      ...resampling,
    }),
    preNorm: optional("norm_pre"),
    // A depth that was asked for and is not there is told by the first block that is missing.
    blocks: Array.from({ length: depth }, (_, i) =>
      takeBlock(weights, traits.blocks[i] ?? `blocks.${i}`, { dimensions, epsilon, activation, rotation }),
    ),
    norm: optional("norm"),
    pooling: poolingOf(weights, dimensions, { classTokens, epsilon, averaged: poolNorm !== undefined }),
    poolNorm,
    classifiers: ["head", "head_dist"]
      .filter((name) => weights.has(`${name}.weight`))
      .map((name) => takeLinear(weights, name, null, width)),
  });
}

function poolingOf(
  weights: CheckpointWeights,
  { width, heads }: VitDimensions,
  { classTokens, epsilon, averaged }: { classTokens: number; epsilon: number; averaged: boolean },
): TokenPooling {
  if (weights.has("attn_pool.latent")) {
    return {
      kind: "attention",
      attention: takeAttentionPooling(weights, width, heads),
      norm: takeNorm(weights, "attn_pool.norm", width, epsilon),
      mlp: takeMlp(weights, "attn_pool.mlp", { width, epsilon, activation: "gelu" }),
    };
  }
  // A norm behind the pooling is of networks that average their patches (MAE's fine-tuned, EVA-02).
  return averaged || classTokens === 0 ? { kind: "patches" } : { kind: "first", tokens: classTokens };
}

function takeAttentionPooling(weights: CheckpointWeights, width: number, heads: number): AttentionPooling {
  const latent = weights.take("attn_pool.latent", [1, 1, width]);
  return {
    heads,
    query: projected({ ...takeLinear(weights, "attn_pool.q", width, width), vector: reshaped(latent, [width]) }),
    keyValue: takeLinear(weights, "attn_pool.kv", 2 * width, width),
    out: takeLinear(weights, "attn_pool.proj", width, width),
  };
}

interface BlockOptions {
  dimensions: VitDimensions;
  epsilon: number;
  activation: Activation;
  rotation?: Rotation;
}

function takeBlock(weights: CheckpointWeights, block: string, options: BlockOptions): TransformerBlock {
  const { dimensions, epsilon, activation } = options;
  const { width } = dimensions;
  const scale = (i: 1 | 2): FloatWeight | undefined => {
    const name = [`${block}.ls${i}.gamma`, `${block}.gamma_${i}`].find((one) => weights.has(one));
    return name === undefined ? undefined : weights.take(name, [width]);
  };
  return {
    norm1: takeNorm(weights, `${block}.norm1`, width, epsilon),
    attention: takeAttention(weights, `${block}.attn`, options),
    scale1: scale(1),
    norm2: takeNorm(weights, `${block}.norm2`, width, epsilon),
    mlp: takeMlp(weights, `${block}.mlp`, { width, epsilon, activation }),
    scale2: scale(2),
  };
}

function takeAttention(weights: CheckpointWeights, name: string, options: BlockOptions): Attention {
  const { dimensions, epsilon, rotation } = options;
  const { width, heads } = dimensions;
  const norm = (suffixes: string[], size: number): LayerNorm | undefined => {
    const found = suffixes.find((suffix) => weights.has(`${name}.${suffix}.weight`));
    return found === undefined ? undefined : takeNorm(weights, `${name}.${found}`, size, epsilon);
  };
  return {
    heads,
    qkv: takeQkv(weights, name, options),
    out: takeLinear(weights, `${name}.proj`, width, width),
    queryNorm: norm(["q_norm"], width / heads),
    keyNorm: norm(["k_norm"], width / heads),
    norm: norm(["norm", "inner_attn_ln"], width),
    rotation,
  };
}

function takeQkv(weights: CheckpointWeights, name: string, { dimensions, rotation }: BlockOptions): Linear {
  const { width, heads } = dimensions;
  const isWhole = weights.has(`${name}.qkv.weight`) && !weights.has(`${name}.q_bias`);
  if (isWhole && !rotation) return takeLinear(weights, `${name}.qkv`, 3 * width, width);
  const [query, key, value] = takeQueryKeyValue(weights, name, width);
  const turned = (part: Linear) => (rotation ? withSplitPairs(part, heads) : part);
  return joinLinears([turned(query), turned(key), value]);
}

function takeQueryKeyValue(weights: CheckpointWeights, name: string, width: number): [Linear, Linear, Linear] {
  if (!weights.has(`${name}.qkv.weight`)) {
    const parts = ["q_proj", "k_proj", "v_proj"].map((part) => {
      const linear = takeLinear(weights, `${name}.${part}`, width, width);
      // The original EVA-02 keeps these biases beside the attention.
      const bias = `${name}.${part.slice(0, 1)}_bias`;
      return linear.bias || !weights.has(bias) ? linear : { ...linear, bias: weights.take(bias, [width]) };
    });
    return parts as [Linear, Linear, Linear];
  }
  const { matrix, bias } = takeLinear(weights, `${name}.qkv`, 3 * width, width);
  const part = (index: number, own: string): Linear => ({
    matrix: rowsOf(matrix, index * width, width),
    bias: bias
      ? rowsOf(bias, index * width, width)
      : weights.has(`${name}.${own}`)
        ? weights.take(`${name}.${own}`, [width])
        : undefined,
  });
  return [part(0, "q_bias"), part(1, "k_bias"), part(2, "v_bias")];
}

function takeMlp(
  weights: CheckpointWeights,
  name: string,
  { width, epsilon, activation }: { width: number; epsilon: number; activation: Activation },
): Mlp {
  const take = (part: string, out: number | null, channels: number) =>
    takeLinear(weights, `${name}.${part}`, out, channels);
  const has = (part: string) => weights.has(`${name}.${part}.weight`);
  const norm = (part: string, hidden: number) =>
    has(part) ? takeNorm(weights, `${name}.${part}`, hidden, epsilon) : undefined;
  const separate = has("fc1_g") ? (["fc1_g", "fc1_x", "fc2", "norm"] as const) : has("w1") ? (["w1", "w2", "w3", "ffn_ln"] as const) : undefined; // prettier-ignore
  if (separate) {
    const [first, second, last, between] = separate;
    const gate = take(first, null, width);
    const hidden = gate.matrix.shape[0]!;
    const [up, down] = [take(second, hidden, width), take(last, width, hidden)];
    return { activation: "silu", gate, up, norm: norm(between, hidden), down };
  }
  const [first, last] = has("w12") ? ["w12", "w3"] : ["fc1", "fc2"];
  const up = take(first, null, width);
  const rows = up.matrix.shape[0]!;
  const down = takeLinear(weights, `${name}.${last}`, width, null);
  const hidden = down.matrix.shape[1]!;
  if (rows !== 2 * hidden) return { activation, up, norm: norm("norm", hidden), down: take(last, width, rows) };
  const half = (index: number): Linear => ({
    matrix: rowsOf(up.matrix, index * hidden, hidden),
    bias: up.bias && rowsOf(up.bias, index * hidden, hidden),
  });
  return { activation: "silu", gate: half(0), up: half(1), norm: norm("norm", hidden), down };
}

/** EVA-02's positions: those of the grid that it was trained with, spread over the grid that there is. */
function rotationFor({ dimensions, layout }: Traits, input: { height: number; width: number }): Rotation {
  const { width, heads, patch } = dimensions;
  const grid = { height: Math.floor(input.height / patch), width: Math.floor(input.width / patch) };
  return rotationOf({ grid, trained: pretrainedGrid(patch, layout.side), channels: width / heads, prefixTokens: 1 });
}

/** EVA-02 was pre-trained on images of 224; where networks are for larger ones, their positions are those. */
function pretrainedGrid(patch: number, side: number): number {
  return Math.min(side, 224 / patch);
}
