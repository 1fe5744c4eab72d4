import path from "node:path";

import { digestOfGraph, openGraphFiles } from "../backbones/graph-files.js";
import { dtypeOf, graphOf } from "../backbones/graph.js";
import { parseLayers, type LayerRequest } from "../backbones/layers.js";
import { readManifest } from "../backbones/manifest-file.js";
import type { BackboneManifest } from "../backbones/manifest.js";
import { GraphBuilder, placeholder } from "../convert/graph-builder.js";
import { didYouMean, expected, UserError } from "../errors.js";
import { exists, sha256OfFile } from "../files.js";
import { parseTransform } from "../images/transform.js";
import { readRecord, type LayerResult, type ResultRecord } from "../results/record.js";
import { fileNameOf, mainMetric, mainValue } from "../results/wording.js";
import { backbonePart, type BackbonePart } from "./backbone-part.js";
import { continueGraph } from "./classifier-graph.js";
import { headNodes, type HeadFunction } from "./head-nodes.js";
import type { ClassifierManifest } from "./manifest.js";
import { readHead } from "./read-head.js";
import { writeClassifier } from "./write-classifier.js";

export interface ExportClassifierOptions {
  /** Folder of a run of eval-linear or train-svm. */
  run: string;
  /** As the run names it, e.g. `block14` or `res4:avg_pool(8x8,3,0)`. */
  layer: string;
  /** Kind of the head, e.g. `bn_fc`. Default: the one that did best where the settings were chosen. */
  head?: string;
  /** Default: the first of the run, whose heads it has kept. */
  seed?: number;
  /** Folder of the backbone. Default: where the run found it. */
  backbone?: string;
  /** Without the backbone: features go in. */
  headOnly?: boolean;
  /** Folder of the classifier; made, or replaced if it holds one. Default: `classifiers/<layer>.<head>` of the run. */
  out?: string;
}

export interface ExportedClassifier {
  dir: string;
  manifest: ClassifierManifest;
  /** Of all weights. */
  bytes: number;
}

/**
 * Makes one TensorFlow.js GraphModel of a trained head and the backbone that it was trained on: from pixels, as the
 * run's transform makes them, to logits and probabilities. The graph holds standard operations only, and no node that
 * the head does not need; `tf.loadGraphModel` opens it in Node and in a browser.
 *
 * Written are `model.json`, weights in files of 4 MB, and `classifier.json`; all of them or none.
 *
 * @throws UserError where the run has no such layer, head or seed, or keeps no heads, its backbone is not found or has
 * changed, its features are the user's own and `headOnly` is not set, or `out` holds something else.
 */
export async function exportClassifier(options: ExportClassifierOptions): Promise<ExportedClassifier> {
  const { run, headOnly = false } = options;
  const record = await readRecord(run);
  const folder = path.extname(run) === ".json" ? path.dirname(run) : run;
  const result = chosenResult(record, options);
  if (result.lowShot) {
    throw new UserError(
      `Expected a run that keeps what it trained but ${run} has drawn its images several times, and keeps numbers`,
      {
        hint: "Train on all images: train-svm without --low-shot.",
      },
    );
  }
  const seed = chosenSeed(record, options);
  const place = fileNameOf(result);
  const { head, description } = await readHead({ dir: await headFolder(folder, place) });
  const layers = description.layers ?? [description.layer];
  const about = { ...(await provenance({ folder, record, result, seed })), classes: description.classes };
  const built = headOnly
    ? headGraph({ head, width: description.width })
    : await joinedGraph({ head, record, layers, width: description.width, dir: options.backbone });
  const { input, outputs, licence, ...model } = built;
  const manifest: ClassifierManifest = {
    format: 1,
    classes: about.classes,
    input,
    outputs: { ...outputs, activation: head.activation },
    layer: result.layer,
    ...(layers.length > 1 ? { layers } : {}),
    head: result.head,
    accuracy: about.accuracy,
    run: about.run,
    backbone: record.backbone && backboneOf(record.backbone, licence),
  };
  const dir = options.out ?? path.join(folder, "classifiers", headOnly ? `${place}.head-only` : place);
  const { bytes } = await writeClassifier({ ...model, dir, manifest });
  return { dir, manifest, bytes };
}

function chosenResult(record: ResultRecord, { layer, head }: ExportClassifierOptions): LayerResult {
  const ofLayer = record.results.filter((result) => result.layer === layer);
  if (ofLayer.length === 0) {
    throw expected("a layer of this run", "--layer", layer, didYouMean(layer, record.results.map((each) => each.layer))); // prettier-ignore
  }
  const kinds = ofLayer.map((result) => result.head);
  if (head !== undefined) {
    const found = ofLayer.find((result) => result.head === head);
    if (!found) throw expected(`a head that the run has on ${layer}`, "--head", head, didYouMean(head, kinds));
    return found;
  }
  if (ofLayer.length > 1 && ofLayer.some(({ selection }) => selection === null)) {
    const hint = "Settings were not chosen in this run, so nothing tells which of them is better.";
    throw expected(kinds.join(" or "), "--head", undefined, hint);
  }
  // Not the reported accuracy: what is chosen by it would be reported too good.
  return ofLayer.reduce((best, each) => (each.selection!.mean > best.selection!.mean ? each : best));
}

/** A run keeps the heads of its first seed alone. */
function chosenSeed({ seeds }: ResultRecord, { seed = seeds[0]! }: ExportClassifierOptions): number {
  if (seed === seeds[0]) return seed;
  const hint = seeds.includes(seed)
    ? `A run keeps the heads of its first seed: run it again with --seeds ${seed}.`
    : `The run has seeds ${seeds.join(", ")}.`;
  throw expected(`${seeds[0]}, the first seed of the run,`, "--seed", seed, hint);
}

async function headFolder(run: string, place: string): Promise<string> {
  const dir = path.join(run, "heads", place);
  if (await exists(dir)) return dir;
  throw new UserError(`Expected the trained head at ${dir} but there is no such folder`, {
    hint: "The same command, run again, writes the heads anew.",
  });
}

async function provenance(options: { folder: string; record: ResultRecord; result: LayerResult; seed: number }) {
  const { folder, record, result, seed } = options;
  const split = record.selection.reportedOn;
  const accuracy = {
    metric: mainMetric(record),
    value: mainValue(result).values[record.seeds.indexOf(seed)]!,
    split,
    images: record.data.splits[split]!,
    seed,
  };
  const digest = await sha256OfFile(path.join(folder, "result.json"));
  const run = { protocol: record.protocol, data: record.data.name, digest, finishedAt: record.finishedAt };
  return { accuracy, run };
}

function backboneOf(
  { title, arch, digest, transform }: NonNullable<ResultRecord["backbone"]>,
  licence: string | undefined,
): ClassifierManifest["backbone"] {
  return { title, arch, digest, transform, ...(licence === undefined ? {} : { licence }) };
}

/** A graph with what the manifest tells of it. */
interface ClassifierGraph {
  graph: GraphBuilder;
  input: ClassifierManifest["input"];
  outputs: { logits: string; probabilities: string };
  /** What the graph goes on from. */
  backbone?: BackbonePart;
  licence?: string;
}

function headGraph({ head, width }: { head: HeadFunction; width: number }): ClassifierGraph {
  const graph = new GraphBuilder(placeholder("features", [width]));
  const outputs = { logits: "logits", probabilities: "probabilities" };
  headNodes({ graph, name: "head", features: [graph.input], head, outputs });
  const input = { kind: "features" as const, node: graph.input.node, batch: "any" as const, width };
  return { graph, input, outputs };
}

async function joinedGraph(options: {
  head: HeadFunction;
  record: ResultRecord;
  layers: readonly string[];
  width: number;
  dir?: string;
}): Promise<ClassifierGraph> {
  const { head, record, layers: names, width } = options;
  const dir = await backboneFolder(record, options.dir);
  const { transform: text, digest } = record.backbone!;
  const files = await openGraphFiles(dir);
  await expectSameBackbone({ dir, digest, found: await digestOfGraph(files) });
  const graph = graphOf(files.json);
  const manifest = await readManifest({ file: files.manifestFile, graph });
  const layers = layersOf({ names, manifest, width, dir });
  const part = backbonePart({ files, nodes: [manifest.input.node, ...layers.map(({ tap }) => tap.node)] });
  const { node, height, width: columns, batch } = manifest.input;
  const builder = new GraphBuilder({ nodes: part.nodes, input: { node, shape: [height, columns, 3] } });
  const outputs = continueGraph({ graph: builder, layers, head });
  const transform = parseTransform(text);
  const reversals = transform.steps.filter((step) => step.kind === "channels" && step.order === "bgr").length;
  return {
    graph: builder,
    backbone: part,
    licence: manifest.source.licence,
    outputs,
    input: {
      kind: "images",
      node,
      dtype: dtypeOf(graph.nodes.get(node)!),
      batch,
      height,
      width: columns,
      channels: reversals % 2 === 1 ? "bgr" : "rgb",
      transform: transform.text,
      steps: transform.steps.map((step) => ({ ...step })),
    },
  };
}

async function backboneFolder({ backbone, settings }: ResultRecord, given: string | undefined): Promise<string> {
  if (backbone === null) {
    throw new UserError(
      "Expected a run on images for export-classifier but received one on features of your own, whose backbone is not known here",
      { hint: "Export the head alone with --head-only." },
    );
  }
  if (given !== undefined) return given;
  const { title, arch } = backbone;
  const dir = settings.backbone;
  const hint = `Name the folder of ${title}/${arch} with --backbone.`;
  if (typeof dir !== "string") throw expected("a folder", "--backbone", undefined, hint);
  if (await exists(dir)) return dir;
  throw new UserError(`Expected the backbone of this run at ${dir} but there is no such folder`, { hint });
}

async function expectSameBackbone(options: { dir: string; digest: string; found: string }): Promise<void> {
  const { dir, digest, found } = options;
  if (found === digest) return;
  throw new UserError(
    `Expected the backbone of this run, ${digest.slice(0, 12)}…, for --backbone but ${dir} holds ${found.slice(0, 12)}…`,
    { hint: "Its head fits no other weights: name the folder of the same backbone, or train again." },
  );
}

function layersOf(options: {
  names: readonly string[];
  manifest: BackboneManifest;
  width: number;
  dir: string;
}): LayerRequest[] {
  const { names, manifest, width, dir } = options;
  const layers = names.flatMap((name) => parseLayers({ text: [name], taps: manifest.taps }));
  const sum = layers.reduce((total, layer) => total + layer.width, 0);
  if (sum === width) return layers;
  throw new UserError(
    `Expected ${width} numbers an image at ${names.join(" + ")}, as the head was trained on, but the manifest of ${dir} gives ${sum}`,
    { hint: "backbone.json has been edited since the run: give the layer its former pooling." },
  );
}
