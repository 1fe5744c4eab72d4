import fs from "node:fs/promises";

import type { Targets } from "../datasets/dataset.js";
import { expected } from "../errors.js";
import { openNpy, readNpy } from "./npy-file.js";
import { npyTargets } from "./npy-targets.js";
import { product } from "./npy.js";
import { npyRows, OpenFiles } from "./row-reader.js";
import { rowSource } from "./row-source.js";
import type { FeatureSource } from "./source.js";

/**
 * Features that are in memory already.
 *
 * @param options.layers by name: the shape of one image, and the numbers of all, row by row.
 * @param options.ids default `0`, `1`, …
 * @throws UserError where a layer, the targets and the ids are not of the same number of images.
 */
export async function arraySource(options: {
  layers: Record<string, { shape: number[]; data: Float32Array }>;
  targets: Targets;
  ids?: string[];
}): Promise<FeatureSource> {
  const { layers, targets } = options;
  const size = countOf(targets);
  const { ids = numbered(size) } = options;
  if (ids.length !== size) throw expected(`${size} names, one a label`, "the features", ids.length);
  return rowSource({
    layers: Object.entries(layers).map(([name, { shape, data }]) => {
      const width = product(shape);
      if (data.length !== size * width) {
        throw expected(`${size} × ${width} numbers, one row a label`, `layer ${name}`, data.length);
      }
      const read = async (rows: Uint32Array) => gather(data, rows, width);
      return { layer: { name, shape, width }, reader: { read } };
    }),
    targets,
    ids,
    origin: { kind: "array" },
    residentBytes: Infinity,
  });
}

/**
 * Features of one's own in a pair of `.npy` files.
 *
 * @param options.features floating-point numbers of shape [n, …].
 * @param options.targets class indices [n] or [n, 1], or [n, classes] with 1, 0 and −1.
 * @param options.layer what the features are called. Default `features`.
 * @throws UserError where a file is missing or not as told, or the numbers of rows differ.
 */
export async function openNpyPair(options: {
  features: string;
  targets: string;
  layer?: string;
  residentBytes?: number;
}): Promise<FeatureSource> {
  const { features: file, targets: targetsFile, layer: name = "features", residentBytes } = options;
  const targets = npyTargets(await readNpy({ file: targetsFile }), targetsFile);
  const npy = await openNpy(file);
  await npy.close();
  const [rows = 0, ...shape] = npy.shape;
  if (shape.length === 0) throw expected("an array of shape [n, width]", file, npy.shape);
  if (rows !== countOf(targets)) {
    throw expected(`${rows} labels, one a row of ${file},`, targetsFile, countOf(targets));
  }
  const open = new OpenFiles();
  const width = product(shape);
  return rowSource({
    layers: [{ layer: { name, shape, width }, reader: npyRows({ files: [{ file, rows }], width, open }) }],
    targets,
    ids: numbered(rows),
    origin: { kind: "npy", features: await identityOf(file), targets: await identityOf(targetsFile) },
    release: () => open.close(),
    residentBytes,
  });
}

/** A file as it is now: what was computed from another content is not taken for this one's. */
export async function identityOf(file: string): Promise<{ file: string; size: number; modified: number }> {
  const { size, mtimeMs } = await fs.stat(file);
  return { file, size, modified: mtimeMs };
}

function gather(data: Float32Array, rows: Uint32Array, width: number): Float32Array {
  const gathered = new Float32Array(rows.length * width);
  rows.forEach((row, i) => gathered.set(data.subarray(row * width, (row + 1) * width), i * width));
  return gathered;
}

function countOf(targets: Targets): number {
  return targets.labels.length / (targets.kind === "multi" ? targets.classes : 1);
}

/** Names of images that have none. */
export function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}
