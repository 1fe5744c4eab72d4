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
 * @throws UserError where there is no such dump, a shard or a file of it is missing or of another length, or the layers
 * hold different samples.
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

/**
 * Layer → prefixes of its shards, in their order.
 *
 * @throws UserError where a shard has targets or indices and no features.
 */
async function listDump(folder: string, split: string): Promise<Map<string, string[]>> {
  const names = await fs.readdir(folder).catch((error: unknown) => {
    throw asReadError(error, folder, "a folder of features");
  });
  const prefixes = new Map<string, string[]>();
  const there = new Set(names);
  for (const name of names) {
    const [, prefix, layer, part] = new RegExp(`^(.*?)_${split}_(.+)_(features|targets|inds)\\.npy$`).exec(name) ?? [];
    if (prefix === undefined || layer === undefined) continue;
    if (part === "features") {
      prefixes.set(layer, [...(prefixes.get(layer) ?? []), prefix]);
      continue;
    }
    const stem = `${prefix}_${split}_${layer}`;
    // VISSL's predictions have targets and indices too.
    if (!there.has(`${stem}_features.npy`) && !there.has(`${stem}_predictions.npy`)) {
      throw new UserError(`Expected ${stem}_features.npy beside ${name} in ${folder} but there is none`);
    }
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
  refuseMissingShards({ folder, split, name, prefixes, indices });
  const order = Uint32Array.from(indices, (index) => place.get(index)!);
  return { name, shape: shape!, files, indices, order, targets: pick(parts, order, `${name} in ${folder}`) };
}

/**
 * Shards are numbered from 0, by rank and by chunk of a rank. A number that is left out may be that of a process that
 * had nothing of its own; where samples lack too, a shard is lost. (Indices alone may have gaps: those of a subset.)
 */
function refuseMissingShards(options: {
  folder: string;
  split: string;
  name: string;
  prefixes: string[];
  indices: Int32Array;
}): void {
  const { folder, split, name, prefixes, indices } = options;
  const absent = indices.findIndex((index, i) => index !== i);
  if (absent < 0) return;
  const numbers = prefixes.map((prefix) =>
    /^rank(\d+)(?:_chunk(\d+))?$/
      .exec(prefix)
      ?.slice(1)
      .map((n = "0") => Number(n)),
  );
  if (!numbers.every((pair) => pair !== undefined)) return;
  const there = new Set(numbers.map((pair) => pair.join()));
  const ranks = Math.max(...numbers.map(([rank]) => rank!));
  for (let rank = 0; rank <= ranks; rank++) {
    const chunks = numbers.filter(([of]) => of === rank).map(([, chunk]) => chunk!);
    for (let chunk = 0; chunk <= Math.max(0, ...chunks); chunk++) {
      if (there.has(`${rank},${chunk}`)) continue;
      throw new UserError(
        `Expected the shard rank${rank}_chunk${chunk}_${split}_${name} in ${folder} but it is missing, and so is sample ${absent}`,
        { hint: "Copy the whole dump, or extract the features again." },
      );
    }
  }
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
