import { z } from "zod";

import { expected, UserError } from "../errors.js";
import type { Schedule } from "../optim/schedule.js";
import { defineSettings, type SettingsOf } from "./definition.js";
import {
  backboneField,
  dataField,
  dryRunField,
  extractionFields,
  layersField,
  need,
  refuseBoth,
  transformField,
} from "./fields.js";

/** VISSL's names of the same heads are understood too. */
const headAliases: Record<string, string> = { mlp: "fc", eval_mlp: "bn_fc" };

const headField = z.preprocess(
  (name) => (typeof name === "string" ? (headAliases[name] ?? name) : name),
  z.enum(["fc", "bn_fc"]),
);

const optimizerFields = z
  .strictObject({
    lr: z
      .array(z.number().positive())
      .min(1)
      .default([0.003, 0.01, 0.03, 0.1, 0.3])
      .describe("Learning rates; every one is tried with every weight decay"),
    weightDecay: z.array(z.number().min(0)).min(1).default([0, 5e-4]).describe("Weight decays (not of batch norm)"),
    momentum: z.number().min(0).lt(1).default(0.9).describe("Momentum of SGD"),
    nesterov: z.boolean().default(true).describe("Nesterov's momentum"),
  })
  .prefault({})
  .meta({ group: "Training" });

const scheduleFields = z
  .strictObject({
    kind: z
      .enum(["multistep", "cosine", "constant"])
      .default("multistep")
      .describe("How the learning rate falls")
      .meta({ flag: "schedule" }),
    milestones: z
      .array(z.number().positive())
      .optional()
      .describe("multistep: epochs after which the rate is multiplied by gamma; 2/7, 4/7, 6/7 of all where not given"),
    gamma: z.number().positive().max(1).default(0.1).describe("multistep: the factor"),
    per: z
      .enum(["epoch", "step"])
      .default("epoch")
      .describe("cosine: whether the learning rate falls between epochs or at every step")
      .meta({ flag: "schedule-per" }),
  })
  .prefault({})
  .meta({ group: "Training" });

/**
 * `eval-linear`: linear heads on frozen layers. The defaults are VISSL's linear evaluation (protocols.md 1.1: SGD with
 * Nesterov's momentum 0.9, 28 epochs, ×0.1 after 8, 16 and 24, 256 images a step), with a sweep of learning rate ×
 * weight decay, for no single one suits all data; `configs/vissl/linear.yaml` fixes them.
 */
export const linearSettings = defineSettings({
  command: "eval-linear",
  ownProgram: true,
  summary: "Train linear heads on the layers of a frozen backbone and tell how well each separates the classes",
  description:
    "All layers, heads, learning rates, weight decays and seeds are trained in one pass over the features. " +
    "The best setting of each head is chosen on a part of the training images, and reported on images that took no " +
    "part in the choice.",
  schema: z.strictObject({
    backbone: backboneField.optional(),
    data: dataField.optional(),
    features: z
      .string()
      .min(1)
      .optional()
      .describe(
        "Features that are there, instead of backbone and data: a feature store, npy:X,Y, or vissl:DIR; " +
          "or live, with backbone and data: training images are augmented and pass through the backbone in every epoch",
      )
      .meta({ placeholder: "DIR|live", expected: "a feature store, npy:X,Y, vissl:DIR, or live" }),
    views: z
      .int()
      .min(1)
      .optional()
      .describe("Augmented views of each training image, extracted once; every epoch takes one of them")
      .meta({ expected: "an integer of at least 1" }),
    trainTransform: z
      .string()
      .min(1)
      .optional()
      .describe(
        "What is done to a training image with --features live or --views; not given, a random resized crop of the " +
          "backbone's size, a flip for every other image, and the normalization of its own transform",
      )
      .meta({ placeholder: "STEP|STEP|..." }),
    layers: layersField,
    transform: transformField,
    out: z
      .string()
      .min(1)
      .optional()
      .describe("Folder of the results; runs/<title>-<arch>-<data>/linear where not given")
      .meta({ placeholder: "DIR", expected: "a folder" }),
    dryRun: dryRunField,

    heads: z
      .array(headField)
      .min(1)
      .default(["fc", "bn_fc"])
      .describe("fc is a linear layer, bn_fc has batch norm before it (VISSL calls them mlp and eval_mlp)")
      .meta({ group: "Training" }),
    optimizer: optimizerFields,
    schedule: scheduleFields,
    epochs: z.int().min(1).default(28).describe("Passes over the training images").meta({ group: "Training" }),
    batchSize: z.int().min(2).default(256).describe("Images a step").meta({ group: "Training" }),
    seeds: z
      .array(z.int().min(0))
      .min(1)
      .default([0])
      .describe("Each is a run of its own: initial weights and order of images; the spread between them is told")
      .meta({ group: "Training" }),

    valFraction: z
      .number()
      .min(0)
      .lt(1)
      .default(0.1)
      .describe("Part of the training images that is held out, class by class, to choose settings on")
      .meta({ group: "Splits" }),
    testFraction: z
      .number()
      .gt(0)
      .lt(1)
      .default(0.2)
      .describe("Part of all images that is reported on, where the data has neither test nor val split")
      .meta({ group: "Splits" }),
    splitSeed: z.int().min(0).default(0).describe("Seed of the parts that are drawn").meta({ group: "Splits" }),
    selectOn: z
      .enum(["held-out", "val"])
      .optional()
      .describe("Where settings are chosen; val where the data has it beside test, else held-out training images")
      .meta({ group: "Splits" }),
    reportOn: z
      .enum(["test", "val"])
      .optional()
      .describe("Split that is reported on; test where the data has one, else val, else a drawn part")
      .meta({ group: "Splits" }),

    ...extractionFields,
  }),
  examples: [
    {
      command: "npx eval-linear --backbone models/mine/resnet50 --data folder:photos",
      meaning: "Every layer, on a folder of class folders.",
    },
    {
      command:
        "npx eval-linear --backbone models/mine/resnet50 --data csv:labels.csv --layers res4,res5avg --seeds 0,1,2",
      meaning: "Two layers, with the spread over three seeds.",
    },
    {
      command: "npx eval-linear --features features/mine/resnet50/photos --heads fc --lr 0.1 --weight-decay 0",
      meaning: "Features that are there, and one setting.",
    },
    {
      command: "npx eval-linear --backbone models/mine/resnet50 --data folder:photos --features live",
      meaning: "A new random crop and flip of every training image in every epoch.",
    },
    {
      command: "npx eval-linear --config vissl/linear --backbone models/mine/resnet50 --data folder:imagenet",
      meaning: "A published protocol.",
    },
  ],
  check: ({ backbone, data, features, views, transform, trainTransform, optimizer }) => {
    if (features === undefined || features === "live") {
      const hint = "Or give --features, if they have been extracted.";
      need(backbone, backboneField, "--backbone", hint);
      need(data, dataField, "--data", hint);
    } else {
      const hint = "Features that are there have passed through their backbone already.";
      refuseBoth(["--features", features], ["--backbone", backbone], hint);
      refuseBoth(["--features", features], ["--data", data], hint);
      refuseBoth(["--features", features], ["--transform", transform], hint);
    }
    const once = "Views are extracted once; live features are drawn anew in every epoch.";
    if (features === "live") refuseBoth(["--features live", features], ["--views", views], once);
    else
      refuseBoth(["--features", features], ["--views", views], "Views are made from images: give backbone and data.");
    if (trainTransform !== undefined && features !== "live" && views === undefined) {
      throw new UserError("Expected --features live or --views beside --train-transform but received neither", {
        hint: "Without them training images are transformed as all others are: --transform.",
      });
    }
    if (optimizer.nesterov && optimizer.momentum === 0) {
      throw expected("a number above 0", "--momentum", 0, "Nesterov's momentum needs one; or give --no-nesterov.");
    }
  },
});

export type LinearSettings = SettingsOf<typeof linearSettings>;

/**
 * The schedule as the protocol takes it. Where no milestones are given, they stand where VISSL's 8, 16 and 24 of 28
 * epochs do (and 24, 48, 72 of 84), in proportion.
 */
export function scheduleOf({ schedule, epochs }: Pick<LinearSettings, "schedule" | "epochs">): Schedule {
  const { kind, gamma, per } = schedule;
  switch (kind) {
    case "constant":
      return { kind };
    case "cosine":
      return { kind, per };
    case "multistep":
      return { kind, gamma, milestones: schedule.milestones ?? proportional(epochs) };
  }
}

function proportional(epochs: number): number[] {
  const milestones = [2, 4, 6].map((sevenths) => Math.round((epochs * sevenths) / 7));
  return [...new Set(milestones)].filter((epoch) => epoch > 0);
}
