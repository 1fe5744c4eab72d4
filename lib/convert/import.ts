import path from "node:path";

import { graphCost } from "../backbones/graph-cost.js";
import { graphModelSchema, graphOf } from "../backbones/graph.js";
import { manifestSchema } from "../backbones/manifest.js";
import type { BackboneManifest } from "../backbones/manifest.js";
import { expected } from "../errors.js";
import type { GraphBuilder } from "./graph-builder.js";
import { graphModelJson, writeGraphModel } from "./graph-model.js";
import type { Precision } from "./precision.js";
import type { VerifyOptions } from "./verify.js";

/** How a file that holds a whole network is imported, and not weights of one that is known: ONNX, a LayersModel. */
export interface ImportOptions {
  file: string;
  /** Folder of all backbones; the new one goes to `<out>/<title>/<arch>`. */
  out: string;
  /** Who trained it and how, e.g. `mocov2`. */
  title: string;
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

export interface ImportedBackbone {
  dir: string;
  manifest: BackboneManifest;
  /** Guesses that a person should check. */
  warnings: string[];
}

/** @throws UserError where title or architecture cannot be the name of a folder. */
export function expectNames({ title, arch }: { title: string; arch: string }): void {
  for (const [name, what] of [
    [title, "the title"],
    [arch, "the architecture"],
  ] as const) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) {
      throw expected("letters, digits, points, dashes and underscores", `${what} of a backbone`, name);
    }
  }
}

/** Writes the graph of an imported network, which was proved before, with its manifest. */
export async function writeImported(
  options: ImportOptions & {
    arch: string;
    graph: GraphBuilder;
    /** What each node gives for one image, with a batch of 1. */
    shapes: ReadonlyMap<string, readonly number[]>;
    batch: BackboneManifest["input"]["batch"];
    proof: BackboneManifest["proof"];
    sha256: string;
  },
): Promise<ImportedBackbone> {
  const { file, out, title, arch, graph, shapes, batch, proof, sha256, licence, precision = "float32" } = options;
  const { checkpointName = path.basename(file), transform } = options;
  const warnings = transform === undefined ? [guessedTransform] : [];
  const model = graphModelJson(graph);
  const [height, width] = graph.input.shape as [number, number];
  const manifest = manifestSchema.parse({
    format: 1,
    title,
    arch,
    input: { node: graph.input.node, height, width, batch },
    transform: transform ?? usualTransform(height, width),
    taps: graph.taps.map(({ name, tensor: { node, shape }, pooling }) => ({
      name,
      node,
      kind: shape.length === 3 ? "map" : shape.length === 2 ? "tokens" : "vector",
      shape,
      pooling,
    })),
    source: { checkpoint: checkpointName, sha256, licence },
    precision,
    ...graphCost({
      graph: graphOf(graphModelSchema.parse(model)),
      shapes,
      nodes: graph.taps.map(({ tensor }) => tensor.node),
    }),
    assumptions: warnings.length > 0 ? warnings : undefined,
    proof,
  } satisfies Record<keyof BackboneManifest, unknown>);
  const dir = path.join(out, title, arch);
  await writeGraphModel({ dir, graph, model, manifest, precision });
  return { dir, manifest, warnings };
}

function usualTransform(height: number, width: number): string {
  const crop = height === width ? String(height) : `${height}x${width}`;
  return `resize(${Math.round(Math.min(height, width) / 0.875)},bilinear)|center_crop(${crop})|normalize(imagenet)`;
}

const guessedTransform =
  "The transform is a guess: ImageNet's mean and deviation. No graph tells what it was trained with; set it with --transform.";
