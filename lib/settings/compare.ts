import { z } from "zod";

import { defineSettings } from "./definition.js";

/** `compare`: runs of one protocol on the same images, side by side. */
export const compareSettings = defineSettings({
  command: "compare",
  summary: "Set runs on the same images side by side, with paired tests of their differences",
  description:
    "Runs must share protocol, data, splits, reported images and seeds; where they differ, the comparison is refused " +
    "and says where. Backbones, layers, heads and the sweep may differ. Of two runs the second stands against the " +
    "first; of more, all stand against the best one, with Holm's correction.",
  schema: z.strictObject({
    runs: z
      .array(z.string().min(1))
      .min(2)
      .describe("Folders of two runs or more, as eval-linear leaves them")
      .meta({ positional: true, placeholder: "RUN...", expected: "folders of two runs or more" }),
    out: z
      .string()
      .min(1)
      .optional()
      .describe("Folder for compare.json, compare.md, compare.svg and compare.png; nothing is written where not given")
      .meta({ placeholder: "DIR", expected: "a folder" }),
    seed: z.int().min(0).default(0).describe("Seed of the bootstrap"),
  }),
  examples: [
    {
      command: "npx frozen-eval compare runs/moco-resnet50-photos/linear runs/swav-resnet50-photos/linear",
      meaning: "Is the second better than the first, on these images?",
    },
    {
      command: "npx frozen-eval compare runs/*-photos/linear --out runs/compared",
      meaning: "All runs on one data set, with table and figure.",
    },
  ],
});
