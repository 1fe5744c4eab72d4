import path from "node:path";

import { recogniseArchitecture } from "../../models/index.js";
import { graphCost } from "../backbones/graph-cost.js";
import { graphModelSchema, graphOf } from "../backbones/graph.js";
import { manifestSchema } from "../backbones/manifest.js";
import type { BackboneManifest } from "../backbones/manifest.js";
import { readCheckpoint } from "../checkpoints/checkpoint.js";
import { expected } from "../errors.js";
import { sha256OfFile } from "../files.js";
import { CheckpointWeights } from "./checkpoint-weights.js";
import type { UnusedTensor } from "./checkpoint-weights.js";
import { GraphBuilder } from "./graph-builder.js";
import { graphModelJson, writeGraphModel } from "./graph-model.js";
import type { GraphModelJson } from "./graph-model.js";

export interface ConvertOptions {
  /** The checkpoint. */
  file: string;
  /** Folder of all backbones; the new one goes to `<out>/<title>/<arch>`. */
  out: string;
  /** Who trained it and how, e.g. `mocov2`. */
  title: string;
  /** Where it is known better than the tensors' names and shapes tell. */
  arch?: string;
  licence?: string;
  /** Where the checkpoint came from, for the manifest; its file name where undefined. */
  checkpointName?: string;
  /** What is done to an image before it enters; the architecture's published one where undefined. */
  transform?: string;
}

export interface ConvertedBackbone {
  dir: string;
  manifest: BackboneManifest;
  /** What stood before the tensors' names: wrappers that were taken off. */
  prefix: string;
  /** Tensors of the checkpoint that the backbone does without. */
  unused: UnusedTensor[];
}

/**
 * Writes a checkpoint as a TensorFlow.js GraphModel with its manifest. Batch norms are folded in; every weight comes
 * from the checkpoint.
 *
 * @throws UserError where the file is no whole checkpoint, its network is not known, or a tensor is missing, has another
 * shape or is not finite; nothing is written then.
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<ConvertedBackbone> {
  const { file, out, title, licence, checkpointName = path.basename(file) } = options;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(title)) {
    throw expected("letters, digits, points, dashes and underscores", "the title of a backbone", title);
  }
  const checkpoint = await readCheckpoint({ file });
  const { architecture, prefix } = recogniseArchitecture({ checkpoint, arch: options.arch });
  const { arch, input, transform, build } = architecture;
  const weights = new CheckpointWeights(checkpoint, arch, prefix);
  const graph = new GraphBuilder(input);
  build(graph, weights);
  const model = graphModelJson(graph);
  const manifest = manifestSchema.parse({
    format: 1,
    title,
    arch,
    input: { node: graph.input.node, ...input, batch: "any" },
    transform: options.transform ?? transform,
    taps: graph.taps.map(({ name, tensor: { node, shape }, pooling, prefixTokens }) => ({
      name,
      node,
      kind: kindOf(shape),
      shape,
      pooling,
      prefix_tokens: prefixTokens,
    })),
    source: { checkpoint: checkpointName, sha256: await sha256OfFile(file), licence },
    precision: "float32",
    ...costOf(graph, model),
  } satisfies Record<keyof BackboneManifest, unknown>);
  const dir = path.join(out, title, arch);
  await writeGraphModel({ dir, graph, model, manifest });
  return { dir, manifest, prefix, unused: weights.unused() };
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
