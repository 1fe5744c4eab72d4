import { elementwise, scalar, unary } from "./elementwise.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { layerNorm, type LayerNorm } from "./layer-norm.js";
import { linear, type Linear } from "./linear.js";
import { products } from "./matrix-products.js";
import { channels, concatenate, reshape, transpose } from "./rearrange.js";
import { relativeScores, type RelativePositions } from "./relative-positions.js";
import type { FloatWeight } from "./weight.js";

/** Self-attention of several heads (Vaswani et al. 2017), with what vision transformers add to it. */
export interface Attention {
  heads: number;
  /** Queries, keys and values in one: [3 · inner, channels]. */
  qkv: Linear;
  /** [channels, inner] */
  out: Linear;
  /** Of queries and keys, a head at a time. */
  queryNorm?: LayerNorm;
  keyNorm?: LayerNorm;
  /** Of the heads' results together. */
  norm?: LayerNorm;
  rotation?: Rotation;
  relative?: RelativePositions;
}

/**
 * Rotary position embeddings (Su et al. 2021): the first and the second half of each head's channels are the two
 * coordinates that are turned. Each [tokens, channels of a head / 2]; tokens without a position are turned by nothing.
 */
export interface Rotation {
  cos: FloatWeight;
  sin: FloatWeight;
}

/** @param input [..., tokens, channels]; tokens see those of the same image and of the same position of the axes before. */
export function selfAttention(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  attention: Attention,
): GraphTensor {
  const { heads, qkv, out, queryNorm, keyNorm, norm, rotation, relative } = attention;
  const inner = qkv.matrix.shape[0]! / 3;
  const joined = linear(graph, `${name}/qkv`, input, qkv);
  const part = (step: string, index: number) =>
    splitHeads(
      graph,
      `${name}/${step}`,
      channels(graph, `${name}/${step}/of_qkv`, joined, index * inner, inner),
      heads,
    );
  let [query, key] = [part("query", 0), part("key", 1)];
  if (queryNorm) query = layerNorm(graph, `${name}/query/norm`, query, queryNorm);
  if (keyNorm) key = layerNorm(graph, `${name}/key/norm`, key, keyNorm);
  if (rotation) {
    query = rotate(graph, `${name}/query/rotation`, query, rotation);
    key = rotate(graph, `${name}/key/rotation`, key, rotation);
  }
  const scaled = elementwise(graph, `${name}/query/scaled`, "Mul", query, scalar((inner / heads) ** -0.5));
  let scores = products(graph, `${name}/scores`, scaled, swapLast(graph, `${name}/key/transposed`, key));
  if (relative) scores = relativeScores(graph, `${name}/relative`, { scores, query, positions: relative });
  const weighted = products(
    graph,
    `${name}/weighted`,
    unary(graph, `${name}/softmax`, "Softmax", scores),
    part("value", 2),
  );
  const merged = mergeHeads(graph, `${name}/merged`, weighted);
  return linear(graph, `${name}/out`, norm ? layerNorm(graph, `${name}/norm`, merged, norm) : merged, out);
}

/** Attention of a trained query to all tokens (SigLIP's pooling). */
export interface AttentionPooling {
  heads: number;
  /** The query, projected: [inner]. */
  query: FloatWeight;
  /** Keys and values in one: [2 · inner, channels]. */
  keyValue: Linear;
  out: Linear;
}

/** @returns [1, channels] of tokens [tokens, channels]. */
export function attentionPool(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  { heads, query, keyValue, out }: AttentionPooling,
): GraphTensor {
  const inner = keyValue.matrix.shape[0]! / 2;
  const joined = linear(graph, `${name}/kv`, input, keyValue);
  const part = (step: string, index: number) =>
    splitHeads(graph, `${name}/${step}`, channels(graph, `${name}/${step}/of_kv`, joined, index * inner, inner), heads);
  const key = part("key", 0);
  // A query's product with a key as a sum over channels: the query is the same for all images.
  const scores = products(graph, `${name}/scores`, key, {
    dtype: "float32",
    shape: [heads, inner / heads, 1],
    read: async () => (await query.read()).map((value) => value * (inner / heads) ** -0.5),
  });
  const weights = unary(graph, `${name}/softmax`, "Softmax", swapLast(graph, `${name}/scores/transposed`, scores));
  const merged = mergeHeads(graph, `${name}/merged`, products(graph, `${name}/weighted`, weights, part("value", 1)));
  return linear(graph, `${name}/out`, merged, out);
}

/** [..., tokens, inner] → [..., heads, tokens, inner / heads] */
function splitHeads(graph: GraphBuilder, name: string, input: GraphTensor, heads: number): GraphTensor {
  const [before, tokens, inner] = [input.shape.slice(0, -2), input.shape.at(-2)!, input.shape.at(-1)!];
  const split = reshape(graph, `${name}/split`, input, [...before, tokens, heads, inner / heads]);
  const at = before.length;
  return transpose(graph, `${name}/heads`, split, [...before.keys(), at + 1, at, at + 2]);
}

/** The way back. */
function mergeHeads(graph: GraphBuilder, name: string, input: GraphTensor): GraphTensor {
  const [before, heads, tokens, size] = [
    input.shape.slice(0, -3),
    input.shape.at(-3)!,
    input.shape.at(-2)!,
    input.shape.at(-1)!,
  ];
  const at = before.length;
  const moved = transpose(graph, `${name}/tokens`, input, [...before.keys(), at + 1, at, at + 2]);
  return reshape(graph, name, moved, [...before, tokens, heads * size]);
}

function swapLast(graph: GraphBuilder, name: string, input: GraphTensor): GraphTensor {
  const at = input.shape.length - 2;
  return transpose(graph, name, input, [...input.shape.slice(0, at).keys(), at + 1, at]);
}

function rotate(graph: GraphBuilder, name: string, input: GraphTensor, { cos, sin }: Rotation): GraphTensor {
  const half = input.shape.at(-1)! / 2;
  const [x, y] = [channels(graph, `${name}/x`, input, 0, half), channels(graph, `${name}/y`, input, half, half)];
  const times = (step: string, left: GraphTensor, right: FloatWeight) =>
    elementwise(graph, `${name}/${step}`, "Mul", left, right);
  const halves = [
    elementwise(graph, `${name}/turned_x`, "Sub", times("x_cos", x, cos), times("y_sin", y, sin)),
    elementwise(graph, `${name}/turned_y`, "AddV2", times("y_cos", y, cos), times("x_sin", x, sin)),
  ];
  return concatenate(graph, name, halves, input.shape.length - 1);
}
