import fs from "node:fs/promises";
import path from "node:path";

import { UserError } from "../errors.js";
import { asWriteError, writeJson } from "../files.js";
import { byFolder, layerFolder, readDescription, sameLayer } from "./store-format.js";
import type { StoreDescription, StoredLayer } from "./store-format.js";
import { readJournal, writeJournal } from "./store-journal.js";
import { holdLock } from "./store-lock.js";
import { openStore } from "./store.js";

/**
 * Moves the layers of one store into another one of the same images, as if they had been extracted there; what that one
 * held of them is replaced. The first store is removed.
 *
 * @param options.from folder of a whole store.
 * @param options.to folder of a store with the same key, whole or begun.
 * @throws UserError where the two do not hold the same images, or another process writes to `to`.
 */
export async function addLayers({ from, to }: { from: string; to: string }): Promise<void> {
  const { layers: added } = await openStore({ folder: from });
  const { files, skipped } = (await readDescription(from))!;
  const kept = (layer: StoredLayer) => !added.some((other) => sameLayer(layer, other));
  const release = await holdLock(to);
  try {
    const held = (await readDescription(to))!;
    if (held.files && held.files["ids.txt"] !== files!["ids.txt"]) throw otherImages(to, held.skipped, skipped);
    const layers = held.layers.filter(kept);
    for (const layer of added) {
      const taken = layers.map((other) => other.folder);
      const folder = layerFolder(layer, taken);
      await fs.rm(path.join(to, folder), { recursive: true, force: true });
      await fs.rename(path.join(from, layer.folder), path.join(to, folder));
      layers.push({ ...layer, folder });
    }
    for (const name of Object.keys(files!)) await fs.rename(path.join(from, name), path.join(to, name));
    layers.sort(byFolder);
    await writeJson(path.join(to, "store.json"), { ...held, skipped, files, layers } satisfies StoreDescription);
    const begun = await readJournal(to);
    await writeJournal(to, { layers: begun.layers.filter(kept), skipped: begun.skipped });
  } catch (error) {
    throw asWriteError(error, to);
  } finally {
    await release();
  }
  await fs.rm(from, { recursive: true });
}

function otherImages(folder: string, held: StoreDescription["skipped"], now: StoreDescription["skipped"]): UserError {
  const differing = [...held, ...now].find(({ row }) => held.some((one) => one.row === row) !== now.some((one) => one.row === row)); // prettier-ignore
  return new UserError(
    `Expected the images of ${folder} again but ${differing?.id ?? "one"} can be read in one of two runs only`,
    {
      hint: "See that all images are there, delete this folder, and run the same command again: it extracts all layers.",
    },
  );
}
