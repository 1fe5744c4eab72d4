import { createHash } from "node:crypto";
import path from "node:path";

import { UserError } from "../errors.js";
import { silent } from "../progress.js";
import type { Progress } from "../progress.js";
import type { DatasetSplit, SplitName, Targets } from "./dataset.js";
import { fileStats } from "./file-stats.js";

/**
 * A split whose images are files of their own: asks each for its size and modification time, and makes the digest of
 * the listing. Of more than one and a half million every second, third … is asked, so that a set whose images were made
 * anew is still known for another; a file that was not asked and is not there fails when it is decoded.
 *
 * @param options.files a path for each image, below `root` or absolute.
 * @param options.format goes into the digest, for two formats may mean different things by the same names.
 * @param options.missing the error for an image that is not there; without it such an image stays in the list, and
 * fails when it is decoded, as any other broken image.
 * @param options.mostAsked files that are asked at most: ten million answers take half a minute of the processor's time.
 */
export async function fileSplit(options: {
  format: string;
  name: SplitName;
  root: string;
  files: string[];
  ids: string[];
  targets: Targets;
  classes: string[];
  missing?: (index: number) => UserError;
  mostAsked?: number;
  progress?: Progress;
}): Promise<DatasetSplit> {
  const { format, name, root, files, ids, targets, classes, missing } = options;
  const { mostAsked = 1_500_000, progress = silent } = options;
  const hash = createHash("sha256");
  hash.update(JSON.stringify({ format, classes, kind: targets.kind, images: ids.length }));
  hash.update(labelBytes(targets));
  const task = progress.task({ label: `listing ${name}`, total: files.length, unit: "images" });
  const step = Math.ceil(files.length / mostAsked);
  const asked = step > 1 ? files.filter((_, i) => i % step === 0) : files;
  try {
    let row = 0;
    for await (const stats of fileStats({ root, files: asked })) {
      const first = row;
      let lines = "";
      for (let i = 0; i < stats.length; i += 2) {
        if (stats[i]! < 0 && missing) throw missing(row);
        lines += `${ids[row]!}\n${stats[i]!} ${stats[i + 1]!}\n`;
        const next = Math.min(row + step, files.length);
        while (++row < next) lines += `${ids[row]!}\n`;
      }
      hash.update(lines);
      task.advance(row - first);
    }
  } finally {
    task.end();
  }
  return {
    name,
    size: files.length,
    ids,
    targets,
    source: (index) => ({ kind: "file", path: path.resolve(root, files[index]!) }),
    digest: hash.digest("hex"),
  };
}

/** The bytes of labels, for digests. */
export function labelBytes({ labels }: Targets): Uint8Array {
  return new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength);
}

/**
 * Names made unique: the second `a.jpg` becomes `a.jpg (2)`. File lists may hold an image several times.
 *
 * @throws UserError where a name has a line break in it, for ids are kept one a line.
 */
export function uniqueIds(names: string[], subject: string): string[] {
  const broken = names.find((name) => /[\n\r]/.test(name));
  if (broken !== undefined) {
    throw new UserError(`Expected names without line breaks for ${subject} but received ${JSON.stringify(broken)}`);
  }
  if (areRising(names) || !mayRepeat(names)) return names;
  const taken = new Set<string>();
  const times = new Map<string, number>();
  return names.map((name) => {
    let id = name;
    for (let n = times.get(name) ?? 2; taken.has(id); n++) {
      id = `${name} (${n})`;
      times.set(name, n + 1);
    }
    taken.add(id);
    return id;
  });
}

/** Lists mostly come sorted, and then no two names are equal. */
function areRising(names: string[]): boolean {
  for (let i = 1; i < names.length; i++) if (names[i - 1]! >= names[i]!) return false;
  return true;
}

/** Whether some names may be equal, by 64 bits of hash each: a set of ten million names would take a gigabyte. */
function mayRepeat(names: string[]): boolean {
  const { imul } = Math;
  const places = 2 ** Math.ceil(Math.log2(2 * names.length + 1));
  const low = new Uint32Array(places);
  const high = new Uint32Array(places);
  for (const name of names) {
    let [a, b] = [0x811c9dc5, 0x9747b28c];
    for (let i = 0; i < name.length; i++) {
      const unit = name.charCodeAt(i);
      a = imul(a ^ unit, 0x01000193);
      b = imul(b ^ unit, 0x5bd1e995) + (b >>> 15);
    }
    // 0 marks a free place.
    [a, b] = [(a ^ (a >>> 15)) >>> 0 || 1, (b ^ (b >>> 13)) >>> 0];
    let place = (a ^ imul(b, 0x9e3779b1)) & (places - 1);
    for (; low[place] !== 0; place = (place + 1) & (places - 1)) if (low[place] === a && high[place] === b) return true;
    low[place] = a;
    high[place] = b;
  }
  return false;
}

/** The split that a word names; `valid` and `validation` are in use for `val`. */
export function splitNamed(word: string): Exclude<SplitName, "all"> | undefined {
  switch (word.toLowerCase()) {
    case "train":
      return "train";
    case "val":
    case "valid":
    case "validation":
      return "val";
    case "test":
      return "test";
    default:
      return undefined;
  }
}

/** A name for folders and tables: what is left of a path's last part in `[A-Za-z0-9._-]`. */
export function datasetName(place: string): string {
  return (
    path
      .basename(path.resolve(place))
      .replace(/[^A-Za-z0-9._-]+/g, "-")
      .replace(/^[-.]+|[-.]+$/g, "") || "data"
  );
}

/** Strings in the order in which Python sorts them: by code point, where JavaScript's own goes by UTF-16 units. */
export function byCodePoint(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

/** Surrogates, which begin code points beyond 0xFFFF, after all other units. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
