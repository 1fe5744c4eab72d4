import { openStoreWriter } from "../lib/features/store-writer.js";
import { random } from "../lib/random.js";

/** Rows that are drawn; larger stores repeat them. */
const drawn = 4096;

/**
 * Writes a feature store of numbers in [0, 1) and random labels.
 *
 * @returns its folder.
 */
export async function randomStore(options: {
  root: string;
  layers: { name: string; shape: number[] }[];
  images: number;
  classes: number;
  precision?: "float32" | "float16";
}): Promise<string> {
  const { root, layers, images, classes, precision = "float32" } = options;
  const stream = random(0, "features");
  const batch = Math.min(drawn, images);
  const features = Object.fromEntries(
    layers.map(({ name, shape }) => {
      const width = shape.reduce((product, size) => product * size, 1);
      return [name, Float32Array.from({ length: batch * width }, () => stream.uniform())];
    }),
  );
  const labels = Int32Array.from({ length: images }, () => stream.integer(classes));
  const key = { weights: "random", transform: "none", precision, dataset: "random" } as const;
  const writer = await openStoreWriter({
    place: { root, title: "bench", arch: "random", dataset: "random", split: "train", key },
    layers: layers.map(({ name, shape }) => ({ name, tap: name, pooling: "", shape })),
    listing: {
      size: images,
      ids: Array.from({ length: images }, (_, image) => String(image)),
      targets: { kind: "single", labels },
      digest: key.dataset,
    },
    classes: Array.from({ length: classes }, (_, label) => String(label)),
  });
  for (let start = 0; start < images; start += batch) {
    const rows = Uint32Array.from({ length: Math.min(batch, images - start) }, (_, i) => start + i);
    const some = Object.entries(features).map(([name, values]) => {
      return [name, values.subarray(0, (values.length / batch) * rows.length)] as const;
    });
    await writer.append({ rows, features: Object.fromEntries(some) });
  }
  await writer.finish();
  return writer.folder;
}
