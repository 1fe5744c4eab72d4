import { z } from "zod";

import { expected, UserError } from "../errors.js";
import { defineSettings, type SettingsOf } from "./definition.js";
import {
  backboneField,
  checkFeatureSource,
  dataField,
  dryRunField,
  extractionFields,
  featurePlaces,
  layersField,
  outField,
  refuseBoth,
  testFeaturesField,
  transformField,
  visslFields,
} from "./fields.js";
import { checkTraining, trainingFields } from "./training.js";

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
        `Features that are there, instead of backbone and data: ${featurePlaces}; ` +
          "or live, with backbone and data: training images are augmented and pass through the backbone in every epoch; " +
          "or stored, the default: they pass once, without augmentation or in --views",
      )
      .meta({ placeholder: "DIR|live|stored", expected: `${featurePlaces}; live, or stored` }),
    testFeatures: testFeaturesField,
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
    ...visslFields("transforms, taps, heads, loss, optimizer and schedule"),
    out: outField("linear"),
    dryRun: dryRunField,

    ...trainingFields,

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
    processes: z
      .int()
      .min(1)
      .optional()
      .describe(
        "Processes side by side that pass images through the backbone and train heads; chosen for the machine where not given",
      )
      .meta({ group: "Machine" }),
    checkpointEvery: z
      .int()
      .min(1)
      .optional()
      .describe("Epochs between two savings of the training; every 20 seconds where not given")
      .meta({ group: "Machine" }),
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
  foreign: async (options) => (await import("../vissl/settings-layer.js")).visslLayer(options),
  check: (settings) => {
    const { backbone, data, features, testFeatures, views, transform, trainTransform, vissl, overrides } = settings;
    if (overrides !== undefined && vissl === undefined) {
      throw expected("--vissl FILE.yaml", "overrides", undefined, `Settings are flags here: not ${overrides[0]}.`);
    }
    const extracted = features === "live" || features === "stored" ? undefined : features;
    checkFeatureSource({ backbone, data, features: extracted, testFeatures, transform });
    const once = "Views are extracted once; live features are drawn anew in every epoch.";
    if (features === "live") refuseBoth(["--features live", features], ["--views", views], once);
    else if (features !== "stored")
      refuseBoth(["--features", features], ["--views", views], "Views are made from images: give backbone and data.");
    // Whoever says "stored" knows that images pass once, so that a protocol's train transform may stand beside it.
    if (trainTransform !== undefined && features !== "live" && features !== "stored" && views === undefined) {
      throw new UserError("Expected --features live or --views beside --train-transform but received neither", {
        hint: "Without them training images are transformed as all others are: --transform.",
      });
    }
    checkTraining(settings);
  },
});

export type LinearSettings = SettingsOf<typeof linearSettings>;
