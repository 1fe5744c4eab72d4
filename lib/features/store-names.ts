import path from "node:path";

import type { Targets } from "../datasets/dataset.js";
import { UserError } from "../errors.js";
import { readText, sha256, writeFileAtomic } from "../files.js";
import { readNpy } from "./npy-file.js";
import { encodeNpy } from "./npy.js";
import type { StoreDescription } from "./store-format.js";

/** What a store tells of its rows besides their features, in `ids.txt` and `targets.npy`. */
export interface RowNames {
  ids: string[];
  targets: Targets;
}

/**
 * Writes the names and labels of the rows that are kept.
 *
 * @returns the digests of the files.
 */
export async function writeNames(
  folder: string,
  { ids, targets }: RowNames,
  kept: Uint32Array,
): Promise<StoreDescription["files"]> {
  const names = Array.from(kept, (row) => `${ids[row]!}\n`).join("");
  const labels = encodeTargets(targets, kept);
  await writeFileAtomic(path.join(folder, "ids.txt"), names);
  await writeFileAtomic(path.join(folder, "targets.npy"), labels);
  return { "ids.txt": sha256(names), "targets.npy": sha256(labels) };
}

/** Reads what {@link writeNames} wrote. */
export async function readNames(folder: string): Promise<RowNames> {
  const ids = (await readText(path.join(folder, "ids.txt"), "the images' names")).split("\n").slice(0, -1);
  const file = path.join(folder, "targets.npy");
  const { data, shape } = await readNpy({ file });
  if (data instanceof Int32Array) return { ids, targets: { kind: "single", labels: data } };
  if (data instanceof Int8Array) return { ids, targets: { kind: "multi", labels: data, classes: shape[1]! } };
  throw new UserError(`Expected int32 or int8 targets in ${file} but received another dtype`, {
    hint: `Delete ${file} and run the extraction again with the same settings.`,
  });
}

function encodeTargets(targets: Targets, kept: Uint32Array): Uint8Array {
  if (targets.kind === "single") {
    return encodeNpy({
      dtype: "int32",
      shape: [kept.length],
      data: Int32Array.from(kept, (row) => targets.labels[row]!),
    });
  }
  const { labels, classes } = targets;
  const data = new Int8Array(kept.length * classes);
  kept.forEach((row, i) => data.set(labels.subarray(row * classes, (row + 1) * classes), i * classes));
  return encodeNpy({ dtype: "int8", shape: [kept.length, classes], data });
}
