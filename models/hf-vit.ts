import type { Architecture, ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import type { GraphBuilder } from "../lib/convert/graph-builder.js";
import type { Activation } from "../lib/convert/activation.js";
import type { Linear } from "../lib/convert/linear.js";
import type { NetworkLabel } from "../lib/convert/network-label.js";
import { projected, reshaped, rowsOf } from "../lib/convert/weight-parts.js";
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
 * Vision transformers by the names of Hugging Face's transformers: ViT, DeiT, DINO and MAE (`ViTModel`), DINOv2 and the
 * visual towers of CLIP and SigLIP. Where nothing tells ({@link clipActivation}), CLIP's has the quick GELU, as OpenAI's
 * networks have it.
 *
 * Source: https://github.com/huggingface/transformers.
 */
export const hfVit: ArchitectureFamily = {
  name: "hf-vit",
  archs: [...vitArchs("hf_vit"), ...vitArchs("hf_dinov2")],
  marker: "embeddings.patch_embeddings.projection.weight",
  recognise: (tensors, arch) => recognise(tensors, arch, vitDialect(tensors)),
};

export const hfClipVit: ArchitectureFamily = {
  name: "hf-clip-vit",
  archs: [...vitArchs("hf_clip_vit", ["", ...activationEndings]), ...vitArchs("hf_siglip_vit")],
  marker: "vision_model.embeddings.patch_embedding.weight",
  recognise: (tensors, arch, label) => recognise(tensors, arch, clipDialect(tensors), label),
};

/** How a model calls its parts. */
interface Dialect {
  kind: string;
  kernel: string;
  positions: string;
  classToken?: string;
  registers?: string;
  preNorm?: string;
  /** Of block i; within it the others. */
  block: (index: number) => string;
  norm1: string;
  norm2: string;
  query: string;
  key: string;
  value: string;
  out: string;
  up: string;
  gatedUp?: string;
  down: string;
  norm: string;
  /** The norm is behind the pooling: CLIP's. */
  normBehind?: boolean;
  epsilon: number;
  activation: Activation;
  normalization: "imagenet" | "clip" | "half";
}

function vitDialect(tensors: TensorShapes): Dialect {
  const isDinov2 = tensors.has("encoder.layer.0.norm1.weight");
  return {
    kind: isDinov2 ? "hf_dinov2" : "hf_vit",
    kernel: "embeddings.patch_embeddings.projection",
    positions: "embeddings.position_embeddings",
    classToken: "embeddings.cls_token",
    registers: "embeddings.register_tokens",
    block: (index) => `encoder.layer.${index}`,
    ...(isDinov2 ? { norm1: "norm1", norm2: "norm2" } : { norm1: "layernorm_before", norm2: "layernorm_after" }),
    query: "attention.attention.query",
    key: "attention.attention.key",
    value: "attention.attention.value",
    out: "attention.output.dense",
    ...(isDinov2
      ? { up: "mlp.fc1", down: tensors.has("encoder.layer.0.mlp.weights_out.weight") ? "mlp.weights_out" : "mlp.fc2" }
      : { up: "intermediate.dense", down: "output.dense" }),
    gatedUp: "mlp.weights_in",
    norm: "layernorm",
    epsilon: isDinov2 ? 1e-6 : 1e-12,
    activation: "gelu",
    normalization: isDinov2 ? "imagenet" : "half",
  };
}

function clipDialect(tensors: TensorShapes): Dialect {
  const isClip = tensors.has("vision_model.embeddings.class_embedding");
  return {
    kind: isClip ? "hf_clip_vit" : "hf_siglip_vit",
    kernel: "vision_model.embeddings.patch_embedding",
    positions: "vision_model.embeddings.position_embedding.weight",
    classToken: "vision_model.embeddings.class_embedding",
    // Misspelt there.
    preNorm: "vision_model.pre_layrnorm",
    block: (index) => `vision_model.encoder.layers.${index}`,
    norm1: "layer_norm1",
    norm2: "layer_norm2",
    query: "self_attn.q_proj",
    key: "self_attn.k_proj",
    value: "self_attn.v_proj",
    out: "self_attn.out_proj",
    up: "mlp.fc1",
    down: "mlp.fc2",
    norm: "vision_model.post_layernorm",
    normBehind: isClip,
    epsilon: isClip ? 1e-5 : 1e-6,
    activation: isClip ? "quick_gelu" : "gelu_tanh",
    normalization: isClip ? "clip" : "half",
  };
}

interface HfVit {
  dialect: Dialect;
  dimensions: VitDimensions;
  layout: PositionLayout;
}

function recognise(
  tensors: TensorShapes,
  arch: string | undefined,
  dialect: Dialect,
  label?: NetworkLabel,
): Architecture | undefined {
  const shape = (name: string | undefined) => (name === undefined ? undefined : tensors.get(name)?.shape);
  const kernel = shape(`${dialect.kernel}.weight`);
  const positions = shape(dialect.positions);
  if (kernel?.length !== 4 || !positions || !tensors.has(`${dialect.block(0)}.${dialect.norm1}.weight`))
    return undefined;
  let depth = 0;
  while (tensors.has(`${dialect.block(depth)}.${dialect.norm1}.weight`)) depth++;
  const prefixTokens = (shape(dialect.classToken) ? 1 : 0) + (shape(dialect.registers)?.[1] ?? 0);
  const layout = positionLayout(positions.at(-2)!, prefixTokens);
  const [width, patch] = [kernel[0]!, kernel[2]!];
  const isClip = dialect.kind === "hf_clip_vit";
  const found = { width, depth, patch, heads: headsOf(width) };
  const dimensions =
    arch === undefined ? found : namedDimensions(arch, dialect.kind, found, isClip ? activationEndings : []);
  if (!layout || !dimensions) return undefined;
  const side = layout.side * dimensions.patch;
  const bare = vitArch(dialect.kind, dimensions);
  if (!isClip) return architecture(arch ?? bare, { dialect, dimensions, layout }, side);
  const { activation, assumptions } = clipActivation({ arch: bare, asked: arch, label, likely: "quick_gelu" });
  const network = { dialect: { ...dialect, activation }, dimensions, layout };
  const name = arch ?? bare + (activation === "gelu" ? "_gelu" : "");
  return { ...architecture(name, network, side), assumptions };
}

function architecture(arch: string, network: HfVit, side: number): Architecture {
  const { normalization } = network.dialect;
  const short = normalization === "clip" ? side : Math.round((side * 8) / 7);
  return {
    arch,
    input: { height: side, width: side },
    transform:
      normalization === "half"
        ? `resize(${side}x${side},bilinear)|normalize(half)`
        : `resize(${short},bicubic)|center_crop(${side})|normalize(${normalization})`,
    build: (graph, weights) => build(arch, graph, weights, network),
  };
}

function build(
  arch: string,
  graph: GraphBuilder,
  weights: CheckpointWeights,
  { dialect, dimensions, layout }: HfVit,
): void {
  const input = imagesOf(graph);
  const { width, depth, patch } = dimensions;
  const { kernel, positions, classToken, registers, preNorm, norm, normBehind, epsilon } = dialect;
  expectPatches(arch, input, patch);
  const positionWeight = weights.take(positions, positions.endsWith(".weight") ? [null, width] : [1, null, width]);
  const bias = `${kernel}.bias`;
  const pooling = poolingOf(weights, dialect, dimensions);
  const lastNorm = takeNorm(weights, norm, width, epsilon);
  writeVisionTransformer(graph, {
    patches: {
      kernel: weights.take(`${kernel}.weight`, [width, 3, patch, patch]),
      bias: weights.has(bias) ? weights.take(bias, [width]) : undefined,
    },
    prefix: [
      ...(classToken !== undefined && weights.has(classToken)
        ? [takeTokens(weights, classToken, width, classToken.endsWith("_token") ? 3 : 1)]
        : []),
      ...(registers !== undefined && weights.has(registers) ? [takeTokens(weights, registers, width)] : []),
    ],
    positions: positionsFor({ positions: positionWeight, layout, input, patch }),
    preNorm: preNorm !== undefined && weights.has(`${preNorm}.weight`) ? takeNorm(weights, preNorm, width, epsilon) : undefined, // prettier-ignore
    blocks: Array.from({ length: depth }, (_, i) => takeBlock(weights, dialect, dimensions, i)),
    norm: normBehind ? undefined : lastNorm,
    pooling,
    poolNorm: normBehind ? lastNorm : undefined,
    projection: weights.has("visual_projection.weight") ? takeLinear(weights, "visual_projection", null, width) : undefined, // prettier-ignore
    classifiers: [],
  });
}

function poolingOf(weights: CheckpointWeights, dialect: Dialect, { width, heads }: VitDimensions): TokenPooling {
  const head = "vision_model.head";
  if (!weights.has(`${head}.probe`)) {
    const { classToken } = dialect;
    return classToken !== undefined && weights.has(classToken) ? { kind: "first", tokens: 1 } : { kind: "patches" };
  }
  const matrix = weights.take(`${head}.attention.in_proj_weight`, [3 * width, width]);
  const bias = weights.take(`${head}.attention.in_proj_bias`, [3 * width]);
  const rows = (from: number, count: number): Linear => ({
    matrix: rowsOf(matrix, from * width, count * width),
    bias: rowsOf(bias, from * width, count * width),
  });
  const vector = reshaped(weights.take(`${head}.probe`, [1, 1, width]), [width]);
  return {
    kind: "attention",
    attention: {
      heads,
      query: projected({ ...rows(0, 1), vector }),
      keyValue: rows(1, 2),
      out: takeLinear(weights, `${head}.attention.out_proj`, width, width),
    },
    norm: takeNorm(weights, `${head}.layernorm`, width, dialect.epsilon),
    mlp: takeMlp(weights, { ...dialect, up: "mlp.fc1", down: "mlp.fc2" }, head, width),
  };
}

function takeBlock(
  weights: CheckpointWeights,
  dialect: Dialect,
  { width, heads }: VitDimensions,
  index: number,
): TransformerBlock {
  const block = dialect.block(index);
  const scale = (i: 1 | 2) => {
    const name = `${block}.layer_scale${i}.lambda1`;
    return weights.has(name) ? weights.take(name, [width]) : undefined;
  };
  const parts = [dialect.query, dialect.key, dialect.value];
  return {
    norm1: takeNorm(weights, `${block}.${dialect.norm1}`, width, dialect.epsilon),
    attention: {
      heads,
      qkv: joinLinears(parts.map((part) => takeLinear(weights, `${block}.${part}`, width, width))),
      out: takeLinear(weights, `${block}.${dialect.out}`, width, width),
    },
    scale1: scale(1),
    norm2: takeNorm(weights, `${block}.${dialect.norm2}`, width, dialect.epsilon),
    mlp: takeMlp(weights, dialect, block, width),
    scale2: scale(2),
  };
}

function takeMlp(weights: CheckpointWeights, dialect: Dialect, name: string, width: number): Mlp {
  const { activation, up, gatedUp, down } = dialect;
  if (gatedUp === undefined || !weights.has(`${name}.${gatedUp}.weight`)) {
    const wide = takeLinear(weights, `${name}.${up}`, null, width);
    return { activation, up: wide, down: takeLinear(weights, `${name}.${down}`, width, wide.matrix.shape[0]!) };
  }
  const both = takeLinear(weights, `${name}.${gatedUp}`, null, width);
  const hidden = both.matrix.shape[0]! / 2;
  const half = (index: number): Linear => ({
    matrix: rowsOf(both.matrix, index * hidden, hidden),
    bias: both.bias && rowsOf(both.bias, index * hidden, hidden),
  });
  return {
    activation: "silu",
    gate: half(0),
    up: half(1),
    down: takeLinear(weights, `${name}.${down}`, width, hidden),
  };
}
