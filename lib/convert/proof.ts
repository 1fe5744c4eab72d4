import * as tf from "@tensorflow/tfjs";

import type { BackboneManifest } from "../backbones/manifest.js";
import { UserError } from "../errors.js";
import { random } from "../random.js";
import type { GraphBuilder } from "./graph-builder.js";
import { restore, store, type Precision } from "./precision.js";
import { pytorchPath } from "./pytorch-path.js";
import { runGraph, type GraphRun } from "./run-graph.js";
import { cosineSimilarity, relativeError } from "./tap-difference.js";
import { compareWithOriginal, type VerifyOptions } from "./verify.js";

export type ConversionProof = NonNullable<BackboneManifest["proof"]>;

/** Two ways of computing the same in single precision are nearer than this, relative to a tap's largest number. */
const foldingTolerance = 1e-3;

/**
 * Checks a graph before it is written: against the checkpoint's tensors in their own layout with unfolded batch norms,
 * on a random image; against the original network's features, where they are given; and tells what is lost by keeping
 * weights in less than float32.
 *
 * @throws UserError where a tap differs by more than the tolerance, or is not finite.
 */
export async function proveConversion(options: {
  graph: GraphBuilder;
  precision: Precision;
  verify?: VerifyOptions;
}): Promise<ConversionProof> {
  const { graph, precision, verify } = options;
  const images = randomImages(graph.input.shape as [number, number, number]);
  const written = await tapsOf({ graph, images });
  try {
    graph.taps.forEach(({ name }, i) => expectFinite(name, written[i]!));
    return {
      ...(await checkFolding({ graph, images, written })),
      ...(precision !== "float32" && { cosine: await checkPrecision({ graph, images, written, precision }) }),
      ...(verify && {
        verify: await compareWithOriginal({ ...verify, graph, run: (input) => tapsOf({ graph, images: input }) }),
      }),
    };
  } finally {
    tf.dispose([images, written]);
  }
}

interface Checked {
  graph: GraphBuilder;
  images: tf.Tensor4D;
  written: tf.Tensor[];
}

async function checkFolding({ graph, images, written }: Checked): Promise<Pick<ConversionProof, "folding">> {
  const { layers, instead } = pytorchPath(graph);
  if (layers === 0) return {};
  const reference = await tapsOf({ graph, images, instead });
  const errors = await Promise.all(written.map((tensor, i) => relativeError(tensor, reference[i]!)));
  tf.dispose(reference);
  const worst = errors.reduce((most, error, i) => (error > errors[most]! ? i : most), 0);
  if (!(errors[worst]! <= foldingTolerance)) {
    throw new UserError(
      `Expected the converted network to agree to ${foldingTolerance} with the checkpoint's own tensors but tap ` +
        `${graph.taps[worst]!.name} differs by ${errors[worst]!.toPrecision(2)}`,
      { hint: "Nothing was written. A network whose numbers grow without bound on a random image may do this." },
    );
  }
  return { folding: { layers, error: errors[worst]! } };
}

async function checkPrecision({ graph, images, written, precision }: Checked & { precision: Precision }) {
  const rounded = await tapsOf({ graph, images, precision });
  const cosines = await Promise.all(written.map((tensor, i) => cosineSimilarity(tensor, rounded[i]!)));
  tf.dispose(rounded);
  return Object.fromEntries(graph.taps.map(({ name }, i) => [name, cosines[i]!]));
}

/** What the graph gives at each tap. */
async function tapsOf(options: {
  graph: GraphBuilder;
  images: tf.Tensor4D;
  precision?: Precision;
  instead?: GraphRun["instead"];
}): Promise<tf.Tensor[]> {
  const { graph, images, precision = "float32", instead } = options;
  return runGraph({
    nodes: graph.nodes,
    input: { node: graph.input.node, tensor: images },
    outputs: graph.taps.map(({ tensor }) => tensor.node),
    weight: async (name) => {
      const weight = graph.weights.get(name)!;
      const values = await weight.read();
      const kept = values instanceof Int32Array ? values : restore(store({ name, weight, values, precision }));
      return tf.tensor(kept, [...weight.shape], weight.dtype);
    },
    instead,
  });
}

/** An image as photos are: most of it in large patches, less in details; mean 0 and deviation 1, as normalised ones. */
function randomImages([height, width, channels]: [number, number, number]): tf.Tensor4D {
  return tf.tidy(() => {
    const octaves = [2, 4, 8, 16, 32, 64].map((side) => {
      const stream = random(0, "proof of a conversion", side);
      const values = Float32Array.from({ length: side * side * channels }, () => stream.normal());
      return tf.image.resizeBilinear(tf.tensor4d(values, [1, side, side, channels]), [height, width]).div(Math.sqrt(side)); // prettier-ignore
    });
    const sum = tf.addN(octaves);
    const { mean, variance } = tf.moments(sum);
    return sum.sub(mean).div<tf.Tensor4D>(variance.sqrt());
  });
}

function expectFinite(name: string, tensor: tf.Tensor): void {
  const finite = tf.tidy(() => tensor.isFinite().all().dataSync()[0]);
  if (finite === 1) return;
  throw new UserError(`Expected finite features at tap ${name} for a random image but some are not`, {
    hint: "Nothing was written. The checkpoint is damaged, or its training diverged.",
  });
}
