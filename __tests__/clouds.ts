import { arraySource } from "../lib/features/array-source.js";
import type { FeatureSet } from "../lib/features/feature-set.js";
import type { FeatureSource } from "../lib/features/source.js";
import type { LayerSpec } from "../lib/features/store-format.js";
import { openStoreWriter } from "../lib/features/store-writer.js";
import { openStoredSource } from "../lib/features/stored-source.js";
import { random } from "../lib/random.js";

/** Features without images: clouds around class means, which in the deeper layer are further apart. */
export const cloudClasses = ["cirrus", "cumulus", "nimbus", "stratus"];

const layers: (LayerSpec & { distance: number })[] = [
  { name: "shallow", tap: "shallow", pooling: "avg_pool(2x2,2,0)", shape: [3, 2, 1], distance: 0.5 },
  { name: "deep", tap: "deep", pooling: "global_avg", shape: [8], distance: 1 },
];

interface CloudOptions {
  images: number;
  /** Other images around the same means. */
  seed: number;
}

function clouds({ images, seed }: CloudOptions) {
  const stream = random(seed, "clouds");
  const labels = Int32Array.from({ length: images }, () => stream.integer(cloudClasses.length));
  const data = layers.map(({ name, shape, distance }) => {
    const width = shape.reduce((a, b) => a * b);
    const centre = random(0, "means", name);
    const means = Float32Array.from({ length: cloudClasses.length * width }, () => distance * centre.normal());
    return Float32Array.from({ length: images * width }, (_, i) => {
      return means[labels[Math.floor(i / width)]! * width + (i % width)]! + stream.normal();
    });
  });
  return { labels, data };
}

/** In memory. */
export function cloudSource(
  options: CloudOptions & { relabel?: (label: number, row: number) => number },
): Promise<FeatureSource> {
  const { labels, data } = clouds(options);
  const { relabel = (label) => label } = options;
  return arraySource({
    layers: Object.fromEntries(layers.map(({ name, shape }, i) => [name, { shape, data: data[i]! }])),
    targets: { kind: "single", labels: labels.map(relabel) },
  });
}

/** In a store on disk, in shards of 64 images. */
export async function cloudStore(
  options: CloudOptions & { root: string; split: "train" | "val" | "test" },
): Promise<FeatureSource> {
  const { root, split, images } = options;
  const { labels, data } = clouds(options);
  const writer = await openStoreWriter({
    place: {
      root,
      title: "made",
      arch: "clouds",
      dataset: "clouds",
      split,
      key: { weights: "w", transform: "none", precision: "float32", dataset: `${split} ${images}` },
    },
    layers: layers.map(({ name, tap, pooling, shape }) => ({ name, tap, pooling, shape })),
    listing: {
      size: images,
      digest: `${split} ${images}`,
      targets: { kind: "single", labels },
      ids: Array.from(labels, (_, row) => `${split}/${row}`),
    },
    classes: cloudClasses,
    rowsPerShard: 64,
  });
  for (let row = writer.firstMissingRow; row < images; row += 64) {
    const rows = Uint32Array.from({ length: Math.min(64, images - row) }, (_, i) => row + i);
    const features = Object.fromEntries(
      layers.map(({ name, shape }, i) => {
        const width = shape.reduce((a, b) => a * b);
        return [name, data[i]!.slice(row * width, (row + rows.length) * width)];
      }),
    );
    await writer.append({ rows, features, skipped: [] });
  }
  return openStoredSource({ store: await writer.finish() });
}

export function cloudFeatures(splits: FeatureSet["splits"]): FeatureSet {
  return {
    splits,
    classes: cloudClasses,
    data: { spec: "clouds", name: "clouds", digest: "0" },
    backbone: null,
    skipped: [],
    extraction: { images: 0, seconds: 0 },
    close: async () => {
      for (const source of Object.values(splits)) await source.close();
    },
  };
}

export function everyRow({ size }: FeatureSource): Uint32Array {
  return Uint32Array.from({ length: size }, (_, row) => row);
}
