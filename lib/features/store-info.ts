import { product } from "./npy.js";
import { shardSize } from "./store-format.js";
import type { StoreDescription, StoreKey, StoredLayer } from "./store-format.js";
import { readJournal } from "./store-journal.js";
import { rowsOfPart } from "./store-part.js";
import { describedStore } from "./store.js";

/** What a store holds, by its description and journal; its files are not opened. */
export interface StoreInfo {
  folder: string;
  /** `begun` where the journal of an extraction that is not over is there. */
  state: "whole" | "begun";
  key: StoreKey;
  dataset: Omit<StoreDescription["dataset"], "classes"> & { classes: number };
  /** Positions `from` … `to − 1` of the listing. */
  rows: { from: number; to: number };
  skipped: StoreDescription["skipped"];
  layers: StoredLayerInfo[];
  /** Of all layers. */
  bytes: number;
}

export interface StoredLayerInfo {
  name: string;
  folder: string;
  /** Of one image: [C, H, W] or [C]. */
  shape: number[];
  width: number;
  state: "whole" | "begun";
  shards: number;
  /** Images in its shards. */
  rows: number;
  bytes: number;
}

/** @throws UserError where there is no store, or its description cannot be read. */
export async function storeInfo({ folder }: { folder: string }): Promise<StoreInfo> {
  const { key, dataset, skipped, layers } = await describedStore(folder);
  const journal = await readJournal(folder);
  const told = [
    ...layers.map((layer) => layerInfo(layer, key.precision, "whole")),
    ...journal.layers.map((layer) => layerInfo(layer, key.precision, "begun")),
  ];
  const { classes, ...rest } = dataset;
  return {
    folder,
    state: journal.layers.length > 0 || layers.length === 0 ? "begun" : "whole",
    key,
    dataset: { ...rest, classes: classes.length },
    rows: rowsOfPart(dataset.size, key.part),
    skipped,
    layers: told,
    bytes: told.reduce((sum, layer) => sum + layer.bytes, 0),
  };
}

function layerInfo(
  layer: StoredLayer,
  precision: StoreKey["precision"],
  state: StoredLayerInfo["state"],
): StoredLayerInfo {
  const { name, folder, shape, shards } = layer;
  return {
    name,
    folder,
    shape,
    width: product(shape),
    state,
    shards: shards.length,
    rows: shards.reduce((sum, { rows }) => sum + rows, 0),
    bytes: shards.reduce((sum, { rows }) => sum + shardSize(layer, precision, rows), 0),
  };
}
