import { z } from "zod";

import { defineSettings } from "../lib/settings/definition.js";
import { deviceField } from "../lib/settings/fields.js";
import { prepare } from "./backend.js";
import { command } from "./command.js";

const definition = defineSettings({
  command: "inspect",
  summary: "List the layers of a backbone with shapes, nodes, parameters and operations",
  description:
    "Also opens a TensorFlow.js graph model that has no backbone.json: layers are proposed then, and --write makes the file.",
  schema: z.strictObject({
    dir: z
      .string()
      .min(1)
      .describe("Folder that holds model.json")
      .meta({ positional: true, placeholder: "DIR", expected: "a folder" }),
    write: z.boolean().default(false).describe("Write backbone.json with the proposed layers"),
    title: z.string().min(1).optional().describe("Of a proposal: who trained it and how, e.g. mocov2"),
    arch: z.string().min(1).optional().describe("Of a proposal: its architecture, e.g. resnet50"),
    transform: z
      .string()
      .min(1)
      .optional()
      .describe(
        "Of a proposal: what is done to an image before it enters, e.g. resize(256)|center_crop(224)|normalize(imagenet)",
      )
      .meta({ placeholder: "STEP|STEP|..." }),
    inputSize: z
      .array(z.int().min(1))
      .length(2)
      .optional()
      .describe("Of a proposal, where the graph takes images of any size: their height and width")
      .meta({ placeholder: "HEIGHT,WIDTH" }),
    device: deviceField,
  }),
  examples: [
    { command: "npx frozen-eval inspect models/mine/resnet50", meaning: "The layers of a backbone." },
    {
      command: "npx frozen-eval inspect downloads/mobilenet --write --title imagenet --arch mobilenet_v2",
      meaning: "Make a graph model from elsewhere a backbone.",
    },
  ],
});

export const inspect = command(definition, async ({ write, device, inputSize, ...proposal }, { progress }) => {
  const { inspectGraphModel, writeManifest } = await import("../lib/backbones/inspect.js");
  const { formatInspection } = await import("../lib/backbones/format-inspection.js");
  await prepare({ device }, { progress });
  const size = inputSize && ([inputSize[0]!, inputSize[1]!] as const);
  const proposed = await inspectGraphModel({ ...proposal, inputSize: size });
  const written = write ? await writeManifest({ inspection: proposed }) : undefined;
  const inspection = written === undefined ? proposed : await inspectGraphModel({ dir: proposal.dir });
  const text = formatInspection(inspection) + (written === undefined ? "" : `\n${written} is written.`);
  return { text, json: inspection };
});
