import fs from "node:fs/promises";
import path from "node:path";

import { UserError, expected } from "../errors.js";
import { asReadError } from "../files.js";
import { silent } from "../progress.js";
import type { Progress } from "../progress.js";
import { zipDirectory } from "../zip/directory.js";
import type { ZipRecord } from "../zip/directory.js";
import type { Dataset } from "./dataset.js";
import { datasetName } from "./listing.js";
import type { FormatOptions } from "./open.js";
import { shardedSplit } from "./shards.js";
import type { Shard } from "./shards.js";

const imagesPerArchive = 1000;
const archivesPerFolder = 1000;

/** One archive, and the images of it that are wanted. */
interface Archive extends Shard {
  /** Number of the first image that it may hold. */
  first: number;
  /** Numbers of its images, from there on. */
  numbers: Uint16Array;
  /** What the directory tells of each: {@link fields}. Plain numbers, for there may be millions. */
  places: Float64Array;
}

const fields = 5;

/**
 * Images by number in zip archives, as YFCC100M is kept for low-shot learning: image i is the entry `{i % 1000}.jpg` of
 * `{i / 1000000}/{(i / 1000) % 1000}.zip`, with 3, 2 and 3 digits. `yfcc:DIR` takes all that there are,
 * `yfcc:DIR,0..999999` those numbers, both ends included. The images have no labels: all are of the class `unlabelled`.
 *
 * Opening reads the directories of the archives; images are read by their place and not unpacked to the disk.
 *
 * Source: low-shot learning with large-scale diffusion (Douze et al.), its YFCC100M data set.
 */
export async function openYfcc({ spec, place, progress = silent }: FormatOptions): Promise<Dataset> {
  const { folder, from, to } = placeOf(place);
  const archives = await readArchives(await archivesOf(folder, from, to), { from, to, progress });
  const starts: number[] = [];
  const ids: string[] = [];
  for (const { first, numbers } of archives) {
    starts.push(ids.length);
    for (const number of numbers) ids.push(String(first + number));
  }
  if (ids.length === 0)
    throw new UserError(`Expected images in the archives of ${folder} but there are none of ${spec}`);
  const classes = ["unlabelled"];
  const all = shardedSplit({
    format: "yfcc",
    name: "all",
    ids,
    targets: { kind: "single", labels: new Int32Array(ids.length) },
    classes,
    shards: archives,
    source: (index) => {
      const number = lastAtMost(starts, index);
      const { file, places } = archives[number]!;
      const place = places.subarray((index - starts[number]!) * fields);
      const [headerStart, stored, size, deflated, crc] = place as unknown as [number, number, number, number, number];
      return { kind: "zip", path: file, headerStart, stored, size, deflated: deflated === 1, crc };
    },
  });
  return { spec, name: datasetName(folder), classes, multiLabel: false, splits: { all } };
}

function placeOf(place: string): { folder: string; from: number; to: number } {
  const [, folder, numbers] = /^(.*?)(?:,([^,]*))?$/.exec(place)!;
  if (numbers === undefined) return { folder: folder!, from: 0, to: Infinity };
  const [, from, to] = /^(\d{1,9})\.\.(\d{1,9})$/.exec(numbers) ?? [];
  if (from === undefined || Number(from) > Number(to)) {
    throw expected("the first and the last number, e.g. yfcc:DIR,0..999999,", `yfcc:${folder}`, numbers);
  }
  return { folder: folder!, from: Number(from), to: Number(to) };
}

/** The archives that may hold the numbers, in their order. */
async function archivesOf(folder: string, from: number, to: number): Promise<{ file: string; first: number }[]> {
  const found: { file: string; first: number }[] = [];
  for (const name of await namesIn(folder, /^(\d{2}|[1-9]\d{2,})$/)) {
    for (const archive of await namesIn(path.join(folder, name), /^\d{3}\.zip$/)) {
      const first = (Number(name) * archivesPerFolder + Number(archive.slice(0, 3))) * imagesPerArchive;
      if (first + imagesPerArchive > from && first <= to) found.push({ file: path.join(folder, name, archive), first });
    }
  }
  if (found.length > 0) return found.sort((one, other) => one.first - other.first);
  throw new UserError(`Expected zip archives as ${path.join(folder, "00", "000.zip")} but there are none`, {
    hint: "Image 1234567 is the entry 567.jpg of 01/234.zip.",
  });
}

async function namesIn(folder: string, pattern: RegExp): Promise<string[]> {
  const names = await fs.readdir(folder).catch((error: unknown) => {
    throw asReadError(error, folder, "a folder of zip archives");
  });
  return names.filter((name) => pattern.test(name));
}

async function readArchives(
  files: { file: string; first: number }[],
  options: { from: number; to: number; progress: Progress },
): Promise<Archive[]> {
  const { from, to, progress } = options;
  const task = progress.task({ label: "listing", total: files.length, unit: "archives" });
  const archives: Archive[] = [];
  try {
    for (const { file, first } of files) {
      const { records, ...shard } = await readArchive(file);
      const images = records
        .flatMap((record) =>
          /^\d{3}\.jpg$/.test(record.name) ? [{ record, number: Number.parseInt(record.name) }] : [],
        )
        .filter(({ number }) => first + number >= from && first + number <= to)
        .sort((one, other) => one.number - other.number);
      const wrong = images.find(({ record, number }, i) => images[i + 1]?.number === number || leaves(record, shard));
      if (wrong) throw damaged(file, `its entry ${wrong.record.name} comes twice or leaves the file`);
      archives.push({
        ...shard,
        first,
        numbers: Uint16Array.from(images, ({ number }) => number),
        places: Float64Array.from(
          images.flatMap(({ record }) => [
            record.headerStart,
            record.stored,
            record.size,
            Number(record.deflated),
            record.crc,
          ]),
        ),
      });
      task.advance(1);
    }
  } finally {
    task.end();
  }
  return archives;
}

function leaves({ headerStart, stored }: ZipRecord, { size }: Shard): boolean {
  return headerStart + stored > size;
}

async function readArchive(file: string): Promise<Shard & { records: ZipRecord[] }> {
  const handle = await fs.open(file).catch((error: unknown) => {
    throw asReadError(error, file, "a zip archive");
  });
  try {
    const { size, mtimeMs } = await handle.stat();
    const read = async (start: number, length: number) => {
      const bytes = new Uint8Array(length);
      const { bytesRead } = await handle.read(bytes, 0, length, start);
      if (bytesRead < length) throw damaged(file, "it has become shorter while in use");
      return bytes;
    };
    const { records } = await zipDirectory({ bytes: { size, read }, damaged: (finding) => damaged(file, finding) });
    return { file, size, mtimeMs, records };
  } finally {
    await handle.close();
  }
}

function damaged(file: string, finding: string): UserError {
  return new UserError(`Expected a whole zip archive of images at ${file} but ${finding}`, {
    hint: "Fetch it again, or take it out of the folder.",
  });
}

/** The largest index whose start is at most `row`; of equal starts the last, for the others are of empty archives. */
function lastAtMost(starts: number[], row: number): number {
  let [low, high] = [0, starts.length];
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (starts[middle]! <= row) low = middle;
    else high = middle;
  }
  return low;
}
