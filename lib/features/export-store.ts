import path from "node:path";

import { matchNames } from "../backbones/layers.js";
import { safetensorsBytes } from "../checkpoints/safetensors.js";
import type { WrittenArray } from "../checkpoints/safetensors.js";
import { torchArchive } from "../checkpoints/torch-writer.js";
import type { Targets } from "../datasets/dataset.js";
import { UserError } from "../errors.js";
import { digestOf, writeFileAtomic, writePiecesAtomic } from "../files.js";
import { silent } from "../progress.js";
import type { Progress } from "../progress.js";
import { encodeItems, encodeNpy, npyHeader, product } from "./npy.js";
import type { NpyArray } from "./npy.js";
import { layerBytes, layerFloats } from "./shard-file.js";
import type { StoredLayer } from "./store-format.js";
import { rowsOfPart } from "./store-part.js";
import { namesOf, openStore } from "./store.js";
import type { FeatureStore } from "./store.js";

export type ExportFormat = "npy" | "vissl" | "cog" | "safetensors";

export interface ExportOptions {
  /** Folder of the store. */
  folder: string;
  to: ExportFormat;
  /** Folder that receives the files; files of the same names are replaced. */
  out: string;
  /** Names or globs of the store's layers. Default: all. */
  layers?: string[];
  progress?: Progress;
  /** Stops after the file in hand. */
  signal?: AbortSignal;
}

/** A file that is to be written: bytes, or the pieces of a large one. */
interface ExportedFile {
  name: string;
  content: Uint8Array | AsyncIterable<Uint8Array>;
}

/** A layer under the name that its files have. */
interface NamedLayer {
  name: string;
  layer: StoredLayer;
}

/**
 * Writes a store as files of another program's. Nothing larger than a piece of a shard is held; a shard that was
 * changed is found, and the file made of it is not written.
 *
 * - `npy`: `<layer>_features.npy` [n, …] in the store's precision, with `targets.npy` and `ids.txt` for all layers
 * - `vissl`: `rank0_chunk0_<split>_<layer>_features.npy` with `_targets.npy` [n, 1] or [n, classes] and `_inds.npy`
 *   [n], as VISSL's extraction dumps them
 * - `cog`: `<layer>/features_<split>/X_Y.pth`, as ImageNet-CoG's extraction saves it: X float32 [n, width], Y int64 and
 *   a name; of one layer without a folder for it, so that `out` can be CoG's `<title>/<arch>/<dataset>`
 * - `safetensors`: `features_<split>.safetensors` with the layers in the store's precision and `targets`, and `ids.txt`
 *
 * @returns the paths of the files, in the order in which they were written.
 * @throws UserError where the store is not whole or a layer is not in it.
 */
export async function exportStore(options: ExportOptions): Promise<string[]> {
  const { folder, to, out, progress = silent, signal } = options;
  const store = await openStore({ folder });
  const files = formats[to](store, chosenLayers(store, options.layers));
  const task = progress.task({ label: `export to ${to}`, total: files.length, unit: "files" });
  const written: string[] = [];
  try {
    for (const { name, content } of files) {
      signal?.throwIfAborted();
      const file = path.join(out, name);
      if (ArrayBuffer.isView(content)) await writeFileAtomic(file, content);
      else await writePiecesAtomic(file, content);
      written.push(file);
      task.advance(1);
    }
  } finally {
    task.end();
  }
  return written;
}

const formats: Record<ExportFormat, (store: FeatureStore, layers: NamedLayer[]) => ExportedFile[]> = {
  npy: (store, layers) => [
    ...layers.map(({ name, layer }) => ({ name: `${name}_features.npy`, content: storedNpy(store, layer) })),
    { name: "targets.npy", content: encodeNpy(storedTargets(store)) },
    idsFile(store),
  ],
  vissl: (store, layers) => {
    const split = store.dataset.split === "all" ? "train" : store.dataset.split;
    const targets = encodeNpy({ dtype: "int64", ...integers(store.targets, true) });
    const inds = encodeNpy({ dtype: "int64", shape: [store.size], data: positions(store) });
    return layers.flatMap(({ name, layer }) => {
      const stem = `rank0_chunk0_${split}_${name}`;
      return [
        { name: `${stem}_features.npy`, content: floatNpy(store, layer) },
        { name: `${stem}_targets.npy`, content: targets },
        { name: `${stem}_inds.npy`, content: inds },
      ];
    });
  },
  cog: (store, layers) => {
    const { title, arch } = namesOf(store.folder);
    const { shape, data } = integers(store.targets, false);
    const { name: dataset, split } = store.dataset;
    return layers.map(({ name, layer }) => ({
      name: path.join(layers.length === 1 ? "" : name, `features_${split}`, "X_Y.pth"),
      content: torchArchive({
        name: "X_Y",
        values: {
          X: { dtype: "float32", shape: [store.size, product(layer.shape)], pieces: layerFloats(place(store, layer)) },
          Y: { dtype: "int64", shape, pieces: [encodeItems("int64", data)] },
          name: `${title}_${arch}_${dataset}_${split}`,
        },
      }),
    }));
  },
  safetensors: (store, layers) => {
    const { dtype, shape, data } = storedTargets(store);
    const arrays = layers.map(({ name, layer }): [string, WrittenArray] => [
      name,
      {
        dtype: store.key.precision,
        shape: [store.size, ...layer.shape],
        pieces: layerBytes(place(store, layer)),
      },
    ]);
    const targets: WrittenArray = { dtype, shape, pieces: [encodeItems(dtype, data)] };
    const { weights, transform } = store.key;
    const { name, split } = store.dataset;
    return [
      {
        name: `features_${split}.safetensors`,
        content: safetensorsBytes({
          arrays: { ...Object.fromEntries(arrays), targets },
          metadata: { dataset: name, split, weights, transform },
        }),
      },
      idsFile(store),
    ];
  },
};

function place(store: FeatureStore, layer: StoredLayer) {
  return { folder: store.folder, layer, precision: store.key.precision };
}

function idsFile({ ids }: FeatureStore): ExportedFile {
  return { name: "ids.txt", content: Buffer.from(ids.map((id) => `${id}\n`).join("")) };
}

async function* storedNpy(store: FeatureStore, layer: StoredLayer): AsyncGenerator<Uint8Array, void> {
  yield npyHeader({ dtype: store.key.precision, shape: [store.size, ...layer.shape] });
  yield* layerBytes(place(store, layer));
}

async function* floatNpy(store: FeatureStore, layer: StoredLayer): AsyncGenerator<Uint8Array, void> {
  yield npyHeader({ dtype: "float32", shape: [store.size, ...layer.shape] });
  yield* layerFloats(place(store, layer));
}

/** Labels as the store keeps them. */
function storedTargets({ targets, size }: FeatureStore): NpyArray<"int32" | "int8"> {
  return targets.kind === "single"
    ? { dtype: "int32", shape: [size], data: targets.labels }
    : { dtype: "int8", shape: [size, targets.classes], data: targets.labels };
}

/** @param column single labels as [n, 1] instead of [n]. */
function integers(targets: Targets, column: boolean): { shape: number[]; data: BigInt64Array } {
  const columns = targets.kind === "multi" ? targets.classes : 1;
  const rows = targets.labels.length / columns;
  const shape = targets.kind === "multi" || column ? [rows, columns] : [rows];
  return { shape, data: BigInt64Array.from(targets.labels, BigInt) };
}

/** Where each image stands in the listing. */
function positions({ dataset, key, skipped }: FeatureStore): BigInt64Array {
  const { from, to } = rowsOfPart(dataset.size, key.part);
  const left = new Set(skipped.map(({ row }) => row));
  const kept = Array.from({ length: to - from }, (_, i) => from + i).filter((row) => !left.has(row));
  return BigInt64Array.from(kept, BigInt);
}

/** The layers that are asked for, each under the name it was asked for first, as far as file names can hold it. */
function chosenLayers({ layers, folder, key }: FeatureStore, patterns: string[] = ["all"]): NamedLayer[] {
  if (key.views) {
    throw new UserError(`Expected a store of one view an image but ${folder} holds ${key.views.count} of each`);
  }
  const names = layers.map(({ name }) => name);
  const chosen = new Set(patterns.flatMap((pattern) => matchNames({ pattern, names, of: folder })));
  const taken = new Set(["targets"]);
  return layers
    .filter(({ name }) => chosen.has(name))
    .map((layer) => {
      const plain = /^[\w.-]+$/.test(layer.name) ? layer.name : layer.folder;
      const name = taken.has(plain.toLowerCase()) ? `${plain}-${digestOf(layer.folder).slice(0, 8)}` : plain;
      taken.add(name.toLowerCase());
      return { name, layer };
    });
}
