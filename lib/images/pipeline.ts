import os from "node:os";

import { expected, UserError } from "../errors.js";
import { bytes } from "../progress.js";
import type { ImageSource } from "./image.js";
import { openPool, type ImagePool } from "./pool.js";
import { parseTransform } from "./transform.js";

export interface ImageBatchesOptions {
  /** Number of images in the listing. */
  count: number;
  /** The image at a position. */
  source: (index: number) => ImageSource | Promise<ImageSource>;
  /** The image's name in messages. Default: its position. */
  id?: (index: number) => string;
  /** Positions in the order of the pass. Default: 0 … count − 1. */
  order?: Uint32Array;
  /** In the language of {@link parseTransform}; it must give all images one size. */
  transform: string;
  batchSize: number;
  /** No batch reaches across a multiple of this in the pass. Default: batches are cut at their size alone. */
  cutEvery?: number;
  /** Worker threads; 0 works in this one. Default: one for each core. */
  workers?: number;
  /** Batches that are begun before they are asked for, at least 1. Default: 4, or fewer if `memoryLimit` is tight. */
  lookAhead?: number;
  /**
   * Random steps draw from the seed, the image's position in the listing and its number here (one for each position of
   * the pass), and from nothing else: neither workers nor batches change them. Default: 0.
   */
  seed?: number | string;
  draws?: Uint32Array;
  /**
   * - `stop`: the pass goes on to its end, then throws one UserError that lists all bad images
   * - `skip`: they are left out, and stand in `bad`
   */
  onBadImage: "stop" | "skip";
  /** Bytes that the batches may take. Default: half of the memory that is free. */
  memoryLimit?: number;
}

export interface ImageBatch {
  /** Positions of the images in this batch, in the order of the pass; bad ones are absent. May be empty. */
  rows: Uint32Array;
  /** Where each of them stands in the pass. */
  positions: Uint32Array;
  /** float32 [rows.length, height, width, 3]. Valid until the next batch is asked for; copy it to keep it. */
  pixels: Float32Array;
  height: number;
  width: number;
}

export interface BadImage {
  id: string;
  /** Its position in the listing. */
  row: number;
  /** Where it stood in the pass. */
  position: number;
  /** One sentence. */
  reason: string;
}

interface BegunBatch {
  batch: ImageBatch;
  bad: BadImage[];
}

/** One pass over images. */
export interface ImageBatches extends AsyncIterable<ImageBatch> {
  /** The images that could not be read, in the order of the pass, as far as it has come. */
  readonly bad: readonly BadImage[];
}

/**
 * Decodes and transforms images in worker threads, a bounded number of batches ahead. Batches come in order and are
 * written in place by the workers, with no copy. The workers end with the iteration, however it ends.
 *
 * @throws UserError where the transform gives no fixed size, a number is out of range, or `lookAhead` batches need more
 * than `memoryLimit`; at the end of the pass for bad images, if these are to stop it.
 */
export function imageBatches(options: ImageBatchesOptions): ImageBatches {
  const { count, batchSize, workers = os.availableParallelism(), order, draws, seed = 0 } = options;
  const transform = parseTransform(options.transform);
  const size = transform.outputSize();
  if (!size) {
    throw new UserError(`Expected a transform that gives all images one size but received ${transform.text}`, {
      hint: "Add center_crop(224), or resize to height × width: resize(224x224,bilinear).",
    });
  }
  atLeast(1, batchSize, "the batch size");
  atLeast(0, workers, "the number of workers");
  const [height, width] = size;
  const valuesPerImage = height * width * 3;
  const batchBytes = batchSize * valuesPerImage * Float32Array.BYTES_PER_ELEMENT;
  const images = order?.length ?? count;
  const starts = startsOf({ images, batchSize, cutEvery: options.cutEvery });
  const lookAhead = boundedLookAhead({ ...options, batchBytes, total: starts.length });
  const allBad: BadImage[] = [];

  /** Begins one batch in a slot of memory; resolves when all its images are there. */
  const begin = async (pool: ImagePool, batch: number, slot: number): Promise<BegunBatch> => {
    const start = starts[batch]!;
    const length = (starts[batch + 1] ?? images) - start;
    const positions = Uint32Array.from({ length }, (_, i) => start + i);
    const rows = positions.map((position) => order?.[position] ?? position);
    const failures = await pool.fill(
      Array.from(rows, (row, i) => ({ row, draw: draws?.[start + i] ?? 0, place: slot * batchSize + i })),
    );
    const all = pool.values.subarray(slot * batchSize * valuesPerImage, (slot + 1) * batchSize * valuesPerImage);
    const good = (_: number, i: number) => failures[i] === undefined;
    const kept = { rows: rows.filter(good), positions: positions.filter(good) };
    const bad = Array.from(rows, (row, i) => ({ row, position: start + i, reason: failures[i] })).flatMap((image) =>
      image.reason === undefined
        ? []
        : [{ ...image, id: options.id?.(image.row) ?? `image ${image.row}`, reason: image.reason }],
    );
    if (bad.length > 0) closeGaps(all, failures, valuesPerImage);
    return { batch: { ...kept, pixels: all.subarray(0, kept.rows.length * valuesPerImage), height, width }, bad };
  };

  async function* iterate(): AsyncGenerator<ImageBatch> {
    const pool = openPool({
      ...{ source: options.source, transform: transform.text, seed, workers, valuesPerImage },
      places: lookAhead * batchSize,
    });
    try {
      const begun: Promise<BegunBatch>[] = [];
      const beginNext = (batch: number) => {
        if (batch >= starts.length) return;
        const promise = begin(pool, batch, batch % lookAhead);
        // It is awaited in its turn; until then a failure must not count as unhandled.
        promise.catch(() => undefined);
        begun.push(promise);
      };
      for (let batch = 0; batch < lookAhead; batch++) beginNext(batch);
      for (let batch = 0; batch < starts.length; batch++) {
        const done = await begun.shift()!;
        allBad.push(...done.bad);
        yield done.batch;
        // The consumer has come back: the slot of the batch that it had is free.
        beginNext(batch + lookAhead);
      }
    } finally {
      await pool.close();
    }
    if (allBad.length > 0 && options.onBadImage === "stop") throw badImagesError(allBad, images);
  }

  return { bad: allBad, [Symbol.asyncIterator]: iterate };
}

/** Where batches begin. */
function startsOf(options: { images: number; batchSize: number; cutEvery?: number }): number[] {
  const { images, batchSize, cutEvery = Infinity } = options;
  const starts: number[] = [];
  for (let at = 0; at < images; at = Math.min(at + batchSize, (Math.floor(at / cutEvery) + 1) * cutEvery)) {
    starts.push(at);
  }
  return starts;
}

function boundedLookAhead(options: {
  lookAhead?: number;
  memoryLimit?: number;
  batchBytes: number;
  total: number;
}): number {
  const { lookAhead, memoryLimit = os.freemem() / 2, batchBytes, total } = options;
  if (lookAhead !== undefined) atLeast(1, lookAhead, "the look-ahead");
  const wanted = lookAhead ?? Math.max(1, Math.min(4, Math.floor(memoryLimit / batchBytes)));
  if (wanted * batchBytes > memoryLimit) {
    throw new UserError(
      `Expected a look-ahead that fits into ${bytes(memoryLimit)} of memory but received ${wanted} batches ` +
        `of ${bytes(batchBytes)}`,
      { hint: "Make the look-ahead or the batches smaller." },
    );
  }
  return Math.max(1, Math.min(wanted, total));
}

/** Moves the images behind a bad one forward. */
function closeGaps(values: Float32Array, failures: (string | undefined)[], valuesPerImage: number): void {
  let to = 0;
  failures.forEach((reason, from) => {
    if (reason !== undefined) return;
    if (to < from) values.copyWithin(to * valuesPerImage, from * valuesPerImage, (from + 1) * valuesPerImage);
    to++;
  });
}

/** All bad images of a pass in one error, the first twenty by name. */
export function badImagesError(bad: readonly Omit<BadImage, "position">[], count: number): UserError {
  const lines = [...bad].sort((a, b) => a.row - b.row).map(({ id, reason }) => `  ${id}: ${reason}`);
  const more = lines.length > 20 ? `\n  … and ${lines.length - 20} more` : "";
  return new UserError(
    `Expected ${count} images that can be read but received ${lines.length} bad ${lines.length === 1 ? "one" : "ones"}:\n` +
      `${lines.slice(0, 20).join("\n")}${more}`,
    { hint: "Repair or remove them, or leave them out with --on-bad-image skip; the result then names them." },
  );
}

function atLeast(least: number, value: number, subject: string): void {
  if (!Number.isInteger(value) || value < least) throw expected(`an integer of at least ${least}`, subject, value);
}
