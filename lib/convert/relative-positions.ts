import { elementwise } from "./elementwise.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { products } from "./matrix-products.js";
import { padWithZeros, reshape, slice, transpose } from "./rearrange.js";
import { derived } from "./weight-parts.js";
import type { FloatWeight } from "./weight.js";

/** Embeddings of how far a key is from its query, rows and columns apart (Li et al. 2022, MViTv2; SAM). */
export interface RelativePositions {
  height: number;
  width: number;
  /** [2 · height − 1, channels of a head]: from the furthest above to the furthest below. */
  rows: FloatWeight;
  /** [2 · width − 1, channels of a head] */
  columns: FloatWeight;
}

/**
 * The scores and what the distance of query and key adds to them.
 *
 * @param options.scores [..., heads, height · width, height · width]
 * @param options.query not yet scaled: [..., heads, height · width, channels].
 */
export function relativeScores(
  graph: GraphBuilder,
  name: string,
  options: { scores: GraphTensor; query: GraphTensor; positions: RelativePositions },
): GraphTensor {
  const { scores, query, positions } = options;
  const { height, width, rows, columns } = positions;
  const size = query.shape.at(-1)!;
  const groups = query.shape.slice(0, -2).reduce((product, length) => product * length, 1);
  const grid = reshape(graph, `${name}/grid`, query, [groups, height, width, size]);
  const byRow = products(graph, `${name}/rows`, grid, byDistance(rows, height));
  const turned = transpose(graph, `${name}/turned`, grid, [0, 2, 1, 3]);
  const byColumn = transpose(
    graph,
    `${name}/columns`,
    products(graph, `${name}/columns/turned`, turned, byDistance(columns, width)),
    [0, 2, 1, 3],
  );
  const apart = reshape(graph, `${name}/scores`, scores, [groups, height, width, height, width]);
  const added = elementwise(
    graph,
    `${name}/with_columns`,
    "AddV2",
    elementwise(
      graph,
      `${name}/with_rows`,
      "AddV2",
      apart,
      reshape(graph, `${name}/rows/wide`, byRow, [groups, height, width, height, 1]),
    ),
    reshape(graph, `${name}/columns/wide`, byColumn, [groups, height, width, 1, width]),
  );
  return reshape(graph, name, added, scores.shape);
}

/** For each place of a query a matrix: [length of queries, channels, length of keys]. */
function byDistance(embeddings: FloatWeight, length: number): FloatWeight {
  const size = embeddings.shape[1]!;
  return derived([length, size, length], async (values) => {
    const all = await embeddings.read();
    let at = 0;
    for (let query = 0; query < length; query++)
      for (let channel = 0; channel < size; channel++)
        for (let key = 0; key < length; key++) values[at++] = all[(query - key + length - 1) * size + channel]!;
  });
}

/** [height, width, channels] → [windows, side · side, channels]; what is missing at the right and bottom is zero. */
export function windows(graph: GraphBuilder, name: string, input: GraphTensor, side: number): GraphTensor {
  const [height, width, depth] = input.shape as [number, number, number];
  const [down, across] = [Math.ceil(height / side), Math.ceil(width / side)];
  const missing = [down * side - height, across * side - width] as const;
  const padded = missing.some((length) => length > 0)
    ? padWithZeros(graph, `${name}/padded`, input, [[0, missing[0]], [0, missing[1]], [0, 0]]) // prettier-ignore
    : input;
  const split = reshape(graph, `${name}/split`, padded, [down, side, across, side, depth]);
  const sorted = transpose(graph, `${name}/sorted`, split, [0, 2, 1, 3, 4]);
  return reshape(graph, name, sorted, [down * across, side * side, depth]);
}

/** The way back. */
export function withoutWindows(
  graph: GraphBuilder,
  name: string,
  input: GraphTensor,
  { side, height, width }: { side: number; height: number; width: number },
): GraphTensor {
  const depth = input.shape.at(-1)!;
  const [down, across] = [Math.ceil(height / side), Math.ceil(width / side)];
  const split = reshape(graph, `${name}/split`, input, [down, across, side, side, depth]);
  const sorted = transpose(graph, `${name}/sorted`, split, [0, 2, 1, 3, 4]);
  const whole = reshape(graph, `${name}/whole`, sorted, [down * side, across * side, depth]);
  if (down * side === height && across * side === width) return whole;
  return slice(graph, name, whole, { begin: [0, 0], size: [height, width] });
}

/**
 * Embeddings of distances for a grid of another length, interpolated linearly as SAM does it.
 *
 * @param embeddings [2 · old length − 1, channels]
 * @returns [2 · length − 1, channels]
 */
export function resampleDistances(embeddings: FloatWeight, length: number): FloatWeight {
  const [from, size] = embeddings.shape as [number, number];
  const to = 2 * length - 1;
  if (from === to) return embeddings;
  return derived([to, size], async (values) => {
    const old = await embeddings.read();
    for (let i = 0; i < to; i++) {
      const place = Math.max(0, (from / to) * (i + 0.5) - 0.5);
      const below = Math.floor(place);
      const above = Math.min(from - 1, below + 1);
      const share = place - below;
      for (let c = 0; c < size; c++) {
        values[i * size + c] = (1 - share) * old[below * size + c]! + share * old[above * size + c]!;
      }
    }
  });
}
