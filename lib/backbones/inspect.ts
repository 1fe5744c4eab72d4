import path from "node:path";

import { expected, UserError } from "../errors.js";
import { exists, sha256OfFile, writeJson } from "../files.js";
import { eagerForwardPass, type ForwardPass } from "./forward-pass.js";
import { graphCost, type GraphCost } from "./graph-cost.js";
import { openGraphFiles, type GraphFiles } from "./graph-files.js";
import { dtypeOf, graphOf, imageInputOf, type Graph, type ImageInput } from "./graph.js";
import { requestLayer } from "./layers.js";
import { readManifest } from "./manifest-file.js";
import type { BackboneManifest, Tap } from "./manifest.js";
import { nodeShapes } from "./node-shapes.js";
import { proposeTaps } from "./propose-taps.js";

/** What is known of a GraphModel: from its manifest, or proposed where it has none. */
export interface Inspection {
  modelFile: string;
  manifestFile: string;
  manifest: BackboneManifest;
  /** Whether `manifest` was guessed from the graph; it is not on disk then. */
  proposed: boolean;
  layers: InspectedLayer[];
  /** Of all that can be computed without loops. */
  total: GraphCost;
  /** Guesses that a person should check. */
  warnings: string[];
}

/** A tap, and what it costs to compute it. */
export interface InspectedLayer extends GraphCost {
  tap: Tap;
  /** Of one image's features after the tap's own pooling, channels first. */
  shape: number[];
  width: number;
}

export interface InspectOptions {
  /** A folder with a GraphModel, or its JSON file; with or without `backbone.json`. */
  dir: string;
  /** For a proposal: who trained it and how; the folder's name where undefined. */
  title?: string;
  /** For a proposal: its architecture; the file's name, or `graph` for `model.json`, where undefined. */
  arch?: string;
  /** For a proposal: what is done to an image before it enters; a guess where undefined. */
  transform?: string;
  /** For a proposal, of a graph that takes images of any size: [height, width]; [224, 224] where undefined. */
  inputSize?: readonly [height: number, width: number];
}

/**
 * Lists the taps of a backbone with shapes and costs; proposes them for a GraphModel that has no manifest.
 *
 * The graph is run once on an empty image, on the active backend.
 *
 * @throws UserError where there is no GraphModel that takes RGB images, or it offers no place to take features.
 */
export async function inspectGraphModel(options: InspectOptions): Promise<Inspection> {
  const files = await openGraphFiles(options.dir);
  const graph = graphOf(files.json);
  const known = (await exists(files.manifestFile))
    ? await readManifest({ file: files.manifestFile, graph })
    : undefined;
  const input = known ? inputOf(known, graph) : fixedInput(imageInputOf(graph), options.inputSize);
  const forward = await eagerForwardPass({ files, inputNode: input.node });
  try {
    const { batch, height, width, dtype } = input;
    const rows = Math.max(batch, 1);
    const seen = await nodeShapes({ graph, forward, dtype, images: [rows, height, width, 3] });
    const shapes = new Map([...seen].map(([node, [first, ...rest]]) => [node, first === rows ? [1, ...rest] : []]));
    const manifest = known ?? (await propose({ options, files, graph, forward, input, shapes }));
    return {
      modelFile: files.modelFile,
      manifestFile: files.manifestFile,
      manifest,
      proposed: !known,
      layers: manifest.taps.map((tap) => {
        const { shape, width: numbers } = requestLayer(tap);
        return { tap, shape, width: numbers, ...graphCost({ graph, shapes, nodes: [tap.node] }) };
      }),
      total: graphCost({ graph, shapes, nodes: shapes.keys() }),
      warnings: known || options.transform !== undefined ? [] : [guessedTransform],
    };
  } finally {
    forward.dispose();
  }
}

/**
 * Writes the manifest that an inspection proposed.
 *
 * @returns the file.
 * @throws UserError where there is a manifest already: a person may have worked on it.
 */
export async function writeManifest({ inspection }: { inspection: Inspection }): Promise<string> {
  const { manifest, manifestFile, proposed } = inspection;
  if (!proposed || (await exists(manifestFile))) {
    throw new UserError(
      `Expected no manifest at ${manifestFile} yet but there is one, and it may hold somebody's work`,
      {
        hint: "Edit it, or remove it and run the same command again.",
      },
    );
  }
  await writeJson(manifestFile, manifest);
  return manifestFile;
}

const guessedTransform =
  "The transform is a guess: no graph tells which range of pixels it was trained with. normalize(none) gives 0 to 1, " +
  "normalize(bytes) 0 to 255; normalize(imagenet), or numbers of one's own, where it was trained so. Set it with --transform.";

interface Proposing {
  options: InspectOptions;
  files: GraphFiles;
  graph: Graph;
  forward: ForwardPass;
  input: ImageInput;
  /** For one image. */
  shapes: Map<string, number[]>;
}

async function propose(found: Proposing): Promise<BackboneManifest> {
  const { options, files, graph, input, shapes } = found;
  const { node, height, width } = input;
  const taps = proposeTaps({ graph, input: node, shapes });
  if (taps.length === 0) {
    throw new UserError(`Expected layers in ${files.modelFile} that can be computed without loops but found none`, {
      hint: "Write backbone.json by hand: docs/file-formats.md describes it.",
    });
  }
  const { dir: folder, name } = path.parse(path.resolve(files.modelFile));
  return {
    format: 1,
    title: options.title ?? (path.basename(folder) || "graph"),
    arch: options.arch ?? (name === "model" ? "graph" : name),
    input: { node, height, width, batch: input.batch > 0 ? input.batch : await batchOf(found, taps) },
    transform: options.transform ?? guessTransform(height, width),
    taps,
    source: { checkpoint: path.basename(files.modelFile), sha256: await sha256OfFile(files.modelFile) },
    precision: precisionOf(graph),
    ...graphCost({ graph, shapes, nodes: taps.map((tap) => tap.node) }),
  };
}

/** Some graphs promise any batch, but were written for single images inside. */
async function batchOf(found: Proposing, taps: Tap[]): Promise<"any" | 1> {
  const { graph, forward, input, shapes } = found;
  const nodes = [...new Set(taps.map(({ node }) => node))];
  const images: [number, number, number, number] = [2, input.height, input.width, 3];
  const pair = await nodeShapes({ graph, forward, dtype: input.dtype, images, nodes });
  return nodes.every((node) => pair.get(node)?.join() === [2, ...shapes.get(node)!.slice(1)].join()) ? "any" : 1;
}

function inputOf({ input }: BackboneManifest, graph: Graph): ImageInput {
  const { node, height, width, batch } = input;
  return { node, height, width, batch: batch === "any" ? -1 : batch, dtype: dtypeOf(graph.nodes.get(node)!) };
}

function fixedInput(input: ImageInput, size: InspectOptions["inputSize"]): ImageInput {
  const [height, width] = size ?? [224, 224];
  const fixed = {
    ...input,
    height: input.height > 0 ? input.height : height,
    width: input.width > 0 ? input.width : width,
  };
  if (size !== undefined && (fixed.height !== height || fixed.width !== width))
    throw expected(`the graph's own ${fixed.height}x${fixed.width}`, "the input size", size);
  return fixed;
}

function guessTransform(height: number, width: number): string {
  return height === width
    ? `resize(${height},bilinear)|center_crop(${height})|normalize(none)`
    : `resize(${height}x${width},bilinear)|normalize(none)`;
}

function precisionOf(graph: Graph): BackboneManifest["precision"] {
  const stored = new Set([...graph.weights.values()].flatMap(({ quantization }) => quantization?.dtype ?? []));
  if (stored.size === 0) return "float32";
  const [only, ...others] = stored;
  return others.length === 0 && (only === "float16" || only === "uint8") ? only : "quantized";
}
