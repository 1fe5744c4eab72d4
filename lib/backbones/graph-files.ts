import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { expected, messageOf, UserError } from "../errors.js";
import { asReadError, exists, inside, readJson } from "../files.js";
import { graphModelSchema, layersModelSchema } from "./graph.js";
import type { GraphModelJson, LayersModelJson, WeightSpec } from "./graph.js";

/** A model of TensorFlow.js's on disk: its weight files, seen to be there and of the right size. */
interface ModelFiles {
  modelFile: string;
  /** In the order of `weightsManifest`. */
  weightFiles: string[];
}

/** A GraphModel on disk, its JSON read and checked. */
export interface GraphFiles extends ModelFiles {
  /** Where its manifest is, or would be: `backbone.json` beside it. */
  manifestFile: string;
  json: GraphModelJson;
}

/** A Keras LayersModel on disk. */
export interface LayersFiles extends ModelFiles {
  json: LayersModelJson;
}

/**
 * Finds a GraphModel and checks that it is whole.
 *
 * @param dir a folder with `model.json`, or with one GraphModel of another name (`<title>_<arch>` stands for
 * `<title>/<arch>`, where there is only that); or the JSON file itself (its manifest is then `NAME.backbone.json`, so
 * that a folder may hold several models).
 * @throws UserError where there is none, several, a LayersModel, or a weight file that is missing or has another size.
 */
export async function openGraphFiles(dir: string): Promise<GraphFiles> {
  const { modelFile, manifestFile } = await locate(dir);
  const json = checked(await readJson(modelFile, "a TensorFlow.js graph model"), modelFile);
  return { modelFile, manifestFile, json, weightFiles: await weightFilesOf(modelFile, json) };
}

/**
 * The files of a Keras LayersModel.
 *
 * @param dir a folder with `model.json`, or the JSON file itself.
 * @returns undefined where it is none.
 * @throws UserError where a weight file is missing or has another size.
 */
export async function openLayersFiles(dir: string): Promise<LayersFiles | undefined> {
  const inFolder = path.join(dir, "model.json");
  const modelFile = (await exists(inFolder)) ? inFolder : dir;
  if (!modelFile.endsWith(".json")) return undefined;
  const { data: json } = layersModelSchema.safeParse(await readJson(modelFile, "a model"));
  return json && { modelFile, json, weightFiles: await weightFilesOf(modelFile, json) };
}

async function weightFilesOf(modelFile: string, { weightsManifest }: Pick<GraphModelJson, "weightsManifest">) {
  const weightFiles: string[] = [];
  for (const { paths, weights } of weightsManifest) {
    const files = paths.map((name) => inside(path.dirname(modelFile), name));
    await checkSizes(files, weights);
    weightFiles.push(...files);
  }
  return weightFiles;
}

/** Loads the weights into the active backend. The signature is left out: nodes are then asked for by their own names. */
export async function loadGraphModel({ json, modelFile, weightFiles }: GraphFiles): Promise<tf.GraphModel> {
  await tf.ready();
  const weightData = await Promise.all(weightFiles.map(readWeights));
  const artifacts: tf.io.ModelArtifacts = {
    format: "graph-model",
    // TensorFlow.js reads `versions` without looking whether it is there.
    modelTopology: { versions: {}, ...json.modelTopology },
    weightSpecs: json.weightsManifest.flatMap(({ weights }) => weights) as unknown as tf.io.WeightsManifestEntry[],
    weightData,
  };
  try {
    return await tf.loadGraphModel({ load: async () => artifacts });
  } catch (error) {
    throw new UserError(
      `Expected a TensorFlow.js graph model at ${modelFile} but TensorFlow.js cannot load it: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/** The sha256 over the JSON file and the weight files, one after another. */
export async function digestOfGraph({ modelFile, weightFiles }: ModelFiles): Promise<string> {
  const hash = createHash("sha256");
  for (const file of [modelFile, ...weightFiles]) {
    for await (const part of createReadStream(file)) hash.update(part as Buffer);
  }
  return hash.digest("hex");
}

async function locate(named: string): Promise<{ modelFile: string; manifestFile: string }> {
  const dir = await folderOf(named);
  const stat = await fs.stat(dir).catch((error: unknown) => {
    throw asReadError(error, dir, "a backbone's folder");
  });
  if (!stat.isDirectory()) {
    const { dir: folder, name } = path.parse(dir);
    const manifest = name === "model" ? "backbone.json" : `${name}.backbone.json`;
    return { modelFile: dir, manifestFile: path.join(folder, manifest) };
  }
  const manifestFile = path.join(dir, "backbone.json");
  const names = await fs.readdir(dir);
  if (names.includes("model.json")) return { modelFile: path.join(dir, "model.json"), manifestFile };
  const models: string[] = [];
  for (const name of names.filter((file) => file.endsWith(".json") && !file.endsWith("backbone.json")).sort()) {
    const json: unknown = await readJson(path.join(dir, name), "JSON").catch(() => undefined);
    if (json !== null && typeof json === "object" && "modelTopology" in json) models.push(name);
  }
  if (models.length === 1) return { modelFile: path.join(dir, models[0]!), manifestFile };
  const hint = models.length > 1 ? `Name the file, e.g. ${path.join(dir, models[0]!)}.` : "A tfjs GraphModel is a folder with model.json and weight files beside it."; // prettier-ignore
  const found = models.length > 1 ? `${models.length}: ${models.join(", ")}` : "none";
  throw new UserError(`Expected one TensorFlow.js graph model in ${dir} but received ${found}`, { hint });
}

/** `models/moco_v2_resnet50` is `models/moco_v2/resnet50`, where it is nothing itself. */
async function folderOf(dir: string): Promise<string> {
  if (await exists(dir)) return dir;
  const { dir: parent, base } = path.parse(dir);
  for (const { index } of base.matchAll(/_/g)) {
    const folder = path.join(parent, base.slice(0, index), base.slice(index + 1));
    if (await exists(path.join(folder, "backbone.json"))) return folder;
  }
  return dir;
}

function checked(json: unknown, file: string): GraphModelJson {
  const parsed = graphModelSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const topology = isObject(json) && isObject(json.modelTopology) ? json.modelTopology : {};
  if ("model_config" in topology || "class_name" in topology || "config" in topology)
    throw new UserError(`Expected a GraphModel at ${file} but received a Keras LayersModel`, {
      hint: `Make a backbone of it: npx frozen-eval convert ${file}`,
    });
  const { path: key, message } = parsed.error.issues[0]!;
  throw new UserError(`Expected a TensorFlow.js graph model at ${file} but its ${key.join(".") || "JSON"} is wrong: ${message}`); // prettier-ignore
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object";
}

const bytesOf: Record<string, number> = {
  float32: 4,
  int32: 4,
  complex64: 8,
  float16: 2,
  uint16: 2,
  uint8: 1,
  bool: 1,
};

/** Bytes that a weight takes in its file; NaN for texts, whose length stands in the file alone. */
export function weightBytes({ shape, dtype, quantization }: WeightSpec): number {
  const bytes = bytesOf[quantization?.dtype ?? dtype];
  return bytes === undefined ? NaN : shape.reduce((product, size) => product * size, bytes);
}

async function checkSizes(files: string[], weights: WeightSpec[]): Promise<void> {
  const sizes = await Promise.all(files.map(sizeOf));
  const due = sum(weights.map(weightBytes));
  const found = sum(sizes);
  if (Number.isNaN(due) || due === found) return;
  const listed = files.map((file, i) => `${file} (${sizes[i]} bytes)`).slice(0, 8).join(", "); // prettier-ignore
  throw new UserError(
    files.length === 0
      ? `Expected weight files for ${weights.length} weights but the graph model names none`
      : `Expected ${due} bytes of weights but received ${found}: ${listed}${files.length > 8 ? ", …" : ""}`,
    { hint: found < due ? "A file is cut short: copy it anew." : "The weights are of another model: copy it anew." },
  );
}

async function sizeOf(file: string): Promise<number> {
  try {
    const stat = await fs.stat(file);
    if (!stat.isFile()) throw expected("a file", `the weights ${file}`, "a folder");
    return stat.size;
  } catch (error) {
    throw asReadError(error, file, "a weight file");
  }
}

/** The content of a weight file. */
export async function readWeights(file: string): Promise<ArrayBuffer> {
  try {
    const bytes = await fs.readFile(file);
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  } catch (error) {
    throw asReadError(error, file, "a weight file");
  }
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
