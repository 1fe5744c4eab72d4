import path from "node:path";

import type { DatasetSplit } from "../datasets/dataset.js";
import { UserError } from "../errors.js";
import { asWriteError, writeJson } from "../files.js";
import { LayerWriter } from "./layer-writer.js";
import { product } from "./npy.js";
import { formatVersion, readDescription, sameKey, sameLayer, storeFolders } from "./store-format.js";
import type { LayerSpec, StoreDescription, StorePlace, StoredLayer } from "./store-format.js";
import { openJournal, writeJournal } from "./store-journal.js";
import type { Journal } from "./store-journal.js";
import { holdLock } from "./store-lock.js";
import { writeNames } from "./store-names.js";
import { rowsOfPart } from "./store-part.js";
import { distinctLayers, takeUp } from "./store-progress.js";
import { openStore } from "./store.js";
import type { FeatureStore } from "./store.js";

export interface StoreWriterOptions {
  place: StorePlace;
  /** Layers that the store is to hold in the end, beside those that it holds already. */
  layers: LayerSpec[];
  /** The images, those of other parts too; `digest` is that of `place.key.dataset`. */
  listing: Pick<DatasetSplit, "size" | "ids" | "targets" | "digest">;
  classes: string[];
  /** Other than the layer's own (`rowsPerShardOf`); for tests. */
  rowsPerShard?: number;
}

/** Features of consecutive positions of the listing, on their way to a store. */
export interface ExtractedBatch {
  /** Positions that were read, ascending. */
  rows: Uint32Array;
  /** Of each missing layer, by the name that it was asked for: [rows, width], channel-major within a row. */
  features: Record<string, Float32Array>;
  /** Positions between them that could not be read. */
  skipped?: { row: number; reason: string }[];
}

export interface StoreWriter {
  folder: string;
  /** Those of the layers asked for that are not whole yet. */
  missing: LayerSpec[];
  /** Extraction starts at this position; `end` where nothing is missing. */
  firstMissingRow: number;
  /** Extraction ends before this position: that of the part, or of the listing. */
  end: number;
  /**
   * Cut batches at multiples of this: then a run that goes on sees the same batches as an undisturbed one, and a
   * network whose last bits depend on the batch gives the same bytes.
   */
  batchBoundary: number;
  /**
   * Takes the next batch; await it before the next. Every position must come, in order, read or skipped. On an error
   * what is not whole is dropped and the writer is closed.
   */
  append(batch: ExtractedBatch): Promise<void>;
  /** After the last batch: makes the store whole and opens it. */
  finish(): Promise<FeatureStore>;
  /** Ends without finishing; whole shards stay, and the next run goes on after them. */
  abort(): Promise<void>;
}

/**
 * Opens a feature store for writing, new or begun: finds its folder, takes its lock, and sees how far it came.
 *
 * @throws UserError where another process writes to it, or the folder cannot be written.
 */
export async function openStoreWriter(options: StoreWriterOptions): Promise<StoreWriter> {
  const { place, listing } = options;
  if (listing.digest !== place.key.dataset) throw new Error("The store's key is of another listing");
  const folder = await folderFor(place);
  const release = await holdLock(folder);
  try {
    return await begin(options, folder, release);
  } catch (error) {
    await release();
    throw asWriteError(error, folder);
  }
}

async function begin(options: StoreWriterOptions, folder: string, release: () => Promise<void>): Promise<StoreWriter> {
  const { place, listing, classes } = options;
  const { size } = listing;
  const { from, to } = rowsOfPart(size, place.key.part);
  const { description, layers, skipped, settled } = await takeUp({ ...options, folder, range: { from, to } });
  const isWhole = ({ shards, rowsPerShard }: StoredLayer) => shards.length === Math.ceil((to - from) / rowsPerShard);
  const begun = () => layers.filter((layer) => !isWhole(layer));
  const write = (wholeLayers: StoredLayer[], files: StoreDescription["files"]) =>
    writeJson(path.join(folder, "store.json"), {
      format: formatVersion,
      key: place.key,
      dataset: { name: place.dataset, split: place.split, size, classes },
      skipped: skippedList(skipped, listing.ids),
      files,
      layers: wholeLayers,
    } satisfies StoreDescription);

  await write(layers.filter(isWhole), description?.files);
  await writeJournal(folder, { layers: begun(), skipped });
  const asked = distinctLayers(options.layers).map((spec) => ({
    spec,
    layer: layers.find((one) => sameLayer(one, spec))!,
  }));
  const missing = asked.filter(({ layer }) => !isWhole(layer));
  const journal = missing.length > 0 ? await openJournal(folder) : undefined;
  const writers = missing.map(({ spec, layer }) => ({
    spec,
    writer: new LayerWriter(layer, { folder, precision: place.key.precision, range: { from, to } }),
  }));
  const firstMissingRow = writers.reduce((least, { writer }) => Math.min(least, writer.covered), to);
  let cursor = firstMissingRow;
  let closed = false;

  const close = async () => {
    if (closed) return;
    closed = true;
    for (const { writer } of writers) await writer.abort();
    await journal?.close();
    await release();
  };
  /** Closes the writer where `work` fails, and tells of full disks. */
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    if (closed) throw new Error("The store's writer is closed");
    try {
      return await work();
    } catch (error) {
      await close();
      throw asWriteError(error, folder);
    }
  };

  return {
    folder,
    missing: missing.map(({ spec }) => spec),
    firstMissingRow,
    end: to,
    batchBoundary: asked.reduce((least, { layer }) => Math.min(least, layer.rowsPerShard), Infinity),
    append: (batch) =>
      guarded(async () => {
        const { kept, end } = account({ batch, cursor, skipped, settled, ids: listing.ids, journal: journal! });
        cursor = end;
        for (const { spec, writer } of writers) {
          await writeRows({
            writer,
            journal: journal!,
            rows: batch.rows,
            kept,
            values: batch.features[spec.name],
            cursor,
          });
        }
      }),
    finish: () =>
      guarded(async () => {
        if (cursor !== to) throw new Error(`Positions from ${cursor} on did not come`);
        const kept = Uint32Array.from({ length: to - from }, (_, i) => from + i).filter((row) => !skipped.has(row));
        if (kept.length === 0 && !place.key.part) throw allSkipped(size);
        await write(layers.filter(isWhole), await writeNames(folder, listing, kept));
        await writeJournal(folder, { layers: begun(), skipped });
        await close();
        return openStore({ folder });
      }),
    abort: close,
  };
}

export function allSkipped(size: number): UserError {
  return new UserError(`Expected images that can be read but all ${size} were skipped`);
}

/** Which images of a batch are kept (their places in it), after noting those that are skipped. */
function account(options: {
  batch: ExtractedBatch;
  cursor: number;
  skipped: Map<number, string>;
  settled: number;
  ids: string[];
  journal: Journal;
}): { kept: number[]; end: number } {
  const { batch, cursor, skipped, settled, ids, journal } = options;
  const bad = new Map((batch.skipped ?? []).map(({ row, reason }) => [row, reason]));
  const kept: number[] = [];
  let taken = 0;
  let row = cursor;
  for (; taken < batch.rows.length || bad.size > 0; row++) {
    const reason = bad.get(row);
    bad.delete(row);
    const came = batch.rows[taken] === row;
    if (came && !skipped.has(row)) kept.push(taken);
    if (came) taken++;
    if (skipped.has(row)) continue;
    if (reason !== undefined && row < settled) {
      throw new UserError(`Expected to read ${ids[row]!} again, as an earlier run did, but it failed: ${reason}`, {
        hint: "Run again where the disk or the network had a bad moment; otherwise delete the store's folder.",
      });
    }
    if (reason !== undefined) {
      skipped.set(row, reason);
      journal.skip(row, reason);
    } else if (!came) {
      throw new Error(`Position ${row} came neither read nor skipped`);
    }
  }
  return { kept, end: row };
}

async function writeRows(options: {
  writer: LayerWriter;
  journal: Journal;
  rows: Uint32Array;
  kept: number[];
  values: Float32Array | undefined;
  cursor: number;
}): Promise<void> {
  const { writer, journal, rows, kept, values, cursor } = options;
  const { layer } = writer;
  const width = product(layer.shape);
  if (values?.length !== rows.length * width) {
    throw new Error(`${values?.length ?? 0} features of ${layer.name} for ${rows.length} rows of ${width}`);
  }
  const publish = async () => journal.publish(layer.folder, await writer.publish());
  for (let i = kept.findIndex((place) => rows[place]! >= writer.covered); i >= 0 && i < kept.length;) {
    while (rows[kept[i]!]! >= writer.boundary) await publish();
    const from = kept[i]!;
    let to = from;
    while (i < kept.length && kept[i] === to && rows[to]! < writer.boundary) {
      i++;
      to++;
    }
    await writer.write(values.subarray(from * width, to * width));
  }
  while (writer.covered < writer.boundary && writer.boundary <= cursor) await publish();
}

function skippedList(skipped: Map<number, string>, ids: string[]): StoreDescription["skipped"] {
  return [...skipped].sort(([a], [b]) => a - b).map(([row, reason]) => ({ row, id: ids[row]!, reason }));
}

/** The folder of the store that has this key or, where there is none, the first one that is free. */
async function folderFor(place: StorePlace): Promise<string> {
  const { plain, keyed } = storeFolders(place);
  const found = await readDescription(plain);
  if (found && sameKey(found.key, place.key)) return plain;
  return found || (await readDescription(keyed)) ? keyed : plain;
}
