import os from "node:os";

import * as tf from "@tensorflow/tfjs";

import { UserError, didYouMean } from "../errors.js";
import type { RowReader } from "./row-reader.js";
import type { FeatureBatch, FeatureLayer, FeaturePass, FeatureSource } from "./source.js";

export interface RowSourceOptions {
  layers: { layer: FeatureLayer; reader: RowReader }[];
  targets: FeatureSource["targets"];
  ids: string[];
  origin: Record<string, unknown>;
  stored?: FeatureSource["stored"];
  /** Called once when the source is closed. */
  release?: () => Promise<void>;
  /**
   * Layers that take at most so many bytes together are held as tensors from their first pass on; larger ones are read
   * from disk in every pass. The values are the same. Default: a quarter of the machine's memory.
   */
  residentBytes?: number;
}

type Batches = (rows: Uint32Array) => Promise<() => tf.Tensor2D>;

/** A layer read from where it is kept, and as it is read in all passes but an only one. */
interface LayerBatches {
  streamed: Batches;
  kept: Batches;
}

/** How many rows are read at a time into memory. */
const chunk = 4096;

/** A source of features whose rows can be read in any order. */
export async function rowSource(options: RowSourceOptions): Promise<FeatureSource> {
  const { layers, targets, ids, origin, stored, release, residentBytes = os.totalmem() / 4 } = options;
  const size = ids.length;
  const bytes = layers.reduce((sum, { layer }) => sum + size * layer.width * 4, 0);
  const resident: Promise<tf.Tensor2D>[] = [];
  let closed = false;
  const hold = (reader: RowReader, width: number) => {
    const reading = readAll(reader, size, width).then((values) => tf.keep(tf.tensor2d(values, [size, width])));
    resident.push(reading);
    return reading;
  };
  const batches = new Map(
    layers.map(({ layer: { name, width }, reader }): [string, LayerBatches] => {
      const each = streamed(reader, width);
      return [name, { streamed: each, kept: bytes > residentBytes ? each : held(() => hold(reader, width)) }];
    }),
  );
  return {
    size,
    layers: layers.map(({ layer }) => layer),
    targets,
    ids,
    origin,
    stored,
    pass: (pass) => run(pass, { size, batches, isClosed: () => closed }),
    close: async () => {
      if (closed) return;
      closed = true;
      for (const tensor of await Promise.allSettled(resident)) {
        if (tensor.status === "fulfilled") tensor.value.dispose();
      }
      await release?.();
    },
  };
}

/** The next batch is read while the current one is used. */
async function* run(
  { rows, batchSize, layers, once = false }: FeaturePass,
  { size, batches, isClosed }: { size: number; batches: Map<string, LayerBatches>; isClosed: () => boolean },
): AsyncGenerator<FeatureBatch> {
  if (isClosed()) throw new Error("The source of features is closed");
  if (!Number.isInteger(batchSize) || batchSize < 1) throw new Error(`A batch of ${batchSize} rows`);
  const beyond = rows.find((row) => row >= size);
  if (beyond !== undefined) throw new Error(`Row ${beyond} of ${size}`);
  const wanted = (layers ?? [...batches.keys()]).map((name) => {
    const of = batches.get(name);
    if (!of) throw unknownLayer(name, batches.keys());
    return { name, of: once ? of.streamed : of.kept };
  });
  const read = (start: number) => {
    const some = rows.slice(start, start + batchSize);
    const reading = Promise.all(wanted.map(async ({ name, of }) => ({ name, tensor: await of(some) })));
    // An error is told when the batch's turn comes.
    reading.catch(() => undefined);
    return { some, reading };
  };

  let next = rows.length > 0 ? read(0) : undefined;
  try {
    for (let start = 0; next; start += batchSize) {
      const { some, reading } = next;
      const made = await reading;
      next = start + batchSize < rows.length ? read(start + batchSize) : undefined;
      yield { rows: some, features: Object.fromEntries(made.map(({ name, tensor }) => [name, tensor()])) };
    }
  } finally {
    // Where the consumer stops early, what is being read ends before files are closed.
    await next?.reading.catch(() => undefined);
  }
}

/** The complaint about a layer that there is not. */
export function unknownLayer(name: string, names: Iterable<string>): UserError {
  return new UserError(`Expected one of the stored layers but received ${JSON.stringify(name)}`, {
    hint: didYouMean(name, names),
  });
}

function streamed(reader: RowReader, width: number): Batches {
  return async (rows) => {
    const values = await reader.read(rows);
    return () => tf.tensor2d(values, [rows.length, width]);
  };
}

/** @param hold reads the layer into a tensor; called when the first batch is asked for. */
function held(hold: () => Promise<tf.Tensor2D>): Batches {
  let whole: Promise<tf.Tensor2D> | undefined;
  return async (rows) => {
    const tensor = await (whole ??= hold());
    return () => {
      const first = rows[0]!;
      if (rows.every((row, i) => row === first + i)) return tensor.slice([first, 0], [rows.length, -1]);
      return tf.tidy(() => tf.gather(tensor, tf.tensor1d(Int32Array.from(rows), "int32")));
    };
  };
}

async function readAll(reader: RowReader, size: number, width: number): Promise<Float32Array> {
  const values = new Float32Array(size * width);
  for (let start = 0; start < size; start += chunk) {
    const rows = Uint32Array.from({ length: Math.min(chunk, size - start) }, (_, i) => start + i);
    values.set(await reader.read(rows), start * width);
  }
  return values;
}
