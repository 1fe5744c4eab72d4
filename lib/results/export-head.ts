import { readFile } from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";
import { z } from "zod";

import { expected, UserError } from "../errors.js";
import { asReadError, readJson, sha256, writeFileAtomic, writeJson } from "../files.js";
import { foldedHead, type HeadWeights } from "../heads/head.js";
import { checked } from "./schema.js";

const descriptionSchema = z.strictObject({
  format: z.literal(1),
  layer: z.string(),
  /** The layers that are joined to one input, in their order, where there is more than one. */
  layers: z.array(z.string()).min(2).optional(),
  /** Of one image: [C, H, W] or [C]. */
  shape: z.array(z.number().int().positive()).min(1),
  width: z.number().int().positive(),
  /** Name of each logit. */
  classes: z.array(z.string()).min(1),
  /** For people: what goes in and what comes out. */
  input: z.string(),
  output: z.string(),
  /** sha256 of weights.bin. */
  weights: z.string(),
});

/** `head.json`: what stands beside the exported model. */
export type HeadDescription = z.infer<typeof descriptionSchema>;

export interface ExportHeadOptions {
  /** `model.json`, `weights.bin` and `head.json` are written here. */
  dir: string;
  layer: string;
  /** [C, H, W] or [C]. */
  shape: number[];
  head: HeadWeights;
  /** Class names, one a logit. */
  classes: string[];
}

/**
 * Saves a head as a tfjs LayersModel: one dense layer from features [batch, width], flattened channel-major, to logits
 * [batch, classes]. `tf.loadLayersModel` opens it in Node and in a browser; a batch norm is folded into the weights.
 *
 * @throws UserError where shapes do not agree, or the folder cannot be written.
 */
export async function exportHead({ dir, layer, shape, head, classes }: ExportHeadOptions): Promise<void> {
  requireShapes({ shape, head, classes });
  const width = shape.reduce((product, size) => product * size, 1);
  const { weight, bias } = foldedHead(head);
  const bytes = new Uint8Array(4 * (weight.length + bias.length));
  const view = new DataView(bytes.buffer);
  weight.forEach((value, i) => view.setFloat32(4 * i, value, true));
  bias.forEach((value, i) => view.setFloat32(4 * (weight.length + i), value, true));
  const description: HeadDescription = {
    format: 1,
    layer,
    shape,
    width,
    classes,
    input:
      `float32 [batch, ${width}]: the features of ${layer}, ` +
      (shape.length > 1 ? `pooled to [${shape.join(", ")}] (channels first) and flattened in that order` : "as pooled"),
    output: "float32 [batch, classes]: logits; softmax makes probabilities of them",
    weights: sha256(bytes),
  };
  await writeFileAtomic(path.join(dir, "weights.bin"), bytes);
  await writeJson(path.join(dir, "model.json"), modelJson(width, classes.length));
  await writeJson(path.join(dir, "head.json"), description);
}

/**
 * Opens an exported head.
 *
 * @returns the model, to be disposed by the caller, and what was written beside it.
 * @throws UserError where a file is missing, or the weights are not those that were written.
 */
export async function loadHead({ dir }: { dir: string }): Promise<{
  model: tf.LayersModel;
  description: HeadDescription;
}> {
  const file = path.join(dir, "head.json");
  const description = checked(descriptionSchema, await readJson(file, "an exported head"), `the exported head ${file}`);
  const weightsFile = path.join(dir, "weights.bin");
  const bytes = await readFile(weightsFile).catch((error: unknown) => {
    throw asReadError(error, weightsFile, "the weights of a head");
  });
  if (sha256(bytes) !== description.weights) {
    throw new UserError(`Expected the weights that head.json tells of for ${weightsFile} but received others`, {
      hint: "The files are damaged or of two exports: export the head again.",
    });
  }
  // Written by us a moment or a year ago, but always the same for the same sizes: no need to trust the file.
  const { modelTopology, weightsManifest } = modelJson(description.width, description.classes.length);
  const model = await tf.loadLayersModel(
    tf.io.fromMemory({
      modelTopology,
      weightSpecs: weightsManifest[0]!.weights,
      weightData: new Uint8Array(bytes).buffer,
    }),
  );
  return { model, description };
}

function requireShapes({ shape, head, classes }: Pick<ExportHeadOptions, "shape" | "head" | "classes">): void {
  const width = shape.reduce((product, size) => product * size, 1);
  const lengths: [string, ArrayLike<number>, number][] = [
    ["weight [width, classes]", head.weight, width * classes.length],
    ["bias [classes]", head.bias, classes.length],
    ...Object.entries(head.batchNorm ?? {}).map(([name, values]): [string, ArrayLike<number>, number] => [
      `${name} [channels]`,
      values as Float32Array,
      shape[0]!,
    ]),
  ];
  for (const [name, values, length] of lengths) {
    if (values.length !== length) throw expected(`${length} numbers`, `${name} of an exported head`, values.length);
  }
}

/** tfjs's own format of a model of layers. */
function modelJson(width: number, classes: number) {
  const dense = {
    name: "logits",
    trainable: true,
    batch_input_shape: [null, width],
    dtype: "float32",
    units: classes,
    activation: "linear",
    use_bias: true,
  };
  return {
    format: "layers-model",
    generatedBy: "frozen-eval",
    convertedBy: null,
    modelTopology: {
      class_name: "Sequential",
      config: { name: "head", layers: [{ class_name: "Dense", config: dense }] },
      keras_version: "tfjs-layers 4.22.0",
      backend: "tensor_flow.js",
    },
    weightsManifest: [
      {
        paths: ["weights.bin"],
        weights: [
          { name: "logits/kernel", shape: [width, classes], dtype: "float32" as const },
          { name: "logits/bias", shape: [classes], dtype: "float32" as const },
        ],
      },
    ],
  };
}
