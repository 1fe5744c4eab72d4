import fs from "node:fs/promises";
import path from "node:path";

import { z } from "zod";

import { cacheFolder } from "../downloads/cache.js";
import { digestOf, inside, sha256, sha256OfFile, writeJson } from "../files.js";
import { writeFolderAtomic } from "../folders.js";
import { withLock } from "../lock.js";

import type { MappedWeight, Weight } from "./graph-def.js";
import { toHalf, type HalfPrecision } from "./half-precision.js";
import { readModelWeights, type WeightGroup } from "./model-weights.js";

export interface SessionWeightsOptions {
  /** Path of the GraphModel's JSON; its weight files stand beside it. */
  modelJson: string;
  groups: WeightGroup[];
  /** The sha256 over the JSON and the weight files. */
  digest: string;
  /** Weights that are kept in half precision. */
  half?: { precision: HalfPrecision; names: ReadonlySet<string> };
}

/** Weights by the name of their node. Small ones are there as numbers, the others as files that TensorFlow maps. */
export type SessionWeights = ReadonlyMap<string, Weight | MappedWeight>;

/** Bytes up to which a weight is no file of its own: shapes, axes, biases, which the graph's optimiser wants to see. */
const smallest = 16 * 1024;

const smallFile = "small.bin";
const indexFile = "index.json";

const indexSchema = z.strictObject({
  digest: z.string(),
  weights: z.array(
    z.strictObject({
      name: z.string(),
      shape: z.array(z.number()),
      dtype: z.enum(["float32", "int32", "bool", "bfloat16", "float16"]),
      file: z.string(),
      /** Where it begins in the file, in bytes. */
      offset: z.number(),
    }),
  ),
  files: z.record(z.string(), z.strictObject({ bytes: z.number(), sha256: z.string() })),
});

type Index = z.infer<typeof indexSchema>;

/**
 * The weights of a GraphModel as files in the cache folder, one a large weight: TensorFlow maps them into memory, so
 * that a session neither copies them nor holds them in its graph, whose message may have 2 GiB at most, and processes
 * share them.
 *
 * They are made at the first use, under a lock, and known by the model's digest. What is damaged is made anew; what was
 * not used for 30 days is deleted when others are made.
 *
 * @throws UserError where the model's files cannot be read, or the cache folder cannot be written.
 */
export async function sessionWeights(options: SessionWeightsOptions): Promise<SessionWeights> {
  const { digest, half } = options;
  const key = digestOf({ digest, half: half && [half.precision, ...[...half.names].sort()] });
  const parent = path.join(cacheFolder(), "sessions");
  const folder = path.join(parent, key.slice(0, 16));
  const index = await withLock({ file: `${folder}.lock` }, async () => {
    const found = await readIndex(folder, key);
    if (found) return found;
    await removeUnused(parent);
    await writeFolderAtomic({
      ...{ dir: folder, mark: indexFile, kind: "weights of a session", hint: "Delete it." },
      fill: (into) => write(into, key, options),
    });
    return (await readIndex(folder, key))!;
  });
  const small = await fs.readFile(path.join(folder, smallFile));
  return new Map(
    index.weights.map(({ name, shape, dtype, file, offset }): [string, Weight | MappedWeight] => {
      if (file !== smallFile) return [name, { shape, dtype: floatOf(dtype), file: path.join(folder, file) }];
      return [name, { shape, dtype, data: numbers(dtype, small.subarray(offset), shape) }];
    }),
  );
}

/** Undefined where it is not there, or not as it was written. It is marked as used. */
async function readIndex(folder: string, key: string): Promise<Index | undefined> {
  const file = path.join(folder, indexFile);
  try {
    const index = indexSchema.parse(JSON.parse(await fs.readFile(file, "utf8")));
    if (index.digest !== key) return undefined;
    for (const [name, expected] of Object.entries(index.files)) {
      if ((await sha256OfFile(path.join(folder, name))) !== expected.sha256) return undefined;
    }
    await fs.utimes(file, new Date(), new Date()).catch(() => {});
    return index;
  } catch {
    return undefined;
  }
}

async function write(folder: string, key: string, { modelJson, groups, half }: SessionWeightsOptions): Promise<void> {
  const index: Index = { digest: key, weights: [], files: {} };
  const small: Uint8Array[] = [];
  const put = async (file: string, bytes: Uint8Array) => {
    await fs.writeFile(inside(folder, file), bytes);
    index.files[file] = { bytes: bytes.length, sha256: sha256(bytes) };
  };
  let at = 0;
  for await (const { name, shape, dtype, data } of readModelWeights({ modelJson, groups })) {
    const isLarge = data.byteLength > smallest && dtype === "float32";
    const kept = isLarge && half?.names.has(name) ? toHalf(data as Float32Array, half.precision) : data;
    const bytes = new Uint8Array(kept.buffer, kept.byteOffset, kept.byteLength);
    if (isLarge) {
      const file = `${index.weights.length}.bin`;
      await put(file, bytes);
      index.weights.push({ name, shape: [...shape], dtype: kept === data ? dtype : half!.precision, file, offset: 0 });
    } else {
      index.weights.push({ name, shape: [...shape], dtype, file: smallFile, offset: at });
      // Each begins where any number may.
      small.push(bytes, new Uint8Array(-bytes.length & 3));
      at += bytes.length + (-bytes.length & 3);
    }
  }
  await put(smallFile, Buffer.concat(small));
  await writeJson(path.join(folder, indexFile), index);
}

const thirtyDays = 30 * 24 * 60 * 60 * 1000;

async function removeUnused(parent: string): Promise<void> {
  for (const name of await fs.readdir(parent).catch(() => [])) {
    const used = await fs.stat(path.join(parent, name, indexFile)).catch(() => undefined);
    if (used && Date.now() - used.mtimeMs > thirtyDays) await fs.rm(path.join(parent, name), { recursive: true });
  }
}

type Dtype = Index["weights"][number]["dtype"];

function floatOf(dtype: Dtype): MappedWeight["dtype"] {
  if (dtype === "int32" || dtype === "bool") throw new Error(`a mapped weight of ${dtype}`);
  return dtype;
}

function numbers(dtype: Dtype, bytes: Buffer, shape: number[]): Weight["data"] {
  const length = shape.reduce((product, size) => product * size, 1);
  if (dtype === "bool") return Uint8Array.from(bytes.subarray(0, length));
  const own = Uint8Array.from(bytes.subarray(0, 4 * length)).buffer;
  return dtype === "int32" ? new Int32Array(own) : new Float32Array(own);
}
