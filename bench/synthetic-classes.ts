import { arraySource } from "../lib/features/array-source.js";
import type { FeatureSet } from "../lib/features/feature-set.js";
import type { Random } from "../lib/random.js";
import { random } from "../lib/random.js";

export interface Sizes {
  images: number;
  /** What the numbers of classes and of features go round by. */
  classes: number[];
  widths: number[];
}

/** How an image's features lie about the mean of its class. */
const noises = ["normal", "heavy-tailed", "correlated", "skewed"] as const;

/**
 * Features of images in classes that overlap. Number of classes, width and noise go round by the seed; how far classes
 * are apart, how fast the scales of the features fall, their size, and how many labels are wrong are drawn.
 */
export async function syntheticClasses(seed: number, sizes: Sizes): Promise<{ name: string; features: FeatureSet }> {
  const { images } = sizes;
  const stream = random(seed, "synthetic classes");
  const classes = sizes.classes[seed % sizes.classes.length]!;
  const width = sizes.widths[Math.floor(seed / sizes.classes.length) % sizes.widths.length]!;
  const noise = noises[seed % noises.length]!;
  const apart = 0.4 + 0.6 * stream.uniform();
  const falling = 0.6 * stream.uniform();
  const size = 10 ** (2 * stream.uniform() - 1);
  const wrong = 0.1 * stream.uniform();
  const means = Float32Array.from({ length: classes * width }, () => stream.normal() * 2 * Math.sqrt(1 / width) * 4);
  const labels = Int32Array.from({ length: images }, () => stream.integer(classes));
  const data = new Float32Array(images * width);
  const draw = noiseOf(noise, width, stream);
  for (let image = 0; image < images; image++) {
    const around = draw();
    for (let i = 0; i < width; i++) {
      const value = apart * means[labels[image]! * width + i]! + around[i]!;
      data[image * width + i] = size * (i + 1) ** -falling * value;
    }
  }
  const told = labels.map((label) => (stream.uniform() < wrong ? stream.integer(classes) : label));
  const source = await arraySource({
    layers: { features: { shape: [width], data } },
    targets: { kind: "single", labels: told },
  });
  const name = `${noise}, ${classes} classes, ${width}-d`;
  return {
    name,
    features: {
      splits: { all: source },
      classes: Array.from({ length: classes }, (_, label) => String(label)),
      data: { spec: name, name, digest: name },
      backbone: null,
      skipped: [],
      extraction: { images: 0, seconds: 0 },
      close: () => source.close(),
    },
  };
}

/** One image's noise at a time. */
function noiseOf(kind: (typeof noises)[number], width: number, stream: Random): () => Float32Array {
  const plain = () => Float32Array.from({ length: width }, () => stream.normal());
  switch (kind) {
    case "normal":
      return plain;
    // Student's t of three degrees of freedom.
    case "heavy-tailed":
      return () =>
        plain().map((z) => z / Math.sqrt((stream.normal() ** 2 + stream.normal() ** 2 + stream.normal() ** 2) / 3));
    // Eight directions that all classes share.
    case "correlated": {
      const directions = Array.from({ length: 8 }, plain);
      return () => {
        const noise = plain();
        for (const direction of directions) {
          const along = stream.normal();
          direction.forEach((d, i) => (noise[i]! += along * d));
        }
        return noise;
      };
    }
    // Never below zero, as behind a ReLU.
    case "skewed":
      return () => plain().map((z) => Math.exp(z) / 2);
  }
}
