import { z } from "zod";

import { defineSettings } from "./definition.js";
import { deviceField } from "./fields.js";

/** `convert`: a published checkpoint becomes a backbone. */
export const convertSettings = defineSettings({
  command: "convert",
  summary: "Make a TensorFlow.js backbone of a published checkpoint, and prove that it is the same network",
  description:
    "Recognises the architecture by names and shapes of the tensors, takes wrappers off, folds batch norms in, and " +
    "keeps every tap by its name in the field. The result goes to OUT/TITLE/ARCH. Nothing is written where a tensor is " +
    "missing or the network does not agree with its original.",
  schema: z.strictObject({
    file: z
      .string()
      .min(1)
      .describe("The checkpoint, of whatever format, known by its content; or the folder of a Keras LayersModel")
      .meta({ positional: true, placeholder: "FILE", expected: "a checkpoint" }),
    out: z
      .string()
      .min(1)
      .default("models")
      .describe("Folder of all backbones")
      .meta({ placeholder: "DIR", expected: "a folder" }),
    title: z
      .string()
      .min(1)
      .optional()
      .describe("Who trained it and how, e.g. moco_v2; made of the file's name where not given")
      .meta({ placeholder: "NAME" }),
    arch: z
      .string()
      .min(1)
      .optional()
      .describe("The architecture, where it is known better than the tensors tell: any name of docs/convert.md")
      .meta({ placeholder: "NAME" }),
    prefix: z
      .string()
      .optional()
      .describe("What stands before the network's tensors, where there are several, e.g. module.encoder_k")
      .meta({ placeholder: "TEXT" }),
    imageSize: z
      .int()
      .min(1)
      .optional()
      .describe("Height and width of the images, where not the architecture's own; position embeddings are resampled"),
    precision: z
      .enum(["float32", "float16", "uint8"])
      .default("float32")
      .describe("Of the weights in their files; what less than float32 loses at each tap is measured"),
    transform: z
      .string()
      .min(1)
      .optional()
      .describe("What is done to an image before it enters; as published where not given")
      .meta({ placeholder: "STEP|STEP|..." }),
    licence: z.string().min(1).optional().describe("Of the weights, for the manifest"),
    verify: z
      .string()
      .min(1)
      .optional()
      .describe("Arrays of the original program: input, and one a tap; a tap that differs stops the conversion")
      .meta({ placeholder: "FILE.npz", expected: "a file of arrays" }),
    tolerance: z
      .number()
      .positive()
      .default(1e-4)
      .describe("The largest difference to --verify, relative to a tap's largest number"),
    device: deviceField,
  }),
  examples: [
    {
      command: "npx frozen-eval convert moco_v2_800ep.pth.tar --out models",
      meaning: "To models/moco_v2/resnet50.",
    },
    {
      command: "npx frozen-eval convert dino.pth --title dino --prefix student.backbone. --precision float16",
      meaning: "Another network than the published one, in half the size.",
    },
    {
      command: "npx frozen-eval convert mine.pth --title mine --verify features.npz --tolerance 1e-4",
      meaning: "Compared with what PyTorch gave.",
    },
  ],
});
