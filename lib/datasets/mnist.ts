import path from "node:path";

import { UserError } from "../errors.js";
import type { Dataset, DatasetSplit, SplitName } from "./dataset.js";
import { checkClasses, numbered } from "./labels.js";
import { datasetName } from "./listing.js";
import type { FormatOptions } from "./open.js";
import { checkFolder, packedSplit, readPacked } from "./packed.js";
import type { PackedFile } from "./packed.js";

interface Idx {
  shape: number[];
  data: Uint8Array;
}

/**
 * MNIST and all that come in its format (Fashion-MNIST, KMNIST, …): IDX files of unsigned bytes, plain or gzipped;
 * `train-…` is the split train, `t10k-…` is test.
 *
 * Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", file format.
 */
export async function openMnist({ spec, place, classes }: FormatOptions): Promise<Dataset> {
  await checkFolder(place, "a folder of IDX files");
  const splits: { name: SplitName; images: PackedFile; labels: PackedFile }[] = [];
  for (const [name, prefix] of [
    ["train", "train"],
    ["test", "t10k"],
  ] as const) {
    const images = await readPacked(place, [`${prefix}-images-idx3-ubyte`, `${prefix}-images.idx3-ubyte`]);
    const labels = await readPacked(place, [`${prefix}-labels-idx1-ubyte`, `${prefix}-labels.idx1-ubyte`]);
    if (images && labels) splits.push({ name, images, labels });
    else if (images || labels) {
      const lacking = images ? "labels-idx1" : "images-idx3";
      throw new UserError(`Expected ${prefix}-${lacking}-ubyte[.gz] in ${place} but there is no such file`);
    }
  }
  if (splits.length === 0) {
    throw new UserError(`Expected MNIST's files in ${place} but there is no train-images-idx3-ubyte[.gz]`, {
      hint: "The files are train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte.",
    });
  }

  const read = splits.map(({ name, images, labels }) => ({
    name,
    files: [images, labels],
    images: readIdx(images, 3),
    labels: Int32Array.from(readIdx(labels, 1).data),
  }));
  const names =
    classes ?? numbered(read.reduce((most, { labels }) => labels.reduce((a, b) => Math.max(a, b + 1), most), 0));
  checkClasses(names, place);
  const dataset: Dataset = {
    spec,
    name: datasetName(path.resolve(place)),
    classes: names,
    multiLabel: false,
    splits: {},
  };
  for (const split of read) dataset.splits[split.name] = splitOf({ ...split, classes: names });
  return dataset;
}

function splitOf(options: {
  name: SplitName;
  files: PackedFile[];
  images: Idx;
  labels: Int32Array;
  classes: string[];
}): DatasetSplit {
  const { name, files, images, labels, classes } = options;
  const [count = 0, height = 0, width = 0] = images.shape;
  if (count !== labels.length) {
    throw new UserError(`Expected ${count} labels in ${files[1]!.file}, one an image, but received ${labels.length}`);
  }
  const pixels = height * width;
  return packedSplit({
    format: "mnist",
    name,
    labels,
    classes,
    files,
    source: (index) => ({
      kind: "pixels",
      width,
      height,
      channels: 1,
      // A copy: a view would take all images along to a worker thread.
      data: images.data.slice(index * pixels, (index + 1) * pixels),
    }),
  });
}

/** An IDX file: two zero bytes, the type (8: unsigned bytes), the rank, big-endian sizes, the data. */
function readIdx({ file, bytes }: PackedFile, rank: number): Idx {
  const start = 4 + 4 * rank;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < start || view.getUint32(0) !== 0x800 + rank) {
    throw new UserError(
      `Expected an IDX file of unsigned bytes with ${rank} axes at ${file} but it does not begin like one`,
    );
  }
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  const size = shape.reduce((all, axis) => all * axis, 1);
  if (bytes.length !== start + size) {
    throw new UserError(
      `Expected ${start + size} bytes for ${file} but received ${bytes.length}: it is cut off or damaged`,
    );
  }
  return { shape, data: bytes.subarray(start) };
}
