import fs from "node:fs/promises";
import path from "node:path";

import { UserError, didYouMean } from "../errors.js";
import { asReadError } from "../files.js";
import { byCodePoint } from "../datasets/listing.js";
import type { Targets } from "../datasets/dataset.js";
import { openNpy, readNpy } from "./npy-file.js";
import { npyTargets } from "./npy-targets.js";
import { product, toIntegers } from "./npy.js";
import { npyRows, OpenFiles } from "./row-reader.js";
import type { RowFile } from "./row-reader.js";
import { rowSource } from "./row-source.js";
import type { FeatureSource } from "./source.js";

/** One layer of a dump, merged: each sample once, by ascending index. */
interface DumpedLayer {
  name: string;
  shape: number[];
  files: RowFile[];
  /** Indices of the samples in the data set, ascending. */
  indices: Int32Array;
  /** Where each sample stands in the files taken together. */
  order: Uint32Array;
  targets: Targets;
}

/**
 * Features that VISSL dumped: `{prefix}_{split}_{layer}_features.npy` with `_targets.npy` and `_inds.npy`, the prefix
 * being `rank0_chunk0` or, in older releases, `rank0`. Shards are taken in the order of their prefixes as strings
 * (`rank10` before `rank2`); of a sample that stands in several, which the distributed sampler makes, the last counts.
 * Samples are in the order of their index, and named by it.
 *
 * Source: VISSL, `ExtractedFeaturesLoader`.
 *
 * @param options.layers default: all that there are for the split.
 * @throws UserError where there is no such dump, a file of a shard is missing or of another length, or the layers hold
 * different samples.
 */
export async function openVisslDump(options: {
  folder: string;
  split: "train" | "val" | "test";
  layers?: string[];
  residentBytes?: number;
}): Promise<FeatureSource> {
  const { folder, split, residentBytes } = options;
  const prefixes = await listDump(folder, split);
  if (prefixes.size === 0) {
    throw new UserError(`Expected VISSL's features of the split ${split} in ${folder} but there are none`, {
      hint: `They are named like rank0_chunk0_${split}_res5_features.npy.`,
    });
  }
  const layers: DumpedLayer[] = [];
  for (const name of options.layers ?? [...prefixes.keys()].sort(byCodePoint)) {
    const some = prefixes.get(name);
    if (!some) {
      throw new UserError(`Expected a layer of the dump ${folder} but received ${JSON.stringify(name)}`, {
        hint: didYouMean(name, prefixes.keys()),
      });
    }
    layers.push(await readLayer({ folder, split, name, prefixes: some }));
  }
  const first = layers[0]!;
  const other = layers.find(({ indices }) => !same(indices, first.indices));
  if (other) {
    throw new UserError(
      `Expected the same samples for all layers of ${folder} but ${first.name} and ${other.name} differ`,
      {
        hint: "Name the layers that belong together.",
      },
    );
  }
  const open = new OpenFiles();
  return rowSource({
    layers: layers.map(({ name, shape, files, order }) => {
      const width = product(shape);
      return { layer: { name, shape, width }, reader: npyRows({ files, width, open, order }) };
    }),
    targets: first.targets,
    ids: Array.from(first.indices, String),
    origin: { kind: "vissl", folder, split },
    release: () => open.close(),
    residentBytes,
  });
}

/** Layer → prefixes of its shards, in their order. */
async function listDump(folder: string, split: string): Promise<Map<string, string[]>> {
  const names = await fs.readdir(folder).catch((error: unknown) => {
    throw asReadError(error, folder, "a folder of features");
  });
  const prefixes = new Map<string, string[]>();
  for (const name of names) {
    const [, prefix, layer] = new RegExp(`^(.*?)_${split}_(.+)_features\\.npy$`).exec(name) ?? [];
    if (prefix !== undefined && layer !== undefined) prefixes.set(layer, [...(prefixes.get(layer) ?? []), prefix]);
  }
  for (const some of prefixes.values()) some.sort(byCodePoint);
  return prefixes;
}

async function readLayer(options: {
  folder: string;
  split: string;
  name: string;
  prefixes: string[];
}): Promise<DumpedLayer> {
  const { folder, split, name, prefixes } = options;
  const files: RowFile[] = [];
  const parts: Targets[] = [];
  const place = new Map<number, number>();
  let shape: number[] | undefined;
  let total = 0;
  for (const prefix of prefixes) {
    const stem = path.join(folder, `${prefix}_${split}_${name}`);
    const file = `${stem}_features.npy`;
    const npy = await openNpy(file);
    await npy.close();
    const [rows = 0, ...own] = npy.shape;
    shape ??= own;
    if (own.length === 0 || own.join() !== shape.join()) {
      throw new UserError(`Expected rows of shape [${shape.join(", ")}] for ${file} but received [${own.join(", ")}]`);
    }
    const targets = npyTargets(await readNpy({ file: `${stem}_targets.npy` }), `${stem}_targets.npy`);
    const indices = toIntegers(await readNpy({ file: `${stem}_inds.npy` }), `${stem}_inds.npy`);
    if (indices.length !== rows || targets.labels.length !== rows * columnsOf(targets)) {
      throw new UserError(
        `Expected ${rows} targets and indices beside ${file}, one a row, but received another number`,
      );
    }
    indices.forEach((index, row) => place.set(index, total + row));
    files.push({ file, rows });
    parts.push(targets);
    total += rows;
  }
  const indices = Int32Array.from(place.keys()).sort();
  const order = Uint32Array.from(indices, (index) => place.get(index)!);
  return { name, shape: shape!, files, indices, order, targets: pick(parts, order, `${name} in ${folder}`) };
}

/** The targets of the rows that count, out of those of all shards. */
function pick(parts: Targets[], order: Uint32Array, subject: string): Targets {
  const columns = columnsOf(parts[0]!);
  if (parts.some((part) => columnsOf(part) !== columns)) {
    throw new UserError(`Expected targets of one width for layer ${subject} but received several`);
  }
  const labels = parts.flatMap((part) => Array.from(part.labels));
  if (columns === 1) return { kind: "single", labels: Int32Array.from(order, (row) => labels[row]!) };
  const picked = new Int8Array(order.length * columns);
  order.forEach((row, i) => picked.set(labels.slice(row * columns, (row + 1) * columns), i * columns));
  return { kind: "multi", labels: picked, classes: columns };
}

function same(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

function columnsOf(targets: Targets): number {
  return targets.kind === "multi" ? targets.classes : 1;
}
