import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { padWithZeros, reshape } from "./rearrange.js";
import { constant, type Weight } from "./weight.js";

/**
 * The windows of a Swin transformer (https://arxiv.org/abs/2103.14030): a map is cut into squares, and attention stays
 * within each. In every other block the map is first rolled up and left by half a window, so that a window has
 * neighbours of four; those at the edges then hold what was not together, and a mask keeps it apart.
 */
export interface Windows {
  /** Of the map, in whole windows. */
  height: number;
  width: number;
  /** Side of a window. */
  side: number;
  /** By how much the map is rolled. */
  shift: readonly [rows: number, columns: number];
}

/**
 * @param options.shifted a map that is no larger than a window is never shifted.
 */
export function windowsOf(options: { map: readonly number[]; side: number; shifted: boolean }): Windows {
  const { side, shifted } = options;
  const [height, width] = options.map.slice(0, 2).map((size) => Math.ceil(size / side) * side) as [number, number];
  const shift = (size: number) => (shifted && size > side ? Math.floor(side / 2) : 0);
  return { height, width, side, shift: [shift(height), shift(width)] };
}

/** Positions of the map's places, window by window: what stands at each place of each window. */
export function windowOrder({ height, width, side, shift }: Windows): number[] {
  return eachPlace({ height, width, side }, (y, x) => ((y + shift[0]) % height) * width + ((x + shift[1]) % width));
}

/** The other way: for each place of a map of `map`'s size, which may be smaller than the windows, where it stands. */
export function placeOrder(windows: Windows, map: readonly number[]): number[] {
  const order = windowOrder(windows);
  const standing = new Array<number>(order.length);
  for (const [at, place] of order.entries()) standing[place] = at;
  const [height, width] = map as [number, number];
  return range(height).flatMap((y) => range(width).map((x) => standing[y * windows.width + x]!));
}

/**
 * What is added to attention scores [windows, 1, places, places]: −100 between places that were not together before the
 * roll, as in the original; undefined where nothing was rolled.
 */
export function windowMask(windows: Windows): Weight | undefined {
  const { height, width, side, shift } = windows;
  if (shift[0] === 0 && shift[1] === 0) return undefined;
  const region = (at: number, size: number, roll: number) => (at < size - side ? 0 : at < size - roll ? 1 : 2);
  const regions = eachPlace(windows, (y, x) => 3 * region(y, height, shift[0]) + region(x, width, shift[1]));
  const places = side * side;
  const count = regions.length / places;
  const values = () => {
    const all = new Float32Array(count * places * places);
    for (let i = 0; i < all.length; i++) {
      const own = Math.floor(i / places);
      const other = Math.floor(own / places) * places + (i % places);
      if (regions[own] !== regions[other]) all[i] = -100;
    }
    return all;
  };
  return { shape: [count, 1, places, places], dtype: "float32", read: () => Promise.resolve(values()) };
}

/** Rows of the table of relative positions, for each pair of places in a window: dy · (2 · side − 1) + dx, from 0. */
export function relativePositions(side: number): number[] {
  const places = range(side * side);
  const [y, x] = [(place: number) => Math.floor(place / side), (place: number) => place % side];
  return places.flatMap((one) =>
    places.map((other) => (y(one) - y(other) + side - 1) * (2 * side - 1) + x(one) - x(other) + side - 1),
  );
}

/** The four places of each square of 2 × 2, column by column: (0, 0), (1, 0), (0, 1), (1, 1). */
export function squareOrder([height, width]: readonly [number, number]): number[] {
  return range(height / 2).flatMap((row) =>
    range(width / 2).flatMap((column) =>
      [0, 1].flatMap((dx) => [0, 1].map((dy) => (2 * row + dy) * width + 2 * column + dx)),
    ),
  );
}

/** The places of a map [height, width, channels] in another order: [order's length, channels]. */
export function gatherPlaces(graph: GraphBuilder, name: string, x: GraphTensor, order: readonly number[]): GraphTensor {
  const channels = x.shape.at(-1)!;
  const places = x.shape.slice(0, -1).reduce((product, size) => product * size, 1);
  const row = reshape(graph, `${name}/row`, x, [places, channels]);
  return graph.operation({
    name,
    op: "GatherV2",
    inputs: [row, constant(order, "int32"), constant([1], "int32", [])],
    shape: [order.length, channels],
    attr: { Tparams: { type: "DT_FLOAT" }, Tindices: int32, Taxis: int32, batch_dims: { i: "0" } },
  });
}

/** Zeros at the bottom and the right, up to a size. */
export function padPlaces(
  graph: GraphBuilder,
  name: string,
  x: GraphTensor,
  [height, width]: readonly [number, number],
): GraphTensor {
  const [rows, columns] = x.shape as [number, number, number];
  if (rows === height && columns === width) return x;
  return padWithZeros(graph, name, x, [[0, height - rows], [0, width - columns], [0, 0]]); // prettier-ignore
}

/** A number for each place of each window, in the map as it was rolled. */
function eachPlace(
  { height, width, side }: Pick<Windows, "height" | "width" | "side">,
  at: (y: number, x: number) => number,
): number[] {
  return range(height / side).flatMap((row) =>
    range(width / side).flatMap((column) =>
      range(side).flatMap((dy) => range(side).map((dx) => at(row * side + dy, column * side + dx))),
    ),
  );
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

const int32 = { type: "DT_INT32" };
