import { families } from "../../models/index.js";
import { convertCheckpoint, type ConvertedBackbone } from "../convert/convert.js";
import { UserError } from "../errors.js";
import { silent } from "../progress.js";
import { byHand, zooCheckpoint, type ZooCheckpointOptions } from "./checkpoint.js";
import type { ZooEntry } from "./entry.js";
import { findEntry, readZoo } from "./read.js";

export interface ZooBackboneOptions extends ZooCheckpointOptions {
  /** Folder of all backbones; the new one goes to `<out>/<title>/<arch>`. */
  out: string;
}

/**
 * Fetches a checkpoint of the zoo and converts it.
 *
 * @throws UserError before anything is fetched where its architecture cannot be converted; else as
 * {@link zooCheckpoint} and {@link convertCheckpoint}.
 */
export async function zooBackbone({ out, ...options }: ZooBackboneOptions): Promise<ConvertedBackbone> {
  const { progress = silent, zoo } = options;
  const entry = findEntry(await readZoo(zoo), options.name);
  const { name, title, arch, licence, transform, origin } = entry;
  if (!isConvertible(entry)) {
    throw new UserError(
      `Expected an architecture that this version can convert for ${name} but ${arch} is none; nothing was fetched`,
      { hint: 'What can be converted: npx frozen-eval zoo list --json, where "convertible" is true.' },
    );
  }
  if (origin.kind === "page") throw byHand(entry, origin.page);
  const file = await zooCheckpoint(options);
  progress.note(`converting ${file}`);
  const checkpointName = origin.kind === "url" ? origin.url : origin.package;
  return convertCheckpoint({ file, out, title, arch, licence, transform, checkpointName });
}

/** Whether this version knows a checkpoint's architecture. */
export function isConvertible({ arch }: Pick<ZooEntry, "arch">): boolean {
  return families.some(({ archs }) => archs.includes(arch));
}
