import { activate, type Activation } from "../lib/convert/activation.js";
import { attentionPool, selfAttention } from "../lib/convert/attention.js";
import type { Attention, AttentionPooling } from "../lib/convert/attention.js";
import { elementwise, scalar } from "../lib/convert/elementwise.js";
import type { GraphBuilder, GraphTensor } from "../lib/convert/graph-builder.js";
import { layerNorm, type LayerNorm } from "../lib/convert/layer-norm.js";
import { linear, type Linear } from "../lib/convert/linear.js";
import { padWithZeros, reshape, slice } from "../lib/convert/rearrange.js";
import { mean } from "../lib/convert/reduction.js";
import { derived } from "../lib/convert/weight-parts.js";
import { convolutionKernel } from "../lib/convert/weight.js";
import type { FloatWeight } from "../lib/convert/weight.js";

/**
 * A vision transformer (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929), with all that its published dialects
 * add. Each dialect names the tensors in its own way and fills this in; the graph is written here for all of them.
 */
export interface VisionTransformer {
  patches: PatchEmbedding;
  /** Tokens before the patches', each [n, width]: class, distillation, registers. */
  prefix: readonly FloatWeight[];
  /** [tokens, width]: of the first tokens of the prefix (or of none) and of the patches. */
  positions?: FloatWeight;
  /** CLIP's, before the first block. */
  preNorm?: LayerNorm;
  blocks: readonly TransformerBlock[];
  norm?: LayerNorm;
  pooling: TokenPooling;
  /** Behind the pooling. */
  poolNorm?: LayerNorm;
  /** CLIP's into the space that it shares with text: the tap `projection`. */
  projection?: Linear;
  classifiers: readonly Linear[];
}

export interface PatchEmbedding {
  /** [width, 3, patch, patch] */
  kernel: FloatWeight;
  bias?: FloatWeight;
}

export interface TransformerBlock {
  norm1: LayerNorm;
  attention: Attention;
  /** LayerScale (Touvron et al. 2021) of what the attention adds: [width]. */
  scale1?: FloatWeight;
  norm2: LayerNorm;
  mlp: Mlp;
  scale2?: FloatWeight;
}

/** Two layers with an activation between; where there is a `gate`, it multiplies what its activation leaves (SwiGLU). */
export interface Mlp {
  activation: Activation;
  gate?: Linear;
  up: Linear;
  norm?: LayerNorm;
  down: Linear;
}

/**
 * - `first`: the mean of so many first tokens: the class token, DeiT's class and distillation tokens
 * - `patches`: the mean of the patches' tokens
 * - `attention`: SigLIP's
 */
export type TokenPooling =
  | { kind: "first"; tokens: number }
  | { kind: "patches" }
  | { kind: "attention"; attention: AttentionPooling; norm: LayerNorm; mlp: Mlp };

/**
 * Writes the network with the taps `embed`, `block0` …, `norm`, `pooled`, `projection`, `logits`; those that it has.
 * Tokens are [prefix + patches, width], the prefix first.
 */
export function writeVisionTransformer(graph: GraphBuilder, network: VisionTransformer): void {
  const prefix = prefixLength(network);
  const tap = (name: string, tensor: GraphTensor) =>
    graph.tap(name, tensor, prefix === 0 ? "avg" : hasClassToken(network) ? "cls" : `patch_avg(${prefix})`, prefix);
  let x = embed(graph, network);
  tap("embed", x);
  for (const [i, block] of network.blocks.entries()) {
    x = transformerBlock(graph, `block${i}`, x, block);
    tap(`block${i}`, x);
  }
  if (network.norm) {
    x = layerNorm(graph, "norm", x, network.norm);
    tap("norm", x);
  }
  let pooled = pool(graph, x, network.pooling, prefix);
  if (network.poolNorm) pooled = layerNorm(graph, "pooled/norm", pooled, network.poolNorm);
  graph.tap("pooled", pooled);
  if (network.projection) graph.tap("projection", linear(graph, "projection", pooled, network.projection));
  if (network.classifiers.length > 0) graph.tap("logits", logits(graph, x, pooled, network));
}

/** Tokens before the patches'. */
export function prefixLength({ prefix }: Pick<VisionTransformer, "prefix">): number {
  return prefix.reduce((sum, { shape }) => sum + shape[0]!, 0);
}

function hasClassToken({ pooling }: VisionTransformer): boolean {
  return pooling.kind === "first";
}

function embed(graph: GraphBuilder, network: VisionTransformer): GraphTensor {
  const map = patchMap(graph, network.patches);
  const [height, width, depth] = map.shape as [number, number, number];
  const patches = reshape(graph, "embed/patches", map, [height * width, depth]);
  const prefix = prefixLength(network);
  // For a batch of any size: the prefix is zeros, to which its tokens are added with the position embeddings.
  const room = prefix === 0 ? patches : padWithZeros(graph, "embed/room", patches, [[prefix, 0], [0, 0]]); // prettier-ignore
  const { positions } = network;
  const constants = tokenConstants(network, prefix + height * width, depth);
  const tokens = prefix === 0 && !positions ? patches : elementwise(graph, "embed/tokens", "AddV2", room, constants);
  return network.preNorm ? layerNorm(graph, "embed/norm", tokens, network.preNorm) : tokens;
}

/** The image's patches, each projected: [rows, columns, width]. */
export function patchMap(graph: GraphBuilder, { kernel, bias }: PatchEmbedding): GraphTensor {
  const window = { stride: kernel.shape[2]!, padding: 0 };
  const map = graph.conv2d("embed/conv", graph.input, convolutionKernel(kernel), window);
  return bias ? graph.biasAdd("embed/bias_add", map, bias) : map;
}

function tokenConstants(network: VisionTransformer, tokens: number, width: number): FloatWeight {
  const { prefix, positions } = network;
  const before = prefixLength(network);
  return derived([tokens, width], async (values) => {
    let at = 0;
    for (const token of prefix) {
      const part = await token.read();
      values.set(part, at);
      at += part.length;
    }
    if (!positions) return;
    const positioned = positions.shape[0]! - (tokens - before);
    const table = await positions.read();
    for (let i = 0; i < table.length; i++) {
      const inPrefix = i < positioned * width;
      values[inPrefix ? i : i + (before - positioned) * width]! += table[i]!;
    }
  });
}

function transformerBlock(graph: GraphBuilder, name: string, input: GraphTensor, block: TransformerBlock): GraphTensor {
  const attended = selfAttention(
    graph,
    `${name}/attention`,
    layerNorm(graph, `${name}/norm1`, input, block.norm1),
    block.attention,
  );
  return withMlp(graph, name, addScaled(graph, `${name}/add1`, input, attended, block.scale1), block);
}

/** The second half of a block. */
export function withMlp(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  { norm2, mlp, scale2 }: Pick<TransformerBlock, "norm2" | "mlp" | "scale2">,
): GraphTensor {
  const step = writeMlp(graph, `${name}/mlp`, layerNorm(graph, `${name}/norm2`, input, norm2), mlp);
  return addScaled(graph, `${name}/add2`, input, step, scale2);
}

function addScaled(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  step: GraphTensor,
  scale?: FloatWeight,
): GraphTensor {
  return graph.add(name, input, scale ? elementwise(graph, `${name}/scaled`, "Mul", step, scale) : step);
}

function writeMlp(graph: GraphBuilder, name: string, input: GraphTensor, mlp: Mlp): GraphTensor {
  const up = linear(graph, `${name}/up`, input, mlp.up);
  const gate = mlp.gate && activate(graph, `${name}/gate/act`, linear(graph, `${name}/gate`, input, mlp.gate), mlp.activation); // prettier-ignore
  const hidden = gate
    ? elementwise(graph, `${name}/gated`, "Mul", gate, up)
    : activate(graph, `${name}/act`, up, mlp.activation);
  const normed = mlp.norm ? layerNorm(graph, `${name}/norm`, hidden, mlp.norm) : hidden;
  return linear(graph, `${name}/down`, normed, mlp.down);
}

function pool(graph: GraphBuilder, tokens: GraphTensor, pooling: TokenPooling, prefix: number): GraphTensor {
  const [count, width] = tokens.shape as [number, number];
  switch (pooling.kind) {
    case "first":
      return firstTokens(graph, "pooled", tokens, pooling.tokens);
    case "patches": {
      const range = { begin: [prefix], size: [count - prefix] };
      const patches = prefix === 0 ? tokens : slice(graph, "pooled/patches", tokens, range);
      return mean(graph, "pooled", patches, [0]);
    }
    case "attention": {
      const one = attentionPool(graph, "pooled/attention", tokens, pooling.attention);
      const step = writeMlp(graph, "pooled/mlp", layerNorm(graph, "pooled/norm", one, pooling.norm), pooling.mlp);
      return reshape(graph, "pooled", graph.add("pooled/add", one, step), [width]);
    }
  }
}

function firstTokens(graph: GraphBuilder, name: string, tokens: GraphTensor, count: number): GraphTensor {
  const first = slice(graph, `${name}/first`, tokens, { begin: [0], size: [count] });
  return count === 1 ? reshape(graph, name, first, tokens.shape.slice(1)) : mean(graph, name, first, [0]);
}

/** DeiT's two classifiers look each at its own token, and their mean is the answer. */
function logits(graph: GraphBuilder, tokens: GraphTensor, pooled: GraphTensor, network: VisionTransformer) {
  const { classifiers } = network;
  if (classifiers.length === 1) return linear(graph, "logits", pooled, classifiers[0]!);
  const each = classifiers.map((classifier, i) => {
    const range = { begin: [i], size: [1] };
    const token = slice(graph, `logits/token${i}`, tokens, range);
    const vector = reshape(graph, `logits/vector${i}`, token, tokens.shape.slice(1));
    return linear(graph, `logits/of_token${i}`, vector, classifier);
  });
  const sum = each.reduce((left, right, i) => graph.add(`logits/sum${i}`, left, right));
  return elementwise(graph, "logits", "Mul", sum, scalar(1 / classifiers.length));
}
