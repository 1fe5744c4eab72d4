import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";

import { UserError, messageOf } from "../errors.js";
import { asReadError, digestOf, exists, sha256 } from "../files.js";
import type { ImageSource } from "../images/image.js";
import type { DatasetSplit, SplitName } from "./dataset.js";
import { checkTargets } from "./labels.js";

/** A file that holds many images, unpacked. */
export interface PackedFile {
  file: string;
  bytes: Uint8Array;
  /** sha256 of the unpacked bytes. */
  digest: string;
}

/** The first of `names` that there is in `folder`, as it is or gzipped; undefined where there is none. */
export async function readPacked(folder: string, names: string[]): Promise<PackedFile | undefined> {
  for (const name of names.flatMap((plain) => [plain, `${plain}.gz`])) {
    const file = path.join(folder, name);
    if (!(await exists(file))) continue;
    const stored = await fs.readFile(file).catch((error: unknown) => {
      throw asReadError(error, file, "packed images");
    });
    const { buffer, byteOffset, byteLength } = name.endsWith(".gz") ? await unpack(stored, file) : stored;
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    return { file, bytes, digest: sha256(bytes) };
  }
  return undefined;
}

async function unpack(bytes: Uint8Array, file: string): Promise<Buffer> {
  try {
    return await promisify(gunzip)(bytes);
  } catch (error) {
    throw new UserError(`Expected a whole gzip file at ${file} but it cannot be unpacked: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** @throws UserError where there is no such folder. */
export async function checkFolder(folder: string, what: string): Promise<void> {
  try {
    await fs.readdir(folder);
  } catch (error) {
    throw asReadError(error, folder, what);
  }
}

/** A split of decoded images with a class each, named `train/0`, `train/1`, … */
export function packedSplit(options: {
  format: string;
  name: SplitName;
  labels: Int32Array;
  classes: string[];
  files: PackedFile[];
  source: (index: number) => ImageSource;
}): DatasetSplit {
  const { format, name, labels, classes, files, source } = options;
  const targets = { kind: "single", labels } as const;
  const place = files.map(({ file }) => file).join(", ");
  checkTargets({ targets, classes, where: (index) => `image ${index} of ${place}` });
  if (labels.length === 0) throw new UserError(`Expected images in ${place} but there are none`);
  return {
    name,
    size: labels.length,
    ids: Array.from(labels, (_, index) => `${name}/${index}`),
    targets,
    source,
    digest: digestOf({ format, classes, files: files.map(({ digest }) => digest) }),
  };
}
