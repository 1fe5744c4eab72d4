import { z } from "zod";

import { parsePart } from "../features/store-part.js";
import { defineSettings, type SettingsOf } from "./definition.js";
import {
  backboneField,
  dataField,
  dryRunField,
  extractionFields,
  layersField,
  refuseBoth,
  transformField,
} from "./fields.js";
import { checkLaunch, launchFields } from "./launch.js";

/** `extract-features`: the left half of every evaluation. */
export const extractionSettings = defineSettings({
  command: "extract-features",
  summary: "Run images through a backbone once and keep the features of its layers",
  description:
    "Writes a feature store: one folder a layer, with plain .npy files. Other commands find it by themselves. " +
    "A run that was stopped goes on where it was; layers that are already there are not computed again.",
  schema: z.strictObject({
    backbone: backboneField,
    data: dataField,
    layers: layersField,
    transform: transformField,
    splits: z
      .array(z.enum(["train", "val", "test", "all"]))
      .min(1)
      .optional()
      .describe("Splits to extract; every split that the data has where not given"),
    shard: z
      .string()
      .min(1)
      .optional()
      .describe("Extract one part of each split: 2/8 is the second of eight; store merge joins the parts")
      .meta({ placeholder: "I/N", expected: "a part, e.g. 2/8" }),
    ...launchFields,
    ...extractionFields,
    dryRun: dryRunField,
  }),
  examples: [
    {
      command: "npx frozen-eval extract-features --backbone models/mine/resnet50 --data folder:photos",
      meaning: "All layers of all splits.",
    },
    {
      command:
        "npx frozen-eval extract-features --backbone models/mine/resnet50 --data csv:labels.csv" +
        ' --layers "res5avg,res4:avg_pool(8x8,3,0)" --precision float16',
      meaning: "Two layers, one with a pooling of your own, in half the space.",
    },
    {
      command: "npx frozen-eval extract-features --backbone models/mine/resnet50 --data folder:photos --shard 2/8",
      meaning: "The second of eight parts, each on a machine of its own.",
    },
    {
      command: "npx frozen-eval extract-features --backbone models/mine/resnet50 --data folder:photos --launch local:4",
      meaning: "Four processes side by side, each with a quarter of the cores.",
    },
    {
      command:
        "npx frozen-eval extract-features --backbone models/mine/resnet50 --data folder:photos" +
        " --launch slurm:16 --slurm-partition gpu --slurm-gpus 1 --slurm-time 04:00:00",
      meaning: "Sixteen jobs of Slurm's, followed and merged.",
    },
  ],
  check: ({ shard, ...settings }) => {
    const { launch } = settings;
    refuseBoth(["--shard", shard], ["--launch", launch], "The jobs that --launch starts take a shard each.");
    if (shard !== undefined) parsePart(shard);
    checkLaunch(settings);
  },
});

export type ExtractionSettings = SettingsOf<typeof extractionSettings>;
