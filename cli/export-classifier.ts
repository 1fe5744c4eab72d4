import { z } from "zod";

import { defineSettings } from "../lib/settings/definition.js";
import { command } from "./command.js";

const definition = defineSettings({
  command: "export-classifier",
  summary: "Make one TensorFlow.js model of a trained head and its backbone",
  description:
    "Takes a head of a run of eval-linear, or the chosen SVMs of one of train-svm, joins it with the backbone up to its " +
    "layer, and writes a graph model that runs in Node and in a browser, with class names and preprocessing in classifier.json.",
  schema: z.strictObject({
    run: z
      .string()
      .min(1)
      .describe("Folder of a run, with result.json and heads/")
      .meta({ positional: true, placeholder: "RUN", expected: "the folder of a run" }),
    layer: z
      .string()
      .min(1)
      .describe("The layer, as the run's table names it")
      .meta({ placeholder: "LAYER", expected: "a layer of the run" }),
    head: z
      .string()
      .min(1)
      .optional()
      .describe("The head, e.g. bn_fc; the one that did best where the settings were chosen if not given"),
    seed: z.int().min(0).optional().describe("The seed; a run keeps the heads of its first one, which is the default"),
    backbone: z
      .string()
      .min(1)
      .optional()
      .describe("Folder of the backbone; where the run found it if not given")
      .meta({ placeholder: "DIR", expected: "a folder" }),
    headOnly: z.boolean().default(false).describe("The head alone, which takes pooled features instead of images"),
    out: z
      .string()
      .min(1)
      .optional()
      .describe("Folder of the classifier; classifiers/<layer>.<head> of the run if not given")
      .meta({ placeholder: "DIR", expected: "a folder" }),
  }),
  examples: [
    {
      command: "npx frozen-eval export-classifier runs/mine-resnet50-photos/linear --layer res5avg",
      meaning: "The better head of a layer, from pixels to probabilities.",
    },
    {
      command:
        "npx frozen-eval export-classifier runs/mine-resnet50-photos/linear --layer res4 --head bn_fc --out public/model",
      meaning: "One head, into the folder of a page.",
    },
    {
      command: "npx frozen-eval export-classifier runs/mine-resnet50-VOC2007/svm --layer res5",
      meaning: "One SVM a class, each of the cost that was chosen for it.",
    },
  ],
});

export const exportClassifier = command(definition, async (settings) => {
  const { prepareBackend } = await import("../lib/backend/backend.js");
  const { exportClassifier: exported } = await import("../lib/classifiers/export-classifier.js");
  const { formatExport } = await import("../lib/classifiers/format-export.js");
  // Weights are only moved: what starts at once is the best.
  await prepareBackend({ device: "wasm" });
  const classifier = await exported(settings);
  return { text: formatExport(classifier), json: classifier };
});
