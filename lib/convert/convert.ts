import path from "node:path";

import { families, recogniseArchitecture, type RecognisedArchitecture } from "../../models/index.js";
import { ensureBackend } from "../backend/backend.js";
import { graphCost } from "../backbones/graph-cost.js";
import { graphModelSchema, graphOf } from "../backbones/graph.js";
import { openGraphFiles, openLayersFiles } from "../backbones/graph-files.js";
import { manifestSchema } from "../backbones/manifest.js";
import type { BackboneManifest } from "../backbones/manifest.js";
import { headOf, readCheckpoint } from "../checkpoints/checkpoint.js";
import { looksLikeOnnx } from "../checkpoints/onnx/model.js";
import { expected, UserError } from "../errors.js";
import { exists, readJson, sha256OfFile } from "../files.js";
import type { ArchitectureFamily } from "./architecture.js";
import { CheckpointWeights } from "./checkpoint-weights.js";
import { GraphBuilder } from "./graph-builder.js";
import { graphModelJson, writeGraphModel } from "./graph-model.js";
import type { GraphModelJson } from "./graph-model.js";
import { readLabel } from "./network-label.js";
import type { ImportedBackbone } from "./import.js";
import { importLayersModel } from "./layers-model.js";
import { importOnnx } from "./onnx.js";
import type { Precision } from "./precision.js";
import { proveConversion } from "./proof.js";
import { proposeTitle } from "./title.js";
import { scaledTransform } from "./scaled-transform.js";
import type { UnusedTensor } from "./unused-tensors.js";
import type { VerifyOptions } from "./verify.js";
import { wrappersOf, type Wrapper } from "./wrappers.js";

export interface ConvertOptions {
  /** The checkpoint. */
  file: string;
  /** Folder of all backbones; the new one goes to `<out>/<title>/<arch>`. */
  out: string;
  /** Who trained it and how, e.g. `moco_v2`; made of the file's name where undefined. */
  title?: string;
  /** Where it is known better than the tensors' names and shapes tell. */
  arch?: string;
  /** Architectures of one's own, besides those in `models/`. */
  families?: readonly ArchitectureFamily[];
  /** What stands before the network's tensors, where the checkpoint holds several. */
  prefix?: string;
  /** Height and width of the images, where they are to be others than the architecture's. */
  imageSize?: number;
  /** Of the weights in their files; `float32` where undefined. */
  precision?: Precision;
  /** Features of the original program, to compare with. */
  verify?: VerifyOptions;
  licence?: string;
  /** Where the checkpoint came from, for the manifest; its file name where undefined. */
  checkpointName?: string;
  /** What is done to an image before it enters; the architecture's published one where undefined. */
  transform?: string;
}

export interface ConvertedBackbone {
  dir: string;
  manifest: BackboneManifest;
  /** What stood before the tensors' names. */
  prefix: string;
  /** The parts of the prefix, outermost first. */
  wrappers: Wrapper[];
  /** Where the checkpoint holds several networks: the prefixes of the others, and why it is this one. */
  choice?: RecognisedArchitecture["choice"];
  /** Tensors of the checkpoint that the backbone does without. */
  unused: UnusedTensor[];
  /** Guesses that a person should check. */
  warnings: string[];
}

/**
 * Writes a checkpoint, an ONNX network or a Keras LayersModel as a TensorFlow.js GraphModel with its manifest. Batch
 * norms are folded in; every weight comes from the checkpoint. What is written was checked before ({@link
 * proveConversion}), on the backend in use; where none was chosen yet, on the fastest that works.
 *
 * @throws UserError where the file is no whole checkpoint, its network is not known, a tensor is missing, has another
 * shape or is not finite, or the network does not agree with the original; nothing is written then.
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<ConvertedBackbone> {
  const { file, out, licence, precision = "float32", verify, checkpointName = path.basename(file) } = options;
  const layersFiles = await openLayersFiles(file);
  if (layersFiles) return imported(await importLayersModel({ ...options, files: layersFiles }));
  await refuseGraphModel(file);
  if (looksLikeOnnx(await headOf(file))) return convertOnnx(options);
  const checkpoint = await readCheckpoint({ file });
  const among = [...families, ...(options.families ?? [])];
  const label = await readLabel({ checkpoint, name: checkpointName });
  const { architecture, prefix, choice } = recogniseArchitecture({ ...options, checkpoint, among, label });
  const { arch, input, assumptions = [] } = architecture;
  const title = options.title ?? proposeTitle({ file: checkpointName, arch, prefix });
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(title)) {
    throw expected("letters, digits, points, dashes and underscores", "the title of a backbone", title);
  }
  const weights = new CheckpointWeights(checkpoint, arch, prefix);
  const graph = build(architecture, weights, options.imageSize);
  await ensureBackend();
  const proof = await proveConversion({ graph, precision, verify });
  const model = graphModelJson(graph);
  const [height, width] = graph.input.shape as [number, number];
  const manifest = manifestSchema.parse({
    format: 1,
    title,
    arch,
    input: { node: graph.input.node, height, width, batch: "any" },
    transform: options.transform ?? scaledTransform(architecture.transform, input.height, height),
    taps: graph.taps.map(({ name, tensor: { node, shape }, pooling, prefixTokens }) => ({
      name,
      node,
      kind: kindOf(shape),
      shape,
      pooling,
      prefix_tokens: prefixTokens,
    })),
    source: { checkpoint: checkpointName, sha256: await sha256OfFile(file), licence },
    precision,
    ...costOf(graph, model),
    assumptions: assumptions.length > 0 ? [...assumptions] : undefined,
    proof,
  } satisfies Record<keyof BackboneManifest, unknown>);
  const dir = path.join(out, title, arch);
  await writeGraphModel({ dir, graph, model, manifest, precision });
  const unused = weights.unused();
  return { dir, manifest, prefix, wrappers: wrappersOf(prefix), choice, unused, warnings: [...assumptions] };
}

/** An ONNX file tells its architecture itself: there is nothing to recognise. */
async function convertOnnx(options: ConvertOptions): Promise<ConvertedBackbone> {
  const { file, arch, imageSize, title = proposeTitle({ file, arch: arch ?? "onnx", prefix: "" }) } = options;
  const inputSize = imageSize === undefined ? undefined : ([imageSize, imageSize] as const);
  return imported(await importOnnx({ ...options, title, inputSize }));
}

function imported({ dir, manifest, warnings }: ImportedBackbone): ConvertedBackbone {
  return { dir, manifest, prefix: "", wrappers: [], unused: [], warnings };
}

/** What TensorFlow.js can run needs no conversion. */
async function refuseGraphModel(file: string): Promise<void> {
  if (!(await exists(path.join(file, "model.json")))) {
    if (!file.endsWith(".json")) return;
    const json = await readJson(file, "a model");
    // An index of safetensors files is JSON too.
    if (json === null || typeof json !== "object" || !("modelTopology" in json)) return;
  }
  const { modelFile } = await openGraphFiles(file);
  throw new UserError(`Expected a checkpoint for ${file} but ${modelFile} is a TensorFlow.js GraphModel already`, {
    hint: `Make it a backbone as it is: npx frozen-eval inspect ${file} --write`,
  });
}

function build(
  architecture: RecognisedArchitecture["architecture"],
  weights: CheckpointWeights,
  imageSize: number | undefined,
): GraphBuilder {
  const { arch, input } = architecture;
  const graph = new GraphBuilder(imageSize === undefined ? input : { height: imageSize, width: imageSize });
  try {
    architecture.build(graph, weights);
  } catch (error) {
    // At its own size an architecture fits together; at another one a window may be larger than its map.
    if (error instanceof UserError || imageSize === undefined || imageSize === input.height) throw error;
    throw new UserError(`Expected an image size that ${arch} can take but received ${imageSize}`, {
      hint: `It was made for ${input.height}.`,
      cause: error,
    });
  }
  return graph;
}

function kindOf(shape: readonly number[]): "map" | "tokens" | "vector" {
  return shape.length === 3 ? "map" : shape.length === 2 ? "tokens" : "vector";
}

function costOf(graph: GraphBuilder, model: GraphModelJson) {
  return graphCost({
    graph: graphOf(graphModelSchema.parse(model)),
    shapes: new Map([...graph.shapes].map(([name, shape]) => [name, [1, ...shape]])),
    nodes: graph.taps.map(({ tensor }) => tensor.node),
  });
}
