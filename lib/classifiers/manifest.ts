import path from "node:path";

import { z } from "zod";

import { expected } from "../errors.js";
import { readJson } from "../files.js";
import { checked } from "../results/schema.js";

const size = z.number().int().positive();

const imageInput = z.strictObject({
  kind: z.literal("images"),
  /** Placeholder of the graph; takes [batch, height, width, 3]. */
  node: z.string().min(1),
  dtype: z.enum(["float32", "int32"]),
  /** Whether the graph takes a batch of any size; else the one that it was written for. */
  batch: z.union([z.literal("any"), size]),
  height: size,
  width: size,
  /** Order of the three channels. */
  channels: z.enum(["rgb", "bgr"]),
  /** What is done to an image before it enters, in the language of `lib/images/transform.ts`. */
  transform: z.string().min(1),
  /** The same, step by step, for programs that do not read that language. */
  steps: z.array(z.looseObject({ kind: z.string() })).min(1),
});

const featureInput = z.strictObject({
  kind: z.literal("features"),
  /** Placeholder of the graph; takes [batch, width] float32: the layers pooled, channels first, one behind the other. */
  node: z.string().min(1),
  batch: z.literal("any"),
  width: size,
});

const classifierSchema = z.strictObject({
  format: z.literal(1),
  /** Name of each score, in order. */
  classes: z.array(z.string()).min(1),
  input: z.discriminatedUnion("kind", [imageInput, featureInput]),
  /** Nodes of the graph; each gives [batch, classes] float32. */
  outputs: z.strictObject({
    logits: z.string().min(1),
    probabilities: z.string().min(1),
    /** Whether the classes exclude each other (softmax) or not (sigmoid). */
    activation: z.enum(["softmax", "sigmoid"]),
  }),
  /** As the run names it. */
  layer: z.string().min(1),
  /** The layers that the head reads, where there is more than one. */
  layers: z.array(z.string().min(1)).min(2).optional(),
  head: z.string().min(1),
  /** How good the head was on the reported images, told by the run. */
  accuracy: z.strictObject({
    metric: z.enum(["top1", "meanAp"]),
    value: z.number().min(0).max(1),
    split: z.enum(["train", "val", "test"]),
    images: z.number().int().nonnegative(),
    /** The head is the one of this seed. */
    seed: z.number().int(),
  }),
  /** The run that it comes from. */
  run: z.strictObject({
    protocol: z.strictObject({ id: z.string(), version: z.number().int() }),
    /** The data set, as the run names it. */
    data: z.string(),
    /** sha256 of its `result.json`. */
    digest: z.string(),
    finishedAt: z.string(),
  }),
  /** Where the features come from; null for features of the user's own. */
  backbone: z
    .strictObject({
      title: z.string(),
      arch: z.string(),
      /** sha256 of graph and weights. */
      digest: z.string(),
      /** What features were made with; of a head alone it is not part of the graph. */
      transform: z.string(),
      licence: z.string().optional(),
    })
    .nullable(),
});

/** `classifier.json`: what goes into an exported classifier and what comes out. Told in docs/file-formats.md. */
export type ClassifierManifest = z.infer<typeof classifierSchema>;

export const manifestName = "classifier.json";

/** @throws UserError where there is none, or it is not one of this format. */
export async function readClassifierManifest(dir: string): Promise<ClassifierManifest> {
  const file = path.join(dir, manifestName);
  const value = await readJson(file, "an exported classifier");
  const format = value !== null && typeof value === "object" && "format" in value ? value.format : undefined;
  if (typeof format === "number" && format !== 1) {
    throw expected("format 1", `the classifier ${file}`, format, "Another version of frozen-eval has written it.");
  }
  return checked(classifierSchema, value, `the classifier ${file}`);
}
