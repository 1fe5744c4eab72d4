import { createHash } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";

import { UserError } from "../errors.js";
import { asReadError } from "../files.js";
import { decodeItems, npyHeader } from "./npy.js";
import type { StoreKey, StoredLayer } from "./store-format.js";

const pieceBytes = 2 ** 20;

/** What to do about a file of a store that is not as it was. */
export const again = (file: string) =>
  `Delete ${file} and run the extraction again with the same settings: it goes on there.`;

/** The complaint about a file of a store whose content is not that of its digest. */
export function damagedFile(file: string, what: string): UserError {
  return new UserError(`Expected ${what} as written in ${file} but the file was changed or is damaged`, {
    hint: again(file),
  });
}

/**
 * The bytes of a shard, its header first, piece by piece; a piece holds until the next is asked for.
 *
 * @throws UserError after the last piece where they were not those of its digest: what was made of them is to be
 * dropped.
 */
export async function* shardBytes(options: {
  folder: string;
  layer: StoredLayer;
  index: number;
}): AsyncGenerator<Uint8Array, void> {
  const { folder, layer, index } = options;
  const shard = layer.shards[index]!;
  const file = path.join(folder, layer.folder, shard.file);
  const hash = createHash("sha256");
  const handle = await fs.open(file).catch((error: unknown) => {
    throw asReadError(error, file, "a shard of features");
  });
  try {
    const piece = new Uint8Array(pieceBytes);
    for (let filled = pieceBytes; filled === pieceBytes;) {
      filled = await fill(handle, piece);
      const read = piece.subarray(0, filled);
      hash.update(read);
      if (filled > 0) yield read;
    }
  } finally {
    await handle.close();
  }
  if (hash.digest("hex") !== shard.sha256) throw damagedFile(file, "a shard of features");
}

/**
 * The numbers of a layer, all rows one behind another, as they lie in the store.
 *
 * @throws UserError as {@link shardBytes}.
 */
export async function* layerBytes(options: {
  folder: string;
  layer: StoredLayer;
  precision: StoreKey["precision"];
}): AsyncGenerator<Uint8Array, void> {
  const { folder, layer, precision } = options;
  for (const [index, { rows }] of layer.shards.entries()) {
    let header = npyHeader({ dtype: precision, shape: [rows, ...layer.shape] }).length;
    for await (const piece of shardBytes({ folder, layer, index })) {
      const numbers = piece.subarray(Math.min(header, piece.length));
      header -= piece.length - numbers.length;
      if (numbers.length > 0) yield numbers;
    }
  }
}

/** The same as float32, whatever the store's precision is. */
export async function* layerFloats(options: Parameters<typeof layerBytes>[0]): AsyncGenerator<Uint8Array, void> {
  if (options.precision === "float32") return yield* layerBytes(options);
  for await (const halves of layerBytes(options)) {
    const values = decodeItems({ dtype: "float16", descr: "<f2", itemBytes: 2 }, halves) as Float32Array;
    yield new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  }
}

/** A read may give less than is asked for. @returns how many bytes there were; fewer at the end of the file. */
async function fill(handle: fs.FileHandle, piece: Uint8Array): Promise<number> {
  for (let filled = 0; ;) {
    const { bytesRead } = await handle.read(piece, filled, piece.length - filled);
    filled += bytesRead;
    if (bytesRead === 0 || filled === piece.length) return filled;
  }
}
