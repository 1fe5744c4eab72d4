import { z } from "zod";

import { logregDefaults } from "../protocols/cog/protocol.js";
import { readNumbers } from "../search/range.js";
import { defineSettings, type SettingsOf } from "./definition.js";
import {
  backboneField,
  checkFeatureSource,
  dataField,
  extractionFields,
  featuresField,
  layersField,
  outField,
  testFeaturesField,
  transformField,
} from "./fields.js";
import { numbers } from "./numbers.js";

const group = { group: "Logistic regression" };

/** Settings of ImageNet-CoG's logistic regression, which `eval-logreg` and the grid of `cog` share. */
export const logregFields = {
  methods: z
    .array(z.enum(logregDefaults.methods))
    .min(1)
    .optional()
    .describe(
      "Who finds the regression: sgd as CoG does; lbfgs looks for the least of the same loss, in a small part of the " +
        "time. Not given, both side by side; sgd with --as-published",
    )
    .meta({ ...group, placeholder: "NAME,..." }),
  search: z
    .enum(["tpe", "random", "grid", "halving"])
    .default(logregDefaults.search)
    .describe("How settings are searched: tpe as CoG does; halving trains most of them briefly")
    .meta(group),
  trials: z.int().min(1).default(logregDefaults.trials).describe("Settings that are tried").meta(group),
  lr: numbers(z.number().positive(), "numbers above 0")
    .default(["log(0.1,100)"])
    .describe("Learning rates: a range that is searched, or values; one rate and one decay are taken as they are")
    .meta(group),
  weightDecay: numbers(z.number().min(0), "numbers of at least 0")
    .default(["log(1e-12,1e-4)"])
    .describe("Weight decays of weights and biases, likewise")
    .meta(group),
  penalties: numbers(z.number().positive(), "numbers above 0")
    .default(["log(1e-9,1e-3,19)"])
    .describe("Penalties of lbfgs, which are weight decays: values, or a range with its number of points")
    .meta(group),
  epochs: z.int().min(1).default(logregDefaults.epochs).describe("Passes over the training images").meta(group),
  batchSize: z
    .int()
    .min(1)
    .default(logregDefaults.batchSize)
    .describe("Images a step; all where there are fewer")
    .meta(group),
  normalize: z
    .boolean()
    .default(logregDefaults.normalize)
    .describe("Divide features by their length: x / max(length, 1e-12)")
    .meta(group),
  valFraction: z
    .number()
    .gt(0)
    .lt(1)
    .default(logregDefaults.valFraction)
    .describe("Part of the training images of each class that is held out to choose settings on, rounded down")
    .meta(group),
  asPublished: z
    .boolean()
    .default(logregDefaults.asPublished)
    .describe(
      "CoG's rules where ours differ: of few shots settings are chosen on a fifth of all images; a class of fewer than " +
        "five images is for the choice alone; trials run one after the other; sgd alone",
    )
    .meta(group),
};

export const seedsField = z
  .array(z.int().min(0))
  .min(1)
  .default(logregDefaults.seeds)
  .describe("Each is a run of its own: what is held out and drawn, search, initial weights, orders")
  .meta({ ...group, placeholder: "N,..." });

/** `eval-logreg`: ImageNet-CoG's logistic regression. The defaults are its settings (protocols.md 2.4). */
export const logregSettings = defineSettings({
  command: "eval-logreg",
  summary: "Train ImageNet-CoG's logistic regression on frozen features, its learning rate and weight decay searched",
  description:
    "One linear layer on features of unit length, trained by SGD. Settings are searched on a fifth of the training " +
    "images of each class; then it is trained on all of them, for each seed anew, and the last epoch is reported. Beside " +
    "it the least of the same loss, by L-BFGS; the better one by validation is named.",
  schema: z.strictObject({
    backbone: backboneField.optional(),
    data: dataField.optional(),
    features: featuresField,
    testFeatures: testFeaturesField,
    layers: layersField,
    transform: transformField.describe(
      "What is done to an image; not given, CoG's resize(224,bicubic)|center_crop(224) in the backbone's size, and the " +
        "normalization of its manifest",
    ),
    out: outField("eval_logreg[-N<shots>]"),

    shots: z
      .int()
      .min(1)
      .optional()
      .describe("Images of each class that are trained on; all where not given")
      .meta(group),
    seeds: seedsField,
    ...logregFields,
    testFraction: z
      .number()
      .gt(0)
      .lt(1)
      .default(logregDefaults.testFraction)
      .describe("Part of all images that is reported on, where the data has neither test nor val split")
      .meta({ group: "Splits" }),

    ...extractionFields,
  }),
  examples: [
    {
      command: "npx frozen-eval eval-logreg --features cog:models/sup/resnet50/cog_l1",
      meaning: "On features that CoG's extraction wrote.",
    },
    {
      command: "npx frozen-eval eval-logreg --backbone models/sup/resnet50 --data cog_l1:imagenet21k --layers res5avg",
      meaning: "From images: the first level of concepts, on the last layer.",
    },
    {
      command: "npx frozen-eval eval-logreg --features cog:models/sup/resnet50/cog_l1 --methods lbfgs",
      meaning: "The fast way alone.",
    },
    {
      command: "npx frozen-eval eval-logreg --features cog:models/sup/resnet50/cog_l1 --shots 8 --as-published",
      meaning: "Eight images of each class, by CoG's rules.",
    },
    {
      command:
        "npx frozen-eval eval-logreg --features features/mine/resnet50/photos --lr 5 --weight-decay 1e-5 --seeds 22",
      meaning: "One setting, nothing searched.",
    },
  ],
  check: ({ backbone, data, features, testFeatures, transform, ...settings }) => {
    checkFeatureSource({ backbone, data, features, testFeatures, transform });
    searchedOf(settings);
  },
});

export type LogregSettings = SettingsOf<typeof logregSettings>;

/** What people write of rates, decays and penalties, as numbers and ranges. */
export function searchedOf({ lr, weightDecay, penalties }: Pick<LogregSettings, "lr" | "weightDecay" | "penalties">) {
  return {
    lr: readNumbers(lr, "--lr"),
    weightDecay: readNumbers(weightDecay, "--weight-decay"),
    penalties: readNumbers(penalties, "--penalties"),
  };
}
