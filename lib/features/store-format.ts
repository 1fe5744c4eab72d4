import path from "node:path";

import { z } from "zod";

import { UserError } from "../errors.js";
import { digestOf, exists, inside, readJson } from "../files.js";
import type { SplitName } from "../datasets/dataset.js";
import { npyHeader, product } from "./npy.js";

/**
 * The feature store on disk: `<root>/<title>/<arch>/<dataset>/features_<split>/` with `store.json`, `ids.txt`,
 * `targets.npy`, and a folder of numbered `.npy` shards a layer. The format is described in docs/file-formats.md.
 */
export const formatVersion = 1;

const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/);

const keySchema = z.strictObject({
  /** Digest of the backbone: its weights and its graph. */
  weights: z.string(),
  /** What was done to an image before it entered. */
  transform: z.string(),
  /** In which precision features are kept. */
  precision: z.enum(["float32", "float16"]),
  /** In which products were computed, where not in float32. */
  computePrecision: z.enum(["bfloat16", "float16"]).optional(),
  /** Digest of the listing of the split. */
  dataset: z.string(),
  /**
   * Where the store holds augmented views: how many of each image, and the seed that they were drawn by. Its rows are
   * then the views of the first image, those of the second, and so on.
   */
  views: z.strictObject({ count: z.number().int().positive(), seed: z.number().int() }).optional(),
  /** Where the store holds one part of the listing (`store-part.ts`). */
  part: z.strictObject({ index: z.number().int().positive(), count: z.number().int().positive() }).optional(),
});

export const layerSchema = z.strictObject({
  /** As it was asked for first, e.g. `res5avg`. */
  name: z.string(),
  tap: z.string(),
  pooling: z.string(),
  /** Node of the graph, where the backbone's manifest may give the tap to another one day. */
  node: z.string().optional(),
  /** Of one image: [C, H, W] or [C]. */
  shape: z.array(z.number().int().positive()).min(1),
  /** What computing in half precision changed in the features of the first batch, relative to them. */
  precisionLoss: z.number().nonnegative().optional(),
});

const storedLayerSchema = layerSchema.extend({
  folder: z.string(),
  /** Positions of the data set that a shard covers; it holds fewer rows where images were skipped. */
  rowsPerShard: z.number().int().positive(),
  shards: z.array(z.strictObject({ file: z.string(), rows: z.number().int().nonnegative(), sha256: sha256Schema })),
});

const storeSchema = z.strictObject({
  format: z.literal(formatVersion),
  key: keySchema,
  dataset: z.strictObject({
    name: z.string(),
    split: z.enum(["train", "val", "test", "all"]),
    /** Images in the listing; the store holds those that were not skipped. */
    size: z.number().int().positive(),
    classes: z.array(z.string()),
  }),
  /** Images that could not be read, by their position in the listing. */
  skipped: z.array(z.strictObject({ row: z.number().int().nonnegative(), id: z.string(), reason: z.string() })),
  /** sha256 of the files that name the rows; absent until one layer is whole. */
  files: z.strictObject({ "ids.txt": sha256Schema, "targets.npy": sha256Schema }).optional(),
  /** Layers that are whole. */
  layers: z.array(storedLayerSchema),
});

/** What a store must agree on to be the one asked for. */
export type StoreKey = z.infer<typeof keySchema>;
/** A layer as it is asked for. It is the same layer where tap, pooling and node are the same; the name may differ. */
export type LayerSpec = z.infer<typeof layerSchema>;
export type StoredLayer = z.infer<typeof storedLayerSchema>;
export type StoreDescription = z.infer<typeof storeSchema>;

/** Where the features of one split under one backbone are. */
export interface StorePlace {
  /** Folder of all stores. */
  root: string;
  title: string;
  arch: string;
  /** The data set's name. */
  dataset: string;
  split: SplitName;
  key: StoreKey;
}

/**
 * The folders where the store of `key` may be: the plain one, which belongs to the first key that comes, and one named
 * by the key.
 */
export function storeFolders({ root, title, arch, dataset, split, key }: StorePlace): { plain: string; keyed: string } {
  const views = key.views ? `_views${key.views.count}` : "";
  const part = key.part ? `_part${key.part.index}of${key.part.count}` : "";
  const name = `features_${split}${views}${part}`;
  const plain = inside(root, path.join(fileName(title), fileName(arch), fileName(dataset), name));
  return { plain, keyed: `${plain}.${digestOf(key).slice(0, 8)}` };
}

/**
 * The folder of the store with exactly this key, whole or begun; undefined where there is none.
 *
 * @throws UserError where a store stands in its place that cannot be read.
 */
export async function findStore(place: StorePlace): Promise<string | undefined> {
  const { plain, keyed } = storeFolders(place);
  for (const folder of [plain, keyed]) {
    const found = await readDescription(folder);
    if (found && sameKey(found.key, place.key)) return folder;
  }
  return undefined;
}

export function sameKey(a: StoreKey, b: StoreKey): boolean {
  return digestOf(a) === digestOf(b);
}

export function sameLayer(a: LayerSpec, b: LayerSpec): boolean {
  return a.tap === b.tap && a.pooling === b.pooling && a.node === b.node;
}

/** `store.json` of a folder; undefined where there is none. */
export async function readDescription(folder: string): Promise<StoreDescription | undefined> {
  const file = path.join(folder, "store.json");
  if (!(await exists(file))) return undefined;
  const content = await readJson(file, "the feature store's description");
  const format = z.looseObject({ format: z.unknown() }).safeParse(content).data?.format;
  if (format !== formatVersion) {
    throw new UserError(
      `Expected a feature store of format ${formatVersion} at ${folder} but received ${String(format)}`,
      {
        hint: "Delete the folder and extract again, or use the version of frozen-eval that wrote it.",
      },
    );
  }
  const parsed = storeSchema.safeParse(content);
  if (parsed.success) return parsed.data;
  const { path: at, message } = parsed.error.issues[0]!;
  throw new UserError(
    `Expected a feature store's description in ${file} but ${at.join(".") || "it"} is wrong: ${message}`,
    {
      hint: "Delete the folder and extract again.",
    },
  );
}

/** Every shard begins at a multiple of its own rows, which divide this. */
export const mostRowsPerShard = 512;

/**
 * How many positions of the data set a shard covers, which is what a killed run has to do again: a power of two from 64
 * to 512 such that a shard stays near 32 MB. It depends on the layer alone, so that every machine and every run cut at
 * the same places.
 */
export function rowsPerShardOf(layer: LayerSpec, precision: StoreKey["precision"]): number {
  const rowBytes = product(layer.shape) * itemBytes(precision);
  const fitting = 2 ** Math.floor(Math.log2(2 ** 25 / rowBytes));
  return Math.min(mostRowsPerShard, Math.max(64, fitting));
}

/** The size of a shard's file in bytes. */
export function shardSize(layer: LayerSpec, precision: StoreKey["precision"], rows: number): number {
  const shape = [rows, ...layer.shape];
  return npyHeader({ dtype: precision, shape }).length + product(shape) * itemBytes(precision);
}

export function shardFile(index: number): string {
  return `${String(index).padStart(5, "0")}.npy`;
}

function itemBytes(precision: StoreKey["precision"]): number {
  return precision === "float16" ? 2 : 4;
}

/** A layer's folder, named by tap and pooling; unlike those of the `others`. */
export function layerFolder(layer: LayerSpec, others: Iterable<string>): string {
  const plain = fileName(layer.pooling === "" ? layer.tap : `${layer.tap}.${layer.pooling}`);
  const taken = new Set(Array.from(others, (other) => other.toLowerCase()));
  const digest = digestOf([layer.tap, layer.pooling, layer.node ?? null]).slice(0, 8);
  return taken.has(plain.toLowerCase()) ? `${plain}-${digest}` : plain;
}

const { compare } = new Intl.Collator("en", { numeric: true });

/** By name, block2 before block10, so that a description does not depend on what was asked for when. */
export function byFolder(one: StoredLayer, other: StoredLayer): number {
  return compare(one.folder, other.folder);
}

function fileName(text: string): string {
  const name = text.replace(/[^A-Za-z0-9._]+/g, "-").replace(/^[-.]+|[-.]+$/g, "");
  if (name === "") return `unnamed-${digestOf(text).slice(0, 8)}`;
  return name.length > 100 ? `${name.slice(0, 91)}-${digestOf(text).slice(0, 8)}` : name;
}
