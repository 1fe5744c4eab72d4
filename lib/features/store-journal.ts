import fs from "node:fs/promises";
import path from "node:path";

import { z } from "zod";

import { errorCode, writeFileAtomic } from "../files.js";
import { layerSchema } from "./store-format.js";
import type { StoredLayer } from "./store-format.js";

const lineSchema = z.union([
  z.strictObject({ layer: layerSchema.extend({ folder: z.string(), rowsPerShard: z.number() }) }),
  z.strictObject({
    folder: z.string(),
    shard: z.strictObject({ file: z.string(), rows: z.number(), sha256: z.string() }),
  }),
  z.strictObject({ row: z.number(), skipped: z.string() }),
]);
type Line = z.infer<typeof lineSchema>;

/** What an extraction that is not over has done so far. */
export interface Progress {
  /** Layers that were begun, with their whole shards. */
  layers: StoredLayer[];
  /** Positions of images that could not be read, and why. */
  skipped: Map<number, string>;
}

/**
 * The journal of an extraction, `journal.jsonl` in the store's folder: one line a layer begun, a shard that is whole,
 * an image skipped. It outlives a killed run, and is gone when the store is whole.
 */
export interface Journal {
  skip(row: number, reason: string): void;
  /** Writes the line of a shard, and all before it. */
  publish(folder: string, shard: StoredLayer["shards"][number]): Promise<void>;
  close(): Promise<void>;
}

const fileOf = (folder: string) => path.join(folder, "journal.jsonl");

/** What the journal of a folder says; nothing where there is none. A line that a kill cut off does not count. */
export async function readJournal(folder: string): Promise<Progress> {
  const progress: Progress = { layers: [], skipped: new Map() };
  const text = await fs.readFile(fileOf(folder), "utf8").catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return "";
    throw error;
  });
  for (const written of text.split("\n").slice(0, -1)) {
    const line = parseLine(written);
    if (!line) break;
    if ("layer" in line) progress.layers.push({ ...line.layer, shards: [] });
    else if ("shard" in line) progress.layers.find(({ folder }) => folder === line.folder)?.shards.push(line.shard);
    else progress.skipped.set(line.row, line.skipped);
  }
  return progress;
}

/** Makes `progress` the journal's content; none where no layer is begun. */
export async function writeJournal(folder: string, { layers, skipped }: Progress): Promise<void> {
  if (layers.length === 0) return fs.rm(fileOf(folder), { force: true });
  const lines: Line[] = Array.from(skipped, ([row, reason]) => ({ row, skipped: reason }));
  for (const { shards, ...layer } of layers) {
    lines.push({ layer }, ...shards.map((shard) => ({ folder: layer.folder, shard })));
  }
  await writeFileAtomic(fileOf(folder), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
}

/** Milliseconds between two times that lines go through to the disk: what a power failure takes is extracted again. */
const syncInterval = 1000;

/** Opens the journal for more lines. */
export async function openJournal(folder: string): Promise<Journal> {
  const handle = await fs.open(fileOf(folder), "a");
  let pending = "";
  let synced = Date.now();
  const add = (line: Line) => void (pending += `${JSON.stringify(line)}\n`);
  return {
    skip: (row, skipped) => add({ row, skipped }),
    publish: async (of, shard) => {
      add({ folder: of, shard });
      const lines = pending;
      pending = "";
      await handle.appendFile(lines);
      if (Date.now() - synced < syncInterval) return;
      await handle.sync();
      synced = Date.now();
    },
    close: async () => {
      // A disk that fails now takes no more than such a power failure.
      await handle.sync().catch(() => undefined);
      await handle.close();
    },
  };
}

function parseLine(text: string): Line | undefined {
  try {
    return lineSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
