import * as tf from "@tensorflow/tfjs";

import { ensureBackend } from "../backend/backend.js";
import type { ComputePrecision } from "../backend/half-precision.js";
import { expectHalfSupport } from "../backend/half-support.js";
import { expected, UserError } from "../errors.js";
import { applyPooling } from "./apply-pooling.js";
import { openForwardPass, type Execution, type ForwardPass } from "./forward-pass.js";
import { digestOfGraph, openGraphFiles } from "./graph-files.js";
import { dtypeOf, graphOf } from "./graph.js";
import type { LayerRequest } from "./layers.js";
import { readManifest } from "./manifest-file.js";
import type { BackboneManifest, Tap } from "./manifest.js";

/** What a backbone's files say of it. */
export interface DescribedBackbone {
  manifest: BackboneManifest;
  dir: string;
  /** The sha256 over the graph's JSON and its weight files. */
  digest: string;
  taps: Tap[];
  /** In which convolutions and matrix products are computed. */
  computePrecision: ComputePrecision;
}

/** A frozen network with named places where features are taken. */
export interface Backbone extends DescribedBackbone {
  /** Whether images pass through TensorFlow's session or op by op; undefined before the first did. */
  readonly execution?: Execution;
  /**
   * Features of a batch of images: one forward pass for all layers, no further than the deepest of them.
   *
   * @param options.pixels [N, height, width, 3] float32, as the manifest's transform makes them; the caller keeps them.
   * @returns a [N, width] tensor a layer, by the layer's name, channels first within a row; the caller disposes them.
   * @throws UserError where the images have another size than the backbone's.
   */
  extract(options: { pixels: tf.Tensor4D; layers: readonly LayerRequest[] }): Promise<Record<string, tf.Tensor2D>>;
  /**
   * What half precision changes in each layer's features of a batch of images: the Euclidean length of the difference
   * to those in single precision, divided by that of the latter. 0 in single precision.
   */
  precisionLoss(options: { pixels: tf.Tensor4D; layers: readonly LayerRequest[] }): Promise<Record<string, number>>;
  dispose(): void;
}

/**
 * Reads what a backbone's files say, without TensorFlow.
 *
 * @throws UserError as {@link loadBackbone}.
 */
export async function describeBackbone(options: {
  dir: string;
  computePrecision?: ComputePrecision;
}): Promise<DescribedBackbone> {
  const { dir, computePrecision = "float32" } = options;
  const files = await openGraphFiles(dir);
  const manifest = await readManifest({ file: files.manifestFile, graph: graphOf(files.json) });
  return { manifest, dir, digest: await digestOfGraph(files), taps: manifest.taps, computePrecision };
}

/**
 * Loads a backbone onto the TensorFlow.js backend in use; where none was chosen yet, onto the fastest that works.
 *
 * @param options.dir a folder with a GraphModel and its `backbone.json`; see `openGraphFiles`.
 * @param options.computePrecision in which convolutions and matrix products are computed. Default: float32.
 * @throws UserError where the model, its weights or its manifest are missing or wrong, or this machine does not compute
 * in that precision.
 */
export async function loadBackbone(options: { dir: string; computePrecision?: ComputePrecision }): Promise<Backbone> {
  const { dir, computePrecision = "float32" } = options;
  await ensureBackend();
  const half = computePrecision === "float32" ? undefined : computePrecision;
  if (half) await expectHalfSupport({ precision: half });
  const files = await openGraphFiles(dir);
  const graph = graphOf(files.json);
  const manifest = await readManifest({ file: files.manifestFile, graph });
  const dtype = dtypeOf(graph.nodes.get(manifest.input.node)!);
  const digest = await digestOfGraph(files);
  const inputNode = manifest.input.node;
  const forward = await openForwardPass({ files, inputNode, digest, half });
  const extractBy = async (pass: ForwardPass, { pixels, layers }: Parameters<Backbone["extract"]>[0]) => {
    checkPixels(pixels, manifest);
    const input = dtype === "float32" ? pixels.clone() : pixels.toInt();
    try {
      return await extractInBatches({ forward: pass, input, layers, batch: manifest.input.batch });
    } finally {
      input.dispose();
    }
  };
  return {
    manifest,
    dir,
    digest,
    taps: manifest.taps,
    computePrecision,
    get execution() {
      return forward.execution;
    },
    extract: (images) => extractBy(forward, images),
    precisionLoss: async (images) => {
      if (!half) return Object.fromEntries(images.layers.map(({ name }) => [name, 0]));
      const single = await openForwardPass({ files, inputNode, digest });
      try {
        return await differences(await extractBy(single, images), await extractBy(forward, images));
      } finally {
        single.dispose();
      }
    },
    dispose: () => forward.dispose(),
  };
}

/** Of each tensor to the one of its name in `exact`, relative to that; both are disposed. */
async function differences(exact: tf.NamedTensorMap, rounded: tf.NamedTensorMap): Promise<Record<string, number>> {
  try {
    const of = async (name: string) => {
      const ratio = tf.tidy(() => tf.divNoNan(tf.norm(tf.sub(exact[name]!, rounded[name]!)), tf.norm(exact[name]!)));
      try {
        return [name, (await ratio.data())[0]!] as const;
      } finally {
        ratio.dispose();
      }
    };
    return Object.fromEntries(await Promise.all(Object.keys(exact).map(of)));
  } finally {
    tf.dispose([exact, rounded]);
  }
}

interface Extraction {
  forward: ForwardPass;
  input: tf.Tensor4D;
  layers: readonly LayerRequest[];
}

/** A graph that was written for so many images gets so many at a time, the last ones filled up with empty images. */
async function extractInBatches(options: Extraction & { batch: number | "any" }): Promise<Record<string, tf.Tensor2D>> {
  const { batch, input, layers } = options;
  const rows = input.shape[0];
  if (batch === "any" || batch === rows) return extractBatch(options);
  const parts: Record<string, tf.Tensor2D>[] = [];
  try {
    for (let start = 0; start < rows; start += batch) {
      const count = Math.min(batch, rows - start);
      const empty = batch - count;
      const images = tf.tidy(() => tf.pad4d(input.slice(start, count), [[0, empty], [0, 0], [0, 0], [0, 0]])); // prettier-ignore
      try {
        parts.push(await extractBatch({ ...options, input: images }));
      } finally {
        images.dispose();
      }
    }
    const joined = (name: string) => tf.tidy(() => tf.concat(parts.map((part) => part[name]!)).slice([0], [rows]));
    return Object.fromEntries(layers.map(({ name }) => [name, joined(name)]));
  } finally {
    tf.dispose(parts);
  }
}

async function extractBatch({ forward, input, layers }: Extraction): Promise<Record<string, tf.Tensor2D>> {
  const pooled = await forward.runPooled?.({ input, layers });
  if (pooled) return Object.fromEntries(layers.map(({ name }, i) => [name, pooled[i]!]));
  const nodes = [...new Set(layers.map(({ tap }) => tap.node))];
  const outputs = await forward.run({ input, nodes });
  try {
    return tf.tidy(() =>
      Object.fromEntries(
        layers.map((layer) => {
          const features = shapedAsTap(outputs[nodes.indexOf(layer.tap.node)]!, layer.tap, input.shape[0]);
          return [
            layer.name,
            applyPooling({ pooling: layer.pooling, features }).reshape<tf.Tensor2D>([-1, layer.width]),
          ];
        }),
      ),
    );
  } finally {
    tf.dispose(outputs);
  }
}

/** A vector may leave the graph as [N, 1, 1, C]. */
function shapedAsTap(output: tf.Tensor, { name, node, shape }: Tap, rows: number): tf.Tensor {
  const sizes = output.shape.filter((size, axis) => axis === 0 || size !== 1);
  const due = [rows, ...shape].filter((size, axis) => axis === 0 || size !== 1);
  if (sizes.join() !== due.join())
    throw new UserError(
      `Expected [${[rows, ...shape].join(", ")}] at node ${node} (tap ${name} of the manifest) but received [${output.shape.join(", ")}]`,
      { hint: "The manifest is of another graph: make it anew with npx frozen-eval inspect DIR --write" },
    );
  return output.reshape([rows, ...shape]);
}

function checkPixels(pixels: tf.Tensor4D, { input, title, arch, transform }: BackboneManifest): void {
  const { height, width } = input;
  const [rows, ...size] = pixels.shape;
  if (pixels.rank !== 4 || rows === 0 || size.join() !== [height, width, 3].join())
    throw expected(`images of [N, ${height}, ${width}, 3]`, `the backbone ${title}/${arch}`, pixels.shape, `Its transform is ${transform}`); // prettier-ignore
}
