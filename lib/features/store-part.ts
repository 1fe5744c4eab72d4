import { expected } from "../errors.js";
import { mostRowsPerShard } from "./store-format.js";

/** One of the parts that a listing is cut into, so that several machines extract it; `index` counts from 1. */
export interface StorePart {
  index: number;
  count: number;
}

/** Positions `from` … `to − 1` of a listing. */
export interface RowRange {
  from: number;
  to: number;
}

/**
 * The positions of a part. Every part begins where the largest shards begin, and so all shards do: a part's shards are
 * those of an undivided store, and so are its batches. A part may be empty where a listing has fewer shards than parts.
 *
 * @param size rows of the whole listing.
 * @param part all of it where undefined.
 */
export function rowsOfPart(size: number, part: StorePart = { index: 1, count: 1 }): RowRange {
  const shards = Math.ceil(size / mostRowsPerShard);
  const [from, to] = [part.index - 1, part.index].map((i) => Math.floor((shards * i) / part.count) * mostRowsPerShard);
  return { from: from!, to: Math.min(to!, size) };
}

/**
 * `2/8` as a part.
 *
 * @throws UserError where it is none.
 */
export function parsePart(text: string, flag = "--shard"): StorePart {
  const [, index, count] = /^([1-9]\d{0,8})\/([1-9]\d{0,8})$/.exec(text) ?? [];
  if (index === undefined || Number(index) > Number(count)) {
    throw expected("a part and the number of parts, from 1/8 to 8/8,", flag, text);
  }
  return { index: Number(index), count: Number(count) };
}
