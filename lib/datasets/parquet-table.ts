import path from "node:path";

import type { AsyncBuffer, ColumnChunk, FileMetaData } from "hyparquet" with { "resolution-mode": "import" };

import { UserError, messageOf, show } from "../errors.js";
import { asReadError, errorCode } from "../files.js";
import type { ImageSource } from "../images/image.js";
import type { Shard } from "./shards.js";

/** A Parquet file whose footer is read. */
export interface ParquetTable extends Shard {
  buffer: AsyncBuffer;
  metadata: FileMetaData;
  rows: number;
  /** Names of the columns. */
  columns: string[];
}

export async function openTable(shard: Shard): Promise<ParquetTable> {
  return reading(shard.file, async () => {
    const { asyncBufferFromFile, parquetMetadataAsync, parquetSchema } = await import("hyparquet");
    const buffer = await asyncBufferFromFile(shard.file);
    const metadata = await parquetMetadataAsync(buffer);
    const columns = parquetSchema(metadata).children.map(({ element }) => element.name);
    return { ...shard, buffer, metadata, rows: Number(metadata.num_rows), columns };
  });
}

/** The values of one column, of all rows or of some. */
export async function readColumn(options: {
  table: ParquetTable;
  column: string;
  rowStart?: number;
  rowEnd?: number;
}): Promise<unknown[]> {
  const { table, column, rowStart = 0, rowEnd = table.rows } = options;
  return reading(table.file, async () => {
    const { parquetReadObjects } = await import("hyparquet");
    const { compressors } = await import("hyparquet-compressors");
    const rows = await parquetReadObjects({
      file: table.buffer,
      metadata: table.metadata,
      columns: [column],
      rowStart,
      rowEnd,
      compressors,
      // Bytes that are no text stay bytes.
      utf8: false,
      useOffsetIndex: true,
    });
    if (rows.length === rowEnd - rowStart) return rows.map((row): unknown => row[column]);
    throw new Error(`${rows.length} rows where there should be ${rowEnd - rowStart}`);
  });
}

/** Rows that are unpacked together. */
interface Block {
  start: number;
  end: number;
  /** What it takes in memory, about. */
  bytes: number;
}

interface Group {
  start: number;
  end: number;
  columns: ColumnChunk[];
  blocks?: Promise<Block[]>;
}

/** Images unpacked at a time where a file's page index tells where they are. */
const blockBytes = 4 * 2 ** 20;

/** Memory that unpacked images may take; but two blocks are always kept, for a batch may begin in one and end in the other. */
const keptBytes = 64 * 2 ** 20;

/**
 * Makes the function that reads one image of a column. A row group is unpacked at a time, or a few megabytes of it
 * where the file has a page index; what was read last is kept.
 */
export function imageReader(column: string): (table: ParquetTable, row: number) => Promise<ImageSource> {
  const kept = new Map<string, { values: Promise<unknown[]>; bytes: number }>();
  const groupsOf = new Map<ParquetTable, Group[]>();

  const read = (table: ParquetTable, { start, end, bytes }: Block): Promise<unknown[]> => {
    const key = `${table.file}:${start}`;
    const one = kept.get(key) ?? { values: readColumn({ table, column, rowStart: start, rowEnd: end }), bytes };
    // The last in the map is the one used last.
    kept.delete(key);
    kept.set(key, one);
    let sum = 0;
    for (const each of kept.values()) sum += each.bytes;
    for (const [oldest, each] of kept) {
      if (kept.size <= 2 || sum <= keptBytes) break;
      kept.delete(oldest);
      sum -= each.bytes;
    }
    return one.values;
  };

  return async (table, row) => {
    const groups = groupsOf.get(table) ?? rowGroups(table);
    groupsOf.set(table, groups);
    const group = groups[lastAtOrBefore(groups, row)]!;
    group.blocks ??= blocksOf({ table, column, group });
    const blocks = await group.blocks;
    const block = blocks[lastAtOrBefore(blocks, row)]!;
    return imageOf((await read(table, block))[row - block.start], table.file, row);
  };
}

function rowGroups({ metadata }: ParquetTable): Group[] {
  let start = 0;
  return metadata.row_groups.map(({ columns, num_rows: rows }) => {
    const group = { start, end: start + Number(rows), columns };
    start = group.end;
    return group;
  });
}

/**
 * Cuts a row group between pages, which are unpacked whole. Without a page index, or with a large dictionary, which
 * every part would have to unpack again, it stays in one piece.
 */
async function blocksOf(options: { table: ParquetTable; column: string; group: Group }): Promise<Block[]> {
  const { table, column, group } = options;
  const { start, end } = group;
  const chunks = group.columns.filter(({ meta_data: data }) => data?.path_in_schema[0] === column);
  const sizeOf = (chunk: ColumnChunk) => Number(chunk.meta_data?.total_uncompressed_size ?? 0);
  const bytes = chunks.reduce((sum, chunk) => sum + sizeOf(chunk), 0);
  const largest = chunks.reduce((a, b) => (sizeOf(b) > sizeOf(a) ? b : a));
  const { offset_index_offset: at, offset_index_length: length, meta_data: data } = largest;
  const dictionary = data?.dictionary_page_offset ? Number(data.data_page_offset - data.dictionary_page_offset) : 0;
  if (at === undefined || length === undefined || dictionary > blockBytes / 4) return [{ start, end, bytes }];
  return reading(table.file, async () => {
    const { readOffsetIndex } = await import("hyparquet");
    const view = new DataView(await table.buffer.slice(Number(at), Number(at) + length));
    const { page_locations: pages } = readOffsetIndex({ view, offset: 0 });
    const perRow = bytes / (end - start);
    const blocks: Block[] = [];
    let begin = start;
    for (const next of [...pages.slice(1).map((page) => start + Number(page.first_row_index)), end]) {
      if (next < end && (next - begin) * perRow < blockBytes) continue;
      blocks.push({ start: begin, end: next, bytes: (next - begin) * perRow });
      begin = next;
    }
    return blocks;
  });
}

function lastAtOrBefore(ranges: { start: number }[], row: number): number {
  let low = 0;
  let high = ranges.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (ranges[middle]!.start <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** `{bytes, path}`, or bytes; without bytes the path says where the image is, beside the table. */
function imageOf(value: unknown, file: string, row: number): ImageSource {
  if (value instanceof Uint8Array) return { kind: "bytes", bytes: value };
  if (typeof value === "object" && value !== null) {
    const { bytes, path: place } = value as { bytes?: unknown; path?: unknown };
    if (bytes instanceof Uint8Array) return { kind: "bytes", bytes };
    if (typeof place === "string" && place !== "")
      return { kind: "file", path: path.resolve(path.dirname(file), place) };
  }
  throw new UserError(`Expected an image in row ${row} of ${file} but received ${show(value ?? null)}`);
}

/** What the Parquet reader complains about, as an error that names the file. */
async function reading<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UserError) throw error;
    if (errorCode(error)?.startsWith("E") && !errorCode(error)!.startsWith("ERR_")) {
      throw asReadError(error, file, "a Parquet file");
    }
    throw new UserError(`Expected a whole Parquet file at ${file} but it cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
