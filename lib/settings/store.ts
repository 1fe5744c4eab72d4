import { z } from "zod";

import { expected, UserError } from "../errors.js";
import { defineSettings } from "./definition.js";

/** `store`: feature stores, looked at, checked, joined, and written for other programs. */
export const storeSettings = defineSettings({
  command: "store",
  summary: "Look at feature stores, verify them, merge parts, export them for other programs",
  description:
    "info tells what a store holds. verify compares every file with its digest, names those that are damaged, and ends " +
    "with exit code 2 if there are any. merge joins the parts that extract-features --shard made to the store of an " +
    "undivided run, byte for byte: the first folder is the new store. export writes .npy files (npy), VISSL's dump " +
    "(vissl), ImageNet-CoG's X_Y.pth (cog), or one safetensors file.",
  schema: z.strictObject({
    action: z
      .enum(["info", "verify", "merge", "export"])
      .describe("What to do")
      .meta({ positional: true, placeholder: "info|verify|merge|export" }),
    folders: z
      .array(z.string().min(1))
      .min(1)
      .describe("Folder of a store (with store.json in it); of merge: the new store, then its parts")
      .meta({ positional: true, placeholder: "DIR...", expected: "folders" }),
    to: z.enum(["npy", "vissl", "cog", "safetensors"]).optional().describe("Of export: the format"),
    out: z
      .string()
      .min(1)
      .optional()
      .describe("Of export: folder for the files; those of the same names are replaced")
      .meta({ placeholder: "DIR", expected: "a folder" }),
    layers: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe("Of export: layers of the store by name or glob; all where not given")
      .meta({ placeholder: "LAYER,...", expected: "layers of the store" }),
  }),
  examples: [
    {
      command: "npx frozen-eval store info features/mine/resnet50/photos/features_train",
      meaning: "Layers, images, space, and what they were made from.",
    },
    {
      command: "npx frozen-eval store verify features/mine/resnet50/photos/features_train",
      meaning: "Is every byte as it was written?",
    },
    {
      command:
        "npx frozen-eval store merge features/mine/resnet50/photos/features_train" +
        " features/mine/resnet50/photos/features_train_part1of2 features/mine/resnet50/photos/features_train_part2of2",
      meaning: "The parts that two machines extracted with --shard 1/2 and --shard 2/2.",
    },
    {
      command:
        "npx frozen-eval store export features/mine/resnet50/photos/features_train --to vissl --layers res5avg --out dump",
      meaning: "As VISSL's extraction would have dumped it.",
    },
  ],
  check: ({ action, folders, ...exporting }) => {
    if (action === "merge" && folders.length < 2) {
      throw expected("the new store and its parts", "store merge", folders, "store merge OUT PART PART ...");
    }
    if (action !== "merge" && folders.length > 1) throw expected("one store", `store ${action}`, folders);
    if (action === "export") {
      if (exporting.to === undefined) throw expected("npy, vissl, cog or safetensors", "--to", undefined);
      if (exporting.out === undefined) throw expected("a folder", "--out", undefined);
      return;
    }
    for (const [flag, value] of Object.entries(exporting)) {
      if (value === undefined) continue;
      throw new UserError(`Expected --${flag} with store export but received it with store ${action}`);
    }
  },
});
