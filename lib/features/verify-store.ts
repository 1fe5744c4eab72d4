import fs from "node:fs/promises";
import path from "node:path";

import { sha256OfFile } from "../files.js";
import { silent } from "../progress.js";
import type { Progress } from "../progress.js";
import { shardSize } from "./store-format.js";
import type { StoreDescription } from "./store-format.js";
import { rowsOfPart } from "./store-part.js";
import { describedStore, wholeFiles } from "./store.js";

export interface StoreVerification {
  /** Files that were compared with what the store's description says of them. */
  files: number;
  bytes: number;
  /** Those that are not as they were written, and what was found. */
  damaged: { file: string; finding: string }[];
}

/**
 * Compares length and sha256 of every file of a store with its description, to the last one, whatever is found.
 *
 * @throws UserError where there is no store, or no layer of it is whole.
 */
export async function verifyStore(options: {
  folder: string;
  progress?: Progress;
  signal?: AbortSignal;
}): Promise<StoreVerification> {
  const { folder, progress = silent, signal } = options;
  const description = await describedStore(folder);
  const files = filesOf(folder, description);
  const verification: StoreVerification = { files: files.length, bytes: 0, damaged: [] };
  const task = progress.task({ label: "verify", total: files.length, unit: "files" });
  try {
    for (const { file, size, sha256 } of files) {
      signal?.throwIfAborted();
      const found = await sizeOf(file);
      verification.bytes += found ?? 0;
      const finding = await findingOf({ file, size, sha256, found });
      if (finding !== undefined) verification.damaged.push({ file, finding });
      task.advance(1);
    }
  } finally {
    task.end();
  }
  for (const finding of contradictions(description)) {
    verification.damaged.push({ file: path.join(folder, "store.json"), finding });
  }
  return verification;
}

interface StoredFile {
  file: string;
  /** Bytes; undefined where the description does not tell. */
  size?: number;
  sha256: string;
}

function filesOf(folder: string, description: StoreDescription): StoredFile[] {
  const names = Object.entries(wholeFiles(folder, description));
  return [
    ...names.map(([name, sha256]) => ({ file: path.join(folder, name), sha256 })),
    ...description.layers.flatMap((layer) =>
      layer.shards.map(({ file, rows, sha256 }) => ({
        file: path.join(folder, layer.folder, file),
        size: shardSize(layer, description.key.precision, rows),
        sha256,
      })),
    ),
  ];
}

async function findingOf(options: StoredFile & { found?: number }): Promise<string | undefined> {
  const { file, size, sha256, found } = options;
  if (found === undefined) return "there is no such file";
  if (size !== undefined && found !== size) return `it has ${found} bytes instead of ${size}`;
  const digest = await sha256OfFile(file);
  return digest === sha256 ? undefined : "its sha256 is another: it was changed or is damaged";
}

/** Layers that do not hold as many rows as the store has images. */
function contradictions({ key, dataset, skipped, layers }: StoreDescription): string[] {
  const { from, to } = rowsOfPart(dataset.size, key.part);
  const images = to - from - skipped.length;
  return layers.flatMap(({ name, shards }) => {
    const rows = shards.reduce((sum, shard) => sum + shard.rows, 0);
    return rows === images ? [] : [`it tells of ${images} images and of ${rows} rows of ${name}`];
  });
}

async function sizeOf(file: string): Promise<number | undefined> {
  return fs.stat(file).then(
    (stat) => stat.size,
    () => undefined,
  );
}
