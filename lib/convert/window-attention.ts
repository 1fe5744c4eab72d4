import type { CheckpointWeights } from "./checkpoint-weights.js";
import { elementwise, unary } from "./elementwise.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { products } from "./matrix-products.js";
import { pointwise } from "./pointwise.js";
import { reshape, transpose } from "./rearrange.js";
import { convolutionKernel, type FloatWeight } from "./weight.js";
import {
  gatherPlaces,
  padPlaces,
  placeOrder,
  relativePositions,
  windowMask,
  windowOrder,
  windowsOf,
} from "./windows.js";

/**
 * Swin's attention within windows, with a bias for each relative position, of a map [height, width, channels]. Tensors
 * `<layer>.qkv`, `<layer>.proj`, `<layer>.relative_position_bias_table` [(2 · side − 1)², heads].
 */
export function windowAttention(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  x: GraphTensor,
  { name, layer, shifted }: { name: string; layer: string; shifted: boolean },
): GraphTensor {
  const channels = x.shape[2]!;
  const table = weights.take(`${layer}.relative_position_bias_table`, [null, null]);
  const [relative, heads] = table.shape as [number, number];
  const side = (Math.sqrt(relative) + 1) / 2;
  const windows = windowsOf({ map: x.shape, side, shifted });
  const padded = padPlaces(graph, `${name}/pad`, x, [windows.height, windows.width]);
  const ordered = gatherPlaces(graph, `${name}/order`, padded, windowOrder(windows));
  const places = side * side;
  const count = ordered.shape[0]! / places;
  const cut = reshape(graph, `${name}/windows`, ordered, [count, places, channels]);

  const matrix = weights.take(`${layer}.qkv.weight`, [3 * channels, channels]);
  const bias = weights.take(`${layer}.qkv.bias`, [3 * channels]);
  const part = (index: number, step: string, factor = 1) => {
    const own = { from: index * channels, to: (index + 1) * channels, factor };
    const kernel = convolutionKernel({ ...rows(matrix, own), shape: [channels, channels, 1, 1] });
    const product = graph.conv2d(`${name}/${step}/conv`, cut, kernel, { padding: 0 });
    const projected = graph.biasAdd(`${name}/${step}/bias_add`, product, rows(bias, own));
    const apart = reshape(graph, `${name}/${step}/heads`, projected, [count, places, heads, channels / heads]);
    return transpose(graph, `${name}/${step}`, apart, headsFirst);
  };
  const query = part(0, "query", (channels / heads) ** -0.5);
  let scores = products(graph, `${name}/scores`, query, part(1, "key"), { transposed: true });
  scores = elementwise(graph, `${name}/biased`, "AddV2", scores, positionBias(table, side));
  const mask = windowMask(windows);
  if (mask) scores = elementwise(graph, `${name}/masked`, "AddV2", scores, mask);
  const shares = unary(graph, `${name}/softmax`, "Softmax", scores);
  const mixed = transpose(
    graph,
    `${name}/mixed`,
    products(graph, `${name}/values`, shares, part(2, "value")),
    headsFirst,
  );
  const joined = reshape(graph, `${name}/joined`, mixed, [count, places, channels]);
  const result = pointwise(graph, weights, joined, { name: `${name}/project`, layer: `${layer}.proj`, is: "linear" });
  const placed = gatherPlaces(graph, `${name}/placed`, result, placeOrder(windows, x.shape));
  return reshape(graph, `${name}/map`, placed, x.shape);
}

/** [windows, places, heads, depth] → [windows, heads, places, depth], and back. */
const headsFirst = [0, 2, 1, 3];

/** [heads, places, places] out of the table [relative positions, heads]. */
function positionBias(table: FloatWeight, side: number): FloatWeight {
  const heads = table.shape[1]!;
  const positions = relativePositions(side);
  return {
    shape: [heads, side * side, side * side],
    dtype: "float32",
    read: async () => {
      const values = await table.read();
      return Float32Array.from({ length: heads * positions.length }, (_, i) => {
        const head = Math.floor(i / positions.length);
        return values[positions[i % positions.length]! * heads + head]!;
      });
    },
  };
}

/** Some of a weight's rows, each number times a factor. */
function rows(weight: FloatWeight, { from, to, factor }: { from: number; to: number; factor: number }): FloatWeight {
  const [, ...inner] = weight.shape;
  const length = inner.reduce((product, size) => product * size, 1);
  return {
    shape: [to - from, ...inner],
    dtype: "float32",
    read: async () => (await weight.read()).slice(from * length, to * length).map((value) => value * factor),
  };
}
