import fs from "node:fs/promises";
import path from "node:path";

import { UserError } from "../errors.js";
import type { ImageSource } from "../images/image.js";
import type { Progress } from "../progress.js";
import type { DatasetSplit, SplitName } from "./dataset.js";
import { imagesBelow, isImage } from "./folder.js";
import { byCodePoint, fileSplit } from "./listing.js";
import { shardedSplit } from "./shards.js";
import { type TarEntry, tarEntries } from "./tar.js";

/**
 * Images in a folder for each concept, or in one tar archive for each (`n01440764.tar`), as ImageNet-21k is handed out.
 */
export interface ConceptStore {
  /** Folder of all. */
  root: string;
  kind: "folders" | "archives";
}

/**
 * Finds out how concepts are kept.
 *
 * @throws UserError where a concept has neither folder nor archive.
 */
export async function conceptStore({ root, concepts }: { root: string; concepts: string[] }): Promise<ConceptStore> {
  const isThere = async (name: string, of: "isDirectory" | "isFile") =>
    fs.stat(path.join(root, name)).then(
      (stat) => stat[of](),
      () => false,
    );
  const first = concepts[0]!;
  const archives = !(await isThere(first, "isDirectory")) && (await isThere(`${first}.tar`, "isFile"));
  for (const concept of concepts) {
    if (await isThere(archives ? `${concept}.tar` : concept, archives ? "isFile" : "isDirectory")) continue;
    const what = archives ? `an archive ${concept}.tar` : `a folder ${concept}, or an archive ${concept}.tar,`;
    throw new UserError(`Expected ${what} in ${root} but there is none`, {
      hint: "Every concept of the level has one; all are folders, or all are archives.",
    });
  }
  return { root, kind: archives ? "archives" : "folders" };
}

/**
 * All images of a concept, by name: paths `concept/image`.
 *
 * @throws UserError where there are none.
 */
export async function imagesOfConcept({ root, kind }: ConceptStore, concept: string): Promise<string[]> {
  const images =
    kind === "folders"
      ? await imagesBelow(root, concept)
      : [...(await archived(root, concept)).keys()].filter(isImage).map((name) => `${concept}/${name}`);
  if (images.length > 0) return images.sort(byCodePoint);
  throw new UserError(`Expected images of concept ${concept} in ${root} but there are none`, {
    hint: "Put images there, or leave the concept out of the level.",
  });
}

/**
 * A split of images of concepts; labels are the concepts' places.
 *
 * @param options.images of each concept, paths `concept/image`.
 */
export async function conceptSplit(options: {
  store: ConceptStore;
  format: string;
  name: SplitName;
  concepts: string[];
  images: string[][];
  progress?: Progress;
}): Promise<DatasetSplit> {
  const { store, format, name, concepts, images, progress } = options;
  const { root, kind } = store;
  const ids = images.flat();
  const labels = Int32Array.from(images.flatMap((own, label) => own.map(() => label)));
  const targets = { kind: "single", labels } as const;
  if (kind === "folders") {
    return fileSplit({ format, name, root, files: ids, ids, targets, classes: concepts, progress });
  }
  const shards = await Promise.all(
    concepts.map(async (concept) => {
      const file = path.join(root, `${concept}.tar`);
      const { size, mtimeMs } = await fs.stat(file);
      return { file, size, mtimeMs };
    }),
  );
  const opened = new Map<string, ReturnType<typeof archived>>();
  const source = async (index: number): Promise<ImageSource> => {
    const concept = concepts[labels[index]!]!;
    const entries = opened.get(concept) ?? archived(root, concept);
    opened.set(concept, entries);
    const file = path.join(root, `${concept}.tar`);
    const entry = (await entries).get(path.posix.basename(ids[index]!));
    // One that is not there fails when it is decoded, as any other broken image.
    return entry
      ? { kind: "range", path: file, offset: entry.offset, length: entry.size }
      : { kind: "file", path: path.join(file, ids[index]!) };
  };
  return shardedSplit({ format, name, ids, targets, classes: concepts, shards, source });
}

/** What is in a concept's archive, by file name. */
async function archived(root: string, concept: string): Promise<Map<string, Pick<TarEntry, "offset" | "size">>> {
  const entries = new Map<string, Pick<TarEntry, "offset" | "size">>();
  for await (const { name, offset, size } of tarEntries(path.join(root, `${concept}.tar`))) {
    entries.set(path.posix.basename(name), { offset, size });
  }
  return entries;
}
