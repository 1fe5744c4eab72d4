import { createHash } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";

import { UserError, didYouMean, expected, show } from "../errors.js";
import { asReadError, errorCode } from "../files.js";
import type { DatasetSplit, SplitName } from "./dataset.js";
import { byCodePoint, labelBytes, splitNamed, uniqueIds } from "./listing.js";

/** One of the files that a data set is cut into. */
export interface Shard {
  file: string;
  /** Bytes. */
  size: number;
  mtimeMs: number;
}

/** The shards of each split, and what else the place said. */
export interface Shards {
  splits: Map<SplitName, Shard[]>;
  options: Partial<Record<string, string>>;
}

/**
 * Finds shards by what the user wrote: a folder, a file, or a pattern with `*`, `?` and `{0000..0009}`; or
 * `train=PATTERN,val=PATTERN`. Without words of the user's, the split of a shard is in its name (`train-00000.tar`) or
 * its folder's; if no shard has one, all are the split `all`.
 *
 * @param options.extension e.g. `.tar`.
 * @param options.keys settings that may stand behind the pattern, as `,label=fine_label`.
 * @throws UserError where nothing is found, one of `-00000-of-00002` is missing, or splits are not clear.
 */
export async function findShards(options: {
  spec: string;
  place: string;
  extension: string;
  keys?: string[];
}): Promise<Shards> {
  const { spec, place, extension, keys = [] } = options;
  const found: Shards = { splits: new Map(), options: {} };
  for (const part of place.split(",")) {
    const [, key, value] = /^(\w+)=(.+)$/.exec(part) ?? [];
    const split = key === undefined ? undefined : splitNamed(key);
    if (key !== undefined && value !== undefined && keys.includes(key)) {
      found.options[key] = value;
    } else if (key !== undefined && !split) {
      const words = ["train", "val", "test", ...keys];
      throw expected(words.join(", "), `a word before = in ${spec}`, key, didYouMean(key, words));
    } else {
      const files = await matching(split ? value! : part, extension);
      for (const [name, shards] of split ? [[split, files] as const] : bySplit(files, spec)) {
        if (found.splits.has(name)) throw new UserError(`Expected the shards of ${name} once in ${spec}`);
        found.splits.set(name, await Promise.all(shards.map(shardAt)));
      }
    }
  }
  const names = [...found.splits.keys()];
  if (names.length === 0) throw new UserError(`Expected the place of the shards for ${spec} but received nothing`);
  if (names.length > 1 && names.includes("all")) {
    throw new UserError(`Expected a split for each pattern of ${spec} but one has none`, {
      hint: "Write train=PATTERN,val=PATTERN.",
    });
  }
  return found;
}

/** A split of images that lie in shards. Its digest is over labels, names and each shard's size and time. */
export function shardedSplit(
  options: Omit<DatasetSplit, "size" | "digest"> & { format: string; classes: string[]; shards: Shard[] },
): DatasetSplit {
  const { format, classes, shards, name, targets, source } = options;
  const place = shards.map(({ file }) => file).join(", ");
  if (options.ids.length === 0) throw new UserError(`Expected images in ${place} but there are none`);
  const ids = uniqueIds(options.ids, place);
  const hash = createHash("sha256");
  const files = shards.map(({ file, size, mtimeMs }) => [path.basename(file), size, Math.trunc(mtimeMs)]);
  hash.update(JSON.stringify({ format, classes, kind: targets.kind, images: ids.length, files }));
  hash.update(labelBytes(targets));
  for (const id of ids) hash.update(`${id}\n`);
  return { name, size: ids.length, ids, targets, source, digest: hash.digest("hex") };
}

async function shardAt(file: string): Promise<Shard> {
  const { size, mtimeMs } = await fs.stat(file).catch((error: unknown) => {
    throw asReadError(error, file, "a shard");
  });
  return { file, size, mtimeMs };
}

/** The files of a pattern; of a folder those in it or, if there are none, in the folders in it. */
async function matching(pattern: string, extension: string): Promise<string[]> {
  const isFolder = await fs.stat(pattern).then(
    (stat) => stat.isDirectory(),
    () => false,
  );
  const root = path.resolve(pattern);
  const files = isFolder
    ? orElse(await glob(root, `*${extension}`), await glob(root, `*/*${extension}`))
    : (await Promise.all(numbersOf(root).map((one) => expand(one)))).flat();
  if (files.length === 0) {
    throw new UserError(`Expected ${extension} files at ${pattern} but there are none`, {
      hint: `Write a folder, or a pattern in quotes: train-{0000..0009}${extension}, train-*${extension}.`,
    });
  }
  checkWhole(files);
  return files;
}

function orElse(first: string[], second: string[]): string[] {
  return first.length > 0 ? first : second;
}

/** `{0008..0010}` as 0008, 0009, 0010. */
function numbersOf(pattern: string): string[] {
  const match = /\{(\d+)\.\.(\d+)\}/.exec(pattern);
  if (!match) return [pattern];
  const [braces, from, to] = match as unknown as [string, string, string];
  const count = Number(to) - Number(from) + 1;
  if (count < 1 || count > 1_000_000) throw expected("an ascending range", pattern, braces);
  return Array.from({ length: count }, (_, i) => {
    const number = String(Number(from) + i).padStart(from.length, "0");
    return numbersOf(pattern.replace(braces, () => number));
  }).flat();
}

/** A path without wildcards stands for itself, whether it is there or not. */
async function expand(pattern: string): Promise<string[]> {
  if (!/[*?]/.test(pattern)) return [pattern];
  const { root } = path.parse(pattern);
  return glob(root, pattern.slice(root.length));
}

/** Files of a pattern below a folder, by code point; hidden ones only where the pattern begins with a dot too. */
async function glob(folder: string, pattern: string): Promise<string[]> {
  const [part, ...rest] = pattern.split(path.sep) as [string, ...string[]];
  const names = /[*?]/.test(part) ? await namesIn(folder, part) : [part];
  if (rest.length === 0) return names.map((name) => path.join(folder, name));
  return (await Promise.all(names.map((name) => glob(path.join(folder, name), rest.join(path.sep))))).flat();
}

async function namesIn(folder: string, part: string): Promise<string[]> {
  const text = part
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*/g, ".*")
    .replace(/\?/g, ".");
  const names = await fs.readdir(folder).catch((error: unknown) => {
    if (["ENOENT", "ENOTDIR"].includes(errorCode(error) ?? "")) return [];
    throw asReadError(error, folder, "a folder of shards");
  });
  const fits = new RegExp(`^${text}$`);
  return names.filter((name) => fits.test(name) && (part.startsWith(".") || !name.startsWith("."))).sort(byCodePoint);
}

/** Data hubs number their files `-00000-of-00002`: one that is missing would pass unseen. */
function checkWhole(files: string[]): void {
  const series = new Map<string, { total: number; parts: Set<number> }>();
  for (const file of files) {
    const match = /^(.*)-(\d{5})-of-(\d{5})/.exec(file);
    if (!match) continue;
    const key = `${match[1]!}-*-of-${match[3]!}`;
    const one = series.get(key) ?? { total: Number(match[3]), parts: new Set() };
    one.parts.add(Number(match[2]));
    series.set(key, one);
  }
  for (const [key, { total, parts }] of series) {
    if (parts.size === total) continue;
    throw new UserError(`Expected ${total} files ${key} but there are ${parts.size}`);
  }
}

function bySplit(files: string[], spec: string): [SplitName, string[]][] {
  const splits = new Map<SplitName, string[]>();
  for (const file of files) {
    const words = [...path.basename(file).split(/[-_.]/), path.basename(path.dirname(file))];
    const name = words.map(splitNamed).find((split) => split !== undefined) ?? "all";
    const others = splits.get(name) ?? [];
    if (others.length > 0 && path.dirname(others[0]!) !== path.dirname(file)) {
      throw new UserError(
        `Expected the shards of ${name} in one folder for ${spec} but received ` +
          `${show(path.dirname(others[0]!))} and ${show(path.dirname(file))}`,
        { hint: "Name one folder, or write train=PATTERN,val=PATTERN." },
      );
    }
    splits.set(name, [...others, file]);
  }
  if (splits.size > 1 && splits.has("all")) {
    throw new UserError(
      `Expected train, val or test in the name of each shard of ${spec} but received ` +
        show(path.basename(splits.get("all")![0]!)),
      { hint: "Write train=PATTERN,val=PATTERN." },
    );
  }
  const order: SplitName[] = ["train", "val", "test", "all"];
  return order.flatMap((name) => (splits.has(name) ? [[name, splits.get(name)!] as [SplitName, string[]]] : []));
}
