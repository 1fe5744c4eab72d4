import path from "node:path";

import { ensureBackend } from "../backend/backend.js";
import { graphCost } from "../backbones/graph-cost.js";
import { graphModelSchema, graphOf } from "../backbones/graph.js";
import { manifestSchema } from "../backbones/manifest.js";
import type { BackboneManifest } from "../backbones/manifest.js";
import { readOnnx } from "../checkpoints/onnx/model.js";
import { expected } from "../errors.js";
import { sha256OfFile } from "../files.js";
import type { GraphBuilder } from "./graph-builder.js";
import { graphModelJson, writeGraphModel } from "./graph-model.js";
import type { Precision } from "./precision.js";
import { proveConversion } from "./proof.js";
import type { VerifyOptions } from "./verify.js";
import { traceOnnx } from "./onnx/graph.js";

export interface ImportOnnxOptions {
  /** The `.onnx` file; weights that it keeps in files of their own lie beside it. */
  file: string;
  /** Folder of all backbones; the new one goes to `<out>/<title>/<arch>`. */
  out: string;
  /** Who trained it and how, e.g. `mocov2`. */
  title: string;
  /** The file's name where undefined. */
  arch?: string;
  /** Nodes, or what they give, by name; `*` stands for any letters. The ends of blocks are proposed where undefined. */
  taps?: readonly string[];
  /** Of a network that takes images of any size; 224x224 where undefined. */
  inputSize?: readonly [height: number, width: number];
  /** Of the weights in their files; `float32` where undefined. */
  precision?: Precision;
  /** Features of the original program, to compare with. */
  verify?: VerifyOptions;
  licence?: string;
  /** Where the file came from, for the manifest; its name where undefined. */
  checkpointName?: string;
  /** What is done to an image before it enters; ImageNet's usual one where undefined, which is a guess. */
  transform?: string;
}

export interface ImportedOnnx {
  dir: string;
  manifest: BackboneManifest;
  graph: GraphBuilder;
  /** The program that exported it. */
  producer: string;
  warnings: string[];
}

/**
 * Writes an ONNX network as a TensorFlow.js GraphModel with its manifest.
 *
 * @throws UserError where the file is no whole ONNX model of opset 9 or later, weights beside it are missing or outside its
 * folder, an operator cannot be written, or a tap is not there; nothing is written then.
 */
export async function importOnnx(options: ImportOnnxOptions): Promise<ImportedOnnx> {
  const { file, out, title, arch = archOf(file), licence, taps, inputSize, precision = "float32", verify } = options;
  for (const [name, what] of [
    [title, "the title"],
    [arch, "the architecture"],
  ] as const) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) {
      throw expected("letters, digits, points, dashes and underscores", `${what} of a backbone`, name);
    }
  }
  const model = await readOnnx({ file });
  const trace = await traceOnnx({ model, taps, inputSize });
  const { graph } = trace;
  await ensureBackend();
  const proof = await proveConversion({ graph, precision, verify });
  const json = graphModelJson(graph);
  const [height, width] = graph.input.shape as [number, number];
  const manifest = manifestSchema.parse({
    format: 1,
    title,
    arch,
    input: { node: graph.input.node, height, width, batch: trace.isAnyBatch ? "any" : trace.batch },
    transform: options.transform ?? `resize(${Math.round(Math.min(height, width) / 0.875)},bilinear)|center_crop(${height}${height === width ? "" : `x${width}`})|normalize(imagenet)`, // prettier-ignore
    taps: graph.taps.map(({ name, tensor: { node, shape }, pooling }) => ({
      name,
      node,
      kind: shape.length === 3 ? "map" : shape.length === 2 ? "tokens" : "vector",
      shape,
      pooling,
    })),
    source: { checkpoint: options.checkpointName ?? path.basename(file), sha256: await sha256OfFile(file), licence },
    precision,
    assumptions: options.transform === undefined ? [guessedTransform] : undefined,
    proof,
    ...graphCost({
      graph: graphOf(graphModelSchema.parse(json)),
      shapes: trace.shapes,
      nodes: graph.taps.map(({ tensor }) => tensor.node),
    }),
  } satisfies Record<keyof BackboneManifest, unknown>);
  const dir = path.join(out, title, arch);
  await writeGraphModel({ dir, graph, model: json, manifest, precision });
  const warnings = [
    ...(options.transform === undefined ? [guessedTransform] : []),
    ...(trace.isAnyBatch ? [] : [`The graph takes batches of ${trace.batch} alone, for it was exported so.`]),
  ];
  return { dir, manifest, graph, producer: model.producer, warnings };
}

const guessedTransform =
  "The transform is a guess: ImageNet's mean and deviation. No graph tells what it was trained with; set it with --transform.";

function archOf(file: string): string {
  return path.basename(file).replace(/\.onnx$/i, "").replace(/[^A-Za-z0-9._-]/g, "_"); // prettier-ignore
}
