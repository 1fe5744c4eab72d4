import { z } from "zod";

import { expected, UserError } from "../errors.js";
import { defineSettings } from "./definition.js";

/** `zoo`: published checkpoints. */
export const zooSettings = defineSettings({
  command: "zoo",
  summary: "List published checkpoints, or fetch one and convert it",
  description:
    "get fetches into the cache folder, goes on where an earlier fetch was cut, compares the digest where one is " +
    "published, and converts. Names are <title>_<arch>; those of ImageNet-CoG work too. Accuracies are the publishers' own.",
  schema: z.strictObject({
    action: z
      .enum(["list", "get"])
      .describe("What to do: list the checkpoints, or get one")
      .meta({ positional: true, placeholder: "list|get" }),
    name: z
      .string()
      .min(1)
      .optional()
      .describe("Of get: the checkpoint, by its name in the list")
      .meta({ positional: true, placeholder: "NAME", expected: "a name of the zoo" }),
    match: z
      .string()
      .min(1)
      .optional()
      .describe("Of list: only those whose name, architecture, publisher or licence matches, e.g. *resnet50 or DINO*")
      .meta({ placeholder: "GLOB" }),
    out: z
      .string()
      .min(1)
      .default("models")
      .describe("Of get: folder of all backbones; the new one goes to <title>/<arch> in it")
      .meta({ placeholder: "DIR", expected: "a folder" }),
  }),
  examples: [
    { command: "npx frozen-eval zoo list", meaning: "All of them." },
    { command: "npx frozen-eval zoo list --match *resnet50", meaning: "The ResNet-50s." },
    { command: "npx frozen-eval zoo get mocov2-800ep_resnet50", meaning: "MoCo v2, to models/mocov2-800ep/resnet50." },
  ],
  check: ({ action, name, match }) => {
    if (action === "get" && name === undefined) {
      throw expected("a name of the zoo", "NAME", undefined, 'The names: "npx frozen-eval zoo list".');
    }
    if (action === "list" && name !== undefined) {
      throw new UserError(`Expected no name after list but received ${JSON.stringify(name)}`, {
        hint: `npx frozen-eval zoo get ${name}, or: npx frozen-eval zoo list --match ${name}`,
      });
    }
    if (action === "get" && match !== undefined) {
      throw new UserError("Expected --match with list but received it with get", {
        hint: "get takes one name of the list.",
      });
    }
  },
});
