import { z } from "zod";

import { defineSettings } from "./definition.js";

/** `print-results`: CoG's `print_results.py`. */
export const printResultsSettings = defineSettings({
  command: "print-results",
  summary: "Tell mean and spread over the seeds of ImageNet-CoG's result folders, its own or ours",
  description: "Reads seed*/final*/logs.pkl, as CoG's print_results.py does; nothing in a pickle is executed.",
  schema: z.strictObject({
    folders: z
      .array(z.string().min(1))
      .min(1)
      .describe("Folders that hold a folder for each seed")
      .meta({ positional: true, placeholder: "DIR...", expected: "folders" }),
    epochs: z.int().min(1).default(100).describe("Epochs of a seed that is finished; others are left out"),
  }),
  examples: [
    {
      command: "npx frozen-eval print-results runs/sup-resnet50-cog_l1/eval_logreg",
      meaning: "One run of eval-logreg.",
    },
  ],
});
