import { readFile } from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";
import { z } from "zod";

import { expected, UserError } from "../errors.js";
import { asReadError, readJson, sha256, writeFileAtomic, writeJson } from "../files.js";
import { denseLayers, type DenseLayer } from "../heads/evaluated.js";
import { type HeadSpec, type HeadWeights, headWidth, headWidths } from "../heads/head.js";
import { checked } from "./schema.js";

const descriptionSchema = z.strictObject({
  format: z.literal(1),
  layer: z.string(),
  /** The layers that are joined to one input, in their order, where there is more than one. */
  layers: z.array(z.string()).min(2).optional(),
  /** Of one image: [C, H, W] or [C]. */
  shape: z.array(z.number().int().positive()).min(1),
  width: z.number().int().positive(),
  /** Whether the features have to be divided by their length first. */
  l2: z.boolean().optional(),
  /** What is added to that length: x / (‖x‖ + it). Default: nothing. */
  lengthAdded: z.number().positive().optional(),
  /** Widths of the layers before the last; none of a linear head. */
  hidden: z.array(z.strictObject({ width: z.number().int().positive(), relu: z.boolean() })).optional(),
  /** Name of each logit. */
  classes: z.array(z.string()).min(1),
  /** What makes probabilities of the logits. Default: softmax. */
  activation: z.enum(["softmax", "sigmoid"]).optional(),
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
  head: HeadSpec;
  weights: HeadWeights;
  /** Class names, one a logit. */
  classes: string[];
  /** What makes probabilities of the logits: softmax, or sigmoid where an image may have several labels. */
  activation: "softmax" | "sigmoid";
  /** Of a head on features of unit length: what is added to the length that they are divided by. Default: nothing. */
  lengthAdded?: number;
}

/**
 * Saves a head as a tfjs LayersModel: dense layers from features [batch, width], flattened channel-major, to logits
 * [batch, classes]. `tf.loadLayersModel` opens it in Node and in a browser; batch norms are folded into the weights.
 *
 * @throws UserError where shapes do not agree, or the folder cannot be written.
 */
export async function exportHead(options: ExportHeadOptions): Promise<void> {
  const { dir, head, weights, classes, activation, lengthAdded } = options;
  const { layer, reads, shape } = head;
  const layers = denseLayers(weights, head.hidden);
  requireShapes({ head, layers, classes });
  const bytes = bytesOf(layers.flatMap(({ weight, bias }) => [weight, bias]));
  const hidden = layers.slice(0, -1).map(({ bias, relu }) => ({ width: bias.length, relu }));
  const width = headWidth(head);
  const form =
    shape.length > 1 ? `pooled to [${shape.join(", ")}] (channels first) and flattened in that order` : "as pooled";
  const description: HeadDescription = {
    format: 1,
    layer,
    ...(reads.length > 1 && { layers: reads }),
    shape,
    width,
    ...(head.input === "l2" && { l2: true, lengthAdded }),
    ...(hidden.length > 0 && { hidden }),
    classes,
    ...(activation !== "softmax" && { activation }),
    input:
      `float32 [batch, ${width}]: the features of ${layer}, ${form}` +
      (head.input === "l2" ? `, then divided by their length${lengthAdded ? ` + ${lengthAdded}` : ""}` : ""),
    output: `float32 [batch, classes]: logits; ${activation} makes probabilities of them`,
    weights: sha256(bytes),
  };
  await writeFileAtomic(path.join(dir, "weights.bin"), bytes);
  await writeJson(path.join(dir, "model.json"), modelJson(description));
  await writeJson(path.join(dir, "head.json"), description);
}

/** Little-endian float32, one array behind the other. */
function bytesOf(arrays: Float32Array[]): Uint8Array {
  const bytes = new Uint8Array(4 * arrays.reduce((sum, { length }) => sum + length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const array of arrays) for (const value of array) view.setFloat32(4 * at++, value, true);
  return bytes;
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
  const { modelTopology, weightsManifest } = modelJson(description);
  const model = await tf.loadLayersModel(
    tf.io.fromMemory({
      modelTopology,
      weightSpecs: weightsManifest[0]!.weights,
      weightData: new Uint8Array(bytes).buffer,
    }),
  );
  return { model, description };
}

function requireShapes(options: { head: HeadSpec; layers: DenseLayer[]; classes: string[] }): void {
  const { head, layers, classes } = options;
  const widths = headWidths(head, classes.length);
  layers.forEach(({ weight, bias }, i) => {
    const lengths: [string, ArrayLike<number>, number][] = [
      ["weight", weight, widths[i]! * widths[i + 1]!],
      ["bias", bias, widths[i + 1]!],
    ];
    for (const [name, values, length] of lengths) {
      if (values.length !== length)
        throw expected(`${length} numbers`, `${name} ${i} of an exported head`, values.length);
    }
  });
}

/** tfjs's own format of a model of layers. */
function modelJson({ width, hidden = [], classes }: Pick<HeadDescription, "width" | "hidden" | "classes">) {
  const layers = [...hidden, { width: classes.length, relu: false }].map(({ width: units, relu }, i, all) => ({
    name: i === all.length - 1 ? "logits" : `hidden${i}`,
    from: i === 0 ? width : all[i - 1]!.width,
    units,
    activation: relu ? "relu" : "linear",
  }));
  return {
    format: "layers-model",
    generatedBy: "frozen-eval",
    convertedBy: null,
    modelTopology: {
      class_name: "Sequential",
      config: {
        name: "head",
        layers: layers.map(({ name, from, units, activation }, i) => ({
          class_name: "Dense",
          config: {
            name,
            trainable: true,
            ...(i === 0 && { batch_input_shape: [null, from] }),
            dtype: "float32",
            units,
            activation,
            use_bias: true,
          },
        })),
      },
      keras_version: "tfjs-layers 4.22.0",
      backend: "tensor_flow.js",
    },
    weightsManifest: [
      {
        paths: ["weights.bin"],
        weights: layers.flatMap(({ name, from, units }) => [
          { name: `${name}/kernel`, shape: [from, units], dtype: "float32" as const },
          { name: `${name}/bias`, shape: [units], dtype: "float32" as const },
        ]),
      },
    ],
  };
}
