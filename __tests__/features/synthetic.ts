import { createHash } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";

import type { Targets } from "../../lib/datasets/dataset.js";
import { product } from "../../lib/features/npy.js";
import type { LayerSpec, StorePlace } from "../../lib/features/store-format.js";
import { openStoreWriter } from "../../lib/features/store-writer.js";
import type { StoreWriterOptions } from "../../lib/features/store-writer.js";
import type { FeatureStore } from "../../lib/features/store.js";

/** A listing of images that do not exist, and features that follow from layer and row alone. */
export const size = 203;
export const digest = "d".repeat(64);
export const layers: LayerSpec[] = [
  { name: "res4", tap: "res4", pooling: "avg_pool(8x8,3,0)", shape: [3, 2, 2] },
  { name: "res5avg", tap: "res5", pooling: "global_avg", shape: [5] },
];

/** Rows that cannot be read: one alone, a whole shard of 16, the last. */
export const unreadable = new Set([5, ...Array.from({ length: 16 }, (_, i) => 32 + i), size - 1]);

export const targets: Targets = { kind: "single", labels: Int32Array.from({ length: size }, (_, row) => row % 7) };
export const listing = { size, digest, targets, ids: Array.from({ length: size }, (_, row) => `class/${row}.jpg`) };

export function place(root: string, key: Partial<StorePlace["key"]> = {}): StorePlace {
  return {
    root,
    title: "moco/v2",
    arch: "resnet50",
    dataset: "photos",
    split: "train",
    key: { weights: "w", transform: "resize(256,bilinear)", precision: "float32", dataset: digest, ...key },
  };
}

export function featuresOf(layer: LayerSpec, rows: Iterable<number>): Float32Array {
  const values: number[] = [];
  for (const row of rows) {
    for (let i = 0; i < product(layer.shape); i++) values.push(Math.fround(Math.sin(row * 31 + i + layer.name.length)));
  }
  return Float32Array.from(values);
}

export interface Extraction extends Partial<StoreWriterOptions> {
  bad?: Set<number>;
  batchSize?: number;
  /** Called after each batch; where it throws, the run ends there, as if it were killed in good order. */
  after?: (row: number) => unknown;
}

/** An extraction as it is meant to be: from the first missing row, batches cut at the writer's boundaries. */
export async function extract(root: string, options: Extraction = {}): Promise<FeatureStore> {
  const { bad = unreadable, batchSize = 6, after, ...rest } = options;
  const writer = await openStoreWriter({
    place: place(root),
    layers,
    listing,
    classes: ["a", "b", "c", "d", "e", "f", "g"],
    rowsPerShard: 16,
    ...rest,
  });
  try {
    for (let row = writer.firstMissingRow; row < writer.end;) {
      const boundary = (Math.floor(row / writer.batchBoundary) + 1) * writer.batchBoundary;
      const end = Math.min(row + batchSize, boundary, writer.end);
      const all = Array.from({ length: end - row }, (_, i) => row + i);
      const rows = Uint32Array.from(all.filter((one) => !bad.has(one)));
      const features = Object.fromEntries(writer.missing.map((layer) => [layer.name, featuresOf(layer, rows)]));
      const skipped = all.filter((one) => bad.has(one)).map((one) => ({ row: one, reason: `row ${one} is broken` }));
      await writer.append({ rows, features, skipped });
      await after?.(row);
      row = end;
    }
  } catch (error) {
    await writer.abort();
    throw error;
  }
  return writer.finish();
}

/** Each file below a folder with the digest of its content. */
export async function filesOf(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of (await fs.readdir(folder, { recursive: true })).sort()) {
    const file = path.join(folder, name);
    if ((await fs.stat(file)).isDirectory()) continue;
    found[name] = createHash("sha256")
      .update(await fs.readFile(file))
      .digest("hex");
  }
  return found;
}
