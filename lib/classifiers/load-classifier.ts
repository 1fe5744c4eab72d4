import * as tf from "@tensorflow/tfjs";

import { ensureBackend } from "../backend/backend.js";
import { openForwardPass } from "../backbones/forward-pass.js";
import { openGraphFiles } from "../backbones/graph-files.js";
import { UserError } from "../errors.js";
import type { ImageSource } from "../images/image.js";
import { applyTransformInto, parseTransform } from "../images/transform.js";
import { readClassifierManifest, type ClassifierManifest } from "./manifest.js";

/** A class with its probability, in [0, 1]. */
export interface ClassProbability {
  class: string;
  probability: number;
}

/** An exported classifier at work. */
export interface Classifier {
  manifest: ClassifierManifest;
  /**
   * Decodes images, applies the manifest's transform, and classifies them.
   *
   * @param options.images files by their path, or images in memory.
   * @returns for each image all classes, the most probable first.
   * @throws UserError where an image cannot be read.
   */
  classify(options: { images: readonly (string | ImageSource)[] }): Promise<ClassProbability[][]>;
  dispose(): void;
}

/** Images that pass through the graph at once. */
const batchSize = 16;

/**
 * Loads what `exportClassifier` wrote onto the TensorFlow.js backend in use; where none was chosen yet, onto the
 * fastest that works.
 *
 * @throws UserError where a file is missing or wrong, or the folder holds a head without its backbone.
 */
export async function loadClassifier({ dir }: { dir: string }): Promise<Classifier> {
  const manifest = await readClassifierManifest(dir);
  const { input, outputs, classes } = manifest;
  if (input.kind === "features") {
    throw new UserError(`Expected a classifier of images at ${dir} but received a head alone, which takes features`, {
      hint: "Open it with tf.loadGraphModel, or export it again without --head-only.",
    });
  }
  await ensureBackend();
  const files = await openGraphFiles(dir);
  const transform = parseTransform(input.transform);
  const forward = await openForwardPass({ files, inputNode: input.node });
  const { height, width } = input;

  /** @returns probabilities of the images, [batch, classes]; rows behind `sources` are of empty images. */
  const probabilitiesOf = async (sources: readonly ImageSource[]): Promise<Float32Array> => {
    const rows = input.batch === "any" ? sources.length : input.batch;
    const pixels = new Float32Array(rows * height * width * 3);
    const places = sources.map((source, i) => ({ source, into: pixels.subarray(i * height * width * 3, (i + 1) * height * width * 3) })); // prettier-ignore
    await Promise.all(places.map((place) => applyTransformInto({ transform, ...place })));
    const tensor = tf.tensor4d(pixels, [rows, height, width, 3]);
    const entered = input.dtype === "int32" ? tensor.toInt() : tensor.clone();
    try {
      const [probabilities] = await forward.run({ input: entered, nodes: [outputs.probabilities] });
      try {
        return Float32Array.from(await probabilities!.data());
      } finally {
        probabilities!.dispose();
      }
    } finally {
      tf.dispose([tensor, entered]);
    }
  };

  return {
    manifest,
    classify: async ({ images }) => {
      const sources = images.map((image): ImageSource =>
        typeof image === "string" ? { kind: "file", path: image } : image,
      );
      const step = input.batch === "any" ? batchSize : input.batch;
      const answers: ClassProbability[][] = [];
      for (let start = 0; start < sources.length; start += step) {
        const part = sources.slice(start, start + step);
        const probabilities = await probabilitiesOf(part);
        part.forEach((_, i) => answers.push(ranked(classes, probabilities.subarray(i * classes.length))));
      }
      return answers;
    },
    dispose: () => forward.dispose(),
  };
}

function ranked(classes: readonly string[], probabilities: Float32Array): ClassProbability[] {
  const all = classes.map((name, i) => ({ class: name, probability: probabilities[i]! }));
  return all.sort((a, b) => b.probability - a.probability);
}
