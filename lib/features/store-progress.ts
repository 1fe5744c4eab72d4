import fs from "node:fs/promises";
import path from "node:path";

import { UserError } from "../errors.js";
import { byFolder, layerFolder, readDescription, rowsPerShardOf, sameKey, sameLayer } from "./store-format.js";
import type { LayerSpec, StoreDescription, StorePlace, StoredLayer } from "./store-format.js";
import { readJournal } from "./store-journal.js";
import type { RowRange } from "./store-part.js";
import { wholeShards } from "./store.js";

/** How far a store has come. */
export interface StoreProgress {
  /** undefined where the store is new. */
  description: StoreDescription | undefined;
  /** Layers that are whole, begun, or asked for, with their whole shards. */
  layers: StoredLayer[];
  /** Positions of images that are skipped, and why. */
  skipped: Map<number, string>;
  /** Up to this position it is decided which images are skipped, for whole shards of some layer agree on it. */
  settled: number;
}

/** Reads what earlier runs left, and adds the layers that none has begun. */
export async function takeUp(options: {
  folder: string;
  place: StorePlace;
  layers: LayerSpec[];
  /** Positions that the store covers. */
  range: RowRange;
  rowsPerShard?: number;
}): Promise<StoreProgress> {
  const { folder, place, range, rowsPerShard } = options;
  const { precision } = place.key;
  await removePartial(folder);
  const description = await readDescription(folder);
  if (description && !sameKey(description.key, place.key)) {
    throw new UserError(`Expected a free folder for the store ${folder} but another run has just taken it`, {
      hint: "Run the same command again.",
    });
  }
  const journal = await readJournal(folder);
  const described = description?.layers ?? [];
  const begun = journal.layers.filter((layer) => !described.some((other) => sameLayer(layer, other)));
  for (const layer of [...described, ...begun]) layer.shards.length = await wholeShards(folder, layer, precision);

  const layers = [...described, ...begun];
  for (const spec of distinctLayers(options.layers)) {
    const known = layers.find((layer) => sameLayer(layer, spec));
    if (known) {
      checkShape(known, spec, folder);
      continue;
    }
    const taken = layers.map((layer) => layer.folder);
    layers.push({
      ...spec,
      folder: layerFolder(spec, taken),
      rowsPerShard: rowsPerShard ?? rowsPerShardOf(spec, precision),
      shards: [],
    });
  }
  layers.sort(byFolder);
  const ends = layers.map(({ shards, rowsPerShard }) => range.from + shards.length * rowsPerShard);
  const settled = Math.min(Math.max(range.from, ...ends), range.to);
  const told = [...(description?.skipped ?? []).map(({ row, reason }) => [row, reason] as const), ...journal.skipped];
  const skipped = new Map(told.filter(([row]) => row < settled));
  return { description, layers, skipped, settled };
}

function checkShape(known: StoredLayer, { name, shape }: LayerSpec, folder: string): void {
  if (known.shape.join() === shape.join()) return;
  throw new UserError(
    `Expected the shape [${known.shape.join(", ")}] for layer ${name}, as ${folder} holds it, ` +
      `but received [${shape.join(", ")}]`,
    { hint: `Delete ${folder} where the backbone was changed under the same digest.` },
  );
}

/** The layers without repetitions under other names. */
export function distinctLayers(layers: LayerSpec[]): LayerSpec[] {
  return layers.filter((layer, i) => layers.findIndex((other) => sameLayer(layer, other)) === i);
}

/** Left-overs of killed runs; not those of other processes that try to take the lock. */
async function removePartial(folder: string): Promise<void> {
  for (const name of await fs.readdir(folder, { recursive: true })) {
    if (name.endsWith(".partial") && !name.startsWith("lock.")) await fs.rm(path.join(folder, name), { force: true });
  }
}
