import fs from "node:fs/promises";
import path from "node:path";

import { UserError } from "../errors.js";
import { asWriteError, digestOf, errorCode, writeJson, writePiecesAtomic } from "../files.js";
import { silent } from "../progress.js";
import type { Progress } from "../progress.js";
import type { Targets } from "../datasets/dataset.js";
import { shardBytes } from "./shard-file.js";
import { formatVersion, sameLayer } from "./store-format.js";
import type { StoreDescription, StoredLayer } from "./store-format.js";
import { holdLock } from "./store-lock.js";
import { writeNames } from "./store-names.js";
import { rowsOfPart } from "./store-part.js";
import type { StorePart } from "./store-part.js";
import { allSkipped } from "./store-writer.js";
import { openStore } from "./store.js";
import type { FeatureStore } from "./store.js";

export interface MergeOptions {
  /** Folder of the store that is made; new or empty. */
  out: string;
  /** Folders of the parts, in any order. */
  parts: string[];
  progress?: Progress;
  /** Stops after the shard in hand; what was made till then is dropped. */
  signal?: AbortSignal;
}

/** A store that holds a part of a listing. */
type Part = FeatureStore & { part: StorePart };

/**
 * Joins the parts of a listing, which `extractFeatures` made with one `part` each, to the store that an undivided run
 * would have written, byte for byte. Shards are copied, and compared with their digests. The parts stay as they are.
 *
 * @throws UserError where a part is missing, comes twice, is damaged or is of another store, the parts do not hold the
 * same layers, or `out` is not free; nothing is left at `out` then.
 */
export async function mergeStores(options: MergeOptions): Promise<FeatureStore> {
  const { out, progress = silent, signal } = options;
  const parts = await openParts(options.parts);
  const layers = sharedLayers(parts);
  await checkFree(out);
  const making = `${path.resolve(out)}.partial`;
  const release = await holdLock(making);
  try {
    await empty(making);
    await copyShards({ layers, into: making, progress, signal });
    await describe(making, parts, layers.map(({ layer }) => layer)); // prettier-ignore
  } catch (error) {
    await empty(making);
    await release();
    await fs.rm(making, { recursive: true, force: true });
    throw asWriteError(error, out);
  }
  await release();
  await fs.rename(making, out);
  return openStore({ folder: out });
}

async function copyShards(options: {
  layers: SharedLayer[];
  into: string;
  progress: Progress;
  signal?: AbortSignal;
}): Promise<void> {
  const { layers, into, progress, signal } = options;
  const total = layers.reduce((sum, { layer }) => sum + layer.shards.length, 0);
  const task = progress.task({ label: "merge", total, unit: "shards" });
  try {
    for (const { layer, pieces } of layers) {
      for (const [{ folder }, piece] of pieces) {
        for (const [index, { file }] of piece.shards.entries()) {
          signal?.throwIfAborted();
          await writePiecesAtomic(path.join(into, layer.folder, file), shardBytes({ folder, layer: piece, index }));
          task.advance(1);
        }
      }
    }
  } finally {
    task.end();
  }
}

/** The parts in their order: all that are not empty, each once. */
async function openParts(folders: string[]): Promise<Part[]> {
  const parts: Part[] = [];
  for (const folder of folders) {
    const store = await openStore({ folder });
    const { part } = store.key;
    if (!part) {
      throw new UserError(`Expected a part of a feature store at ${folder} but it holds a whole split`, {
        hint: "Parts are made by extract-features --shard 1/4, --shard 2/4, ...",
      });
    }
    const first = parts[0];
    if (first && wholeOf(store) !== wholeOf(first)) {
      throw new UserError(`Expected parts of one store but ${folder} and ${first.folder} belong to two`, {
        hint: "Weights, transform, precision, listing and the number of parts must be the same.",
      });
    }
    const twin = parts.find((other) => other.part.index === part.index);
    if (twin) throw new UserError(`Expected part ${part.index} once but ${twin.folder} and ${folder} both are it`);
    parts.push({ ...store, part });
  }
  parts.sort((one, other) => one.part.index - other.part.index);
  checkComplete(parts);
  return parts;
}

/** What parts of one store have in common. */
function wholeOf({ key, dataset }: FeatureStore): string {
  return digestOf({ key: { ...key, part: key.part?.count }, dataset });
}

function checkComplete(parts: Part[]): void {
  const [{ part, dataset }] = parts as [Part, ...Part[]];
  const given = new Set(parts.map((one) => one.part.index));
  const missing = Array.from({ length: part.count }, (_, i) => i + 1).filter((index) => {
    const { from, to } = rowsOfPart(dataset.size, { index, count: part.count });
    return from < to && !given.has(index);
  });
  if (missing.length === 0) return;
  throw new UserError(
    `Expected all ${part.count} parts of ${dataset.name} ${dataset.split} but ${missing.join(", ")} ` +
      `${missing.length === 1 ? "is" : "are"} missing`,
    { hint: `Extract them: --shard ${missing[0]}/${part.count}${missing.length > 1 ? " and so on" : ""}.` },
  );
}

interface SharedLayer {
  layer: StoredLayer;
  /** The layer in each part. */
  pieces: [Part, StoredLayer][];
}

/** The layers, which all parts must hold. */
function sharedLayers(parts: Part[]): SharedLayer[] {
  const [first] = parts as [Part, ...Part[]];
  for (const { folder, layers } of parts) {
    for (const [from, of, lacking] of [
      [first.layers, layers, folder],
      [layers, first.layers, first.folder],
    ] as const) {
      const lost = from.find((layer) => !of.some((other) => sameLayer(layer, other)));
      if (!lost) continue;
      throw new UserError(`Expected the same layers in all parts but ${lacking} lacks ${lost.name}`, {
        hint: "Extract it there with the same --shard; layers that are there are not computed again.",
      });
    }
  }
  return first.layers.map((layer) => {
    const pieces = parts.map((part): [Part, StoredLayer] => [part, part.layers.find((one) => sameLayer(one, layer))!]);
    return { layer: { ...layer, shards: pieces.flatMap(([, { shards }]) => shards) }, pieces };
  });
}

async function describe(folder: string, parts: Part[], layers: StoredLayer[]): Promise<void> {
  const [{ key, dataset }] = parts as [Part, ...Part[]];
  const ids = parts.flatMap((part) => part.ids);
  if (ids.length === 0) throw allSkipped(dataset.size);
  const rows = Uint32Array.from(ids.keys());
  const files = await writeNames(folder, { ids, targets: joined(parts.map(({ targets }) => targets)) }, rows);
  const skipped = parts.flatMap((part) => part.skipped);
  await writeJson(path.join(folder, "store.json"), {
    format: formatVersion,
    key: { ...key, part: undefined },
    dataset,
    skipped,
    files,
    layers,
  } satisfies StoreDescription);
}

function joined(parts: Targets[]): Targets {
  const length = parts.reduce((sum, { labels }) => sum + labels.length, 0);
  const all: Targets =
    parts[0]!.kind === "single"
      ? { kind: "single", labels: new Int32Array(length) }
      : { ...parts[0]!, labels: new Int8Array(length) };
  let at = 0;
  for (const { labels } of parts) {
    all.labels.set(labels, at);
    at += labels.length;
  }
  return all;
}

async function checkFree(out: string): Promise<void> {
  const names = await fs.readdir(out).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return [];
    throw asWriteError(error, out);
  });
  if (names.length === 0) return;
  throw new UserError(`Expected a new or empty folder for the merged store but ${out} holds ${names[0]}`, {
    hint: "Name another folder, or delete this one.",
  });
}

/** Removes what a killed merge left; the lock stays. */
async function empty(folder: string): Promise<void> {
  for (const name of await fs.readdir(folder)) {
    if (!name.startsWith("lock")) await fs.rm(path.join(folder, name), { recursive: true, force: true });
  }
}
