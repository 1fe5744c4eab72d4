import path from "node:path";

import { UserError } from "../errors.js";
import { exists, readText } from "../files.js";
import type { Dataset, DatasetSplit, SplitName } from "./dataset.js";
import { numbered } from "./labels.js";
import type { FormatOptions } from "./open.js";
import { checkFolder, packedSplit, readPacked } from "./packed.js";
import type { PackedFile } from "./packed.js";

interface Variant {
  name: "cifar10" | "cifar100";
  classes: number;
  files: { train: string[]; test: string[] };
  /** Bytes before the pixels, and which of them is the class. */
  labelBytes: number;
  labelAt: number;
  namesFile: string;
  /** The folder that the published archive unpacks to. */
  unpacked: string;
}

const side = 32;
const plane = side * side;

/** CIFAR-10, binary version: `data_batch_1.bin` … `data_batch_5.bin`, `test_batch.bin`, `batches.meta.txt`. */
export function openCifar10(options: FormatOptions): Promise<Dataset> {
  return openCifar(options, {
    name: "cifar10",
    classes: 10,
    files: { train: [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`), test: ["test_batch.bin"] },
    labelBytes: 1,
    labelAt: 0,
    namesFile: "batches.meta.txt",
    unpacked: "cifar-10-batches-bin",
  });
}

/** CIFAR-100, binary version: `train.bin`, `test.bin`, `fine_label_names.txt`; the fine labels. */
export function openCifar100(options: FormatOptions): Promise<Dataset> {
  return openCifar(options, {
    name: "cifar100",
    classes: 100,
    files: { train: ["train.bin"], test: ["test.bin"] },
    labelBytes: 2,
    labelAt: 1,
    namesFile: "fine_label_names.txt",
    unpacked: "cifar-100-binary",
  });
}

async function openCifar({ spec, place, classes }: FormatOptions, variant: Variant): Promise<Dataset> {
  const below = path.join(place, variant.unpacked);
  const folder = (await exists(below)) ? below : place;
  await checkFolder(folder, `${variant.name}'s binary files`);
  const names = classes ?? (await classNames(folder, variant));
  const dataset: Dataset = { spec, name: variant.name, classes: names, multiLabel: false, splits: {} };
  for (const split of ["train", "test"] as const) {
    const files = await readAll(folder, variant.files[split]);
    if (files) dataset.splits[split] = splitOf({ files, name: split, classes: names, variant });
  }
  if (!dataset.splits.train && !dataset.splits.test) {
    throw new UserError(`Expected ${variant.files.train[0]!} in ${folder} but there is no such file`, {
      hint: `${variant.name} is read in its binary version (${variant.unpacked}), not the Python or Matlab one.`,
    });
  }
  return dataset;
}

/** All of the files or, where none is there, undefined. */
async function readAll(folder: string, names: string[]): Promise<PackedFile[] | undefined> {
  const files: PackedFile[] = [];
  const lacking: string[] = [];
  for (const name of names) {
    const file = await readPacked(folder, [name]);
    if (file) files.push(file);
    else lacking.push(name);
  }
  if (files.length === 0) return undefined;
  if (lacking.length > 0) throw new UserError(`Expected ${lacking.join(", ")} in ${folder} but there is no such file`);
  return files;
}

function splitOf(options: { files: PackedFile[]; name: SplitName; classes: string[]; variant: Variant }): DatasetSplit {
  const { files, name, classes, variant } = options;
  const record = variant.labelBytes + 3 * plane;
  const labels: number[] = [];
  const images: Uint8Array[] = [];
  for (const { file, bytes } of files) {
    if (bytes.length % record !== 0) {
      throw new UserError(
        `Expected a multiple of ${record} bytes for ${file} but received ${bytes.length}: it is cut off`,
      );
    }
    for (let at = 0; at < bytes.length; at += record) {
      labels.push(bytes[at + variant.labelAt]!);
      images.push(bytes.subarray(at + variant.labelBytes, at + record));
    }
  }
  return packedSplit({
    format: variant.name,
    name,
    labels: Int32Array.from(labels),
    classes,
    files,
    source: (index) => ({
      kind: "pixels",
      width: side,
      height: side,
      channels: 3,
      data: interleaved(images[index]!),
    }),
  });
}

/** Three planes (red, green, blue) as R, G, B, R, G, B, … */
function interleaved(planes: Uint8Array): Uint8Array {
  const pixels = new Uint8Array(3 * plane);
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < plane; i++) pixels[3 * i + channel] = planes[channel * plane + i]!;
  }
  return pixels;
}

async function classNames(folder: string, { namesFile, classes }: Variant): Promise<string[]> {
  const file = path.join(folder, namesFile);
  if (!(await exists(file))) return numbered(classes);
  const names = (await readText(file, "class names"))
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  if (names.length === classes) return names;
  throw new UserError(`Expected ${classes} class names in ${file} but received ${names.length}`);
}
