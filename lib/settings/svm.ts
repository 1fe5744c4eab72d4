import { z } from "zod";

import { expected } from "../errors.js";
import { lowShotDefaults, svmDefaults } from "../protocols/svm/protocol.js";
import { svmCosts } from "../svm/costs.js";
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
  visslFields,
} from "./fields.js";

const group = { group: "SVMs" };
const lowShotGroup = { group: "Few images" };

/** `train-svm`: VISSL's SVMs on frozen layers. The defaults are its settings on VOC07 (protocols.md 1.6). */
export const svmSettings = defineSettings({
  command: "train-svm",
  ownProgram: true,
  summary: "Train linear SVMs on the layers of a frozen backbone and tell the average precision of each class",
  description:
    "One SVM a class against all others, at each cost, to the optimum. The cost of each class is chosen by " +
    "cross-validation on the training images. Images may have several labels, or one.",
  schema: z.strictObject({
    backbone: backboneField.optional(),
    data: dataField.optional(),
    features: featuresField,
    testFeatures: testFeaturesField,
    layers: layersField,
    transform: transformField.describe(
      "What is done to an image; not given, VISSL's resize(256)|resize(224x224) in the backbone's size, and the " +
        "normalization of its manifest",
    ),
    ...visslFields("transforms, taps and SVM settings"),
    out: outField("svm"),

    costs: z
      .array(z.number().positive())
      .default(svmDefaults.costs)
      .describe("Costs of an error, in the order in which the first of equally good ones is chosen")
      .meta({ ...group, placeholder: "X,..." }),
    costBase: z
      .number()
      .positive()
      .optional()
      .describe("Its powers are costs too, behind those of the list; for them alone give --costs []")
      .meta(group),
    costPowers: z
      .array(z.int())
      .min(2)
      .max(2)
      .optional()
      .describe("Which powers of the base: from the first to below the second, e.g. 4,20")
      .meta({ ...group, placeholder: "FROM,TO" }),
    loss: z
      .enum(["squared_hinge", "hinge", "logistic"])
      .default(svmDefaults.loss)
      .describe("Of a row at margin m: max(0, 1 - m)², max(0, 1 - m) or log(1 + exp(-m))")
      .meta(group),
    positiveWeight: z
      .number()
      .positive()
      .default(svmDefaults.positiveWeight)
      .describe("How many times as much an error on an image of the class costs")
      .meta(group),
    normalize: z
      .boolean()
      .default(svmDefaults.normalize)
      .describe("Divide features by their length: x / (length + 1e-5)")
      .meta(group),
    folds: z.int().min(2).default(svmDefaults.folds).describe("Folds of the cross-validation").meta(group),
    ignoredInTraining: z
      .enum(["negative", "drop"])
      .default(svmDefaults.ignoredInTraining)
      .describe("What labels of -1 (VOC: difficult) are in training; VISSL has them as negatives")
      .meta(group),
    classes: z
      .array(z.union([z.string().min(1), z.int().min(0)]))
      .min(1)
      .optional()
      .describe("Which classes, by name or by number from 0; all where not given")
      .meta({ ...group, placeholder: "CLASS,..." }),
    tolerance: z
      .number()
      .positive()
      .default(svmDefaults.tolerance)
      .describe("How far from its optimum each SVM may stop, as a part of the objective")
      .meta(group),

    lowShot: z
      .array(z.int().min(1))
      .min(1)
      .optional()
      .describe("Train on so many images of each class instead of all, e.g. 1,2,4,8,16,32,64,96")
      .meta({ ...lowShotGroup, placeholder: "K,..." }),
    samples: z
      .int()
      .min(1)
      .optional()
      .describe(
        `How often the images are drawn for each of these numbers; ${lowShotDefaults.samples} times where not given`,
      )
      .meta(lowShotGroup),
    lowShotTargets: z
      .string()
      .min(1)
      .optional()
      .describe("Folder of LAYER_sampleS_kK.npy, VISSL's or ours, where the images have been drawn before")
      .meta({ ...lowShotGroup, placeholder: "DIR", expected: "a folder" }),

    testFraction: z
      .number()
      .gt(0)
      .lt(1)
      .default(svmDefaults.testFraction)
      .describe("Part of all images that is reported on, where the data has neither test nor val split")
      .meta({ group: "Splits" }),
    splitSeed: z
      .int()
      .min(0)
      .default(svmDefaults.splitSeed)
      .describe("Seed of what is drawn: a test part, the images of --low-shot")
      .meta({ group: "Splits" }),

    ...extractionFields,
  }),
  examples: [
    {
      command:
        "npx train-svm --backbone models/mine/resnet50 --data voc07:VOC2007 --layers conv1,res2,res3,res4,res5 --out runs/voc07",
      meaning: "VISSL's protocol on VOC07, from images to mean AP.",
    },
    {
      command: "npx train-svm --features npy:train.npy,labels.npy --test-features npy:test.npy,test_labels.npy",
      meaning: "Features and labels of your own.",
    },
    {
      command: "npx train-svm --features vissl:extracted --layers res4,res5 --costs 0.1,1,10",
      meaning: "Two layers of what VISSL has extracted.",
    },
    {
      command: "npx train-svm --features vissl:extracted --layers res5 --low-shot 1,2,4,8 --samples 5",
      meaning: "From few images of each class, drawn five times.",
    },
    {
      command: "npx train-svm --config vissl/svm-voc07 --backbone models/mine/resnet50 --data voc07:VOC2007",
      meaning: "A published protocol.",
    },
  ],
  foreign: async (options) => (await import("../vissl/settings-layer.js")).visslSvmLayer(options),
  check: (settings) => {
    const { backbone, data, features, testFeatures, transform, vissl, overrides, lowShot, lowShotTargets, samples } =
      settings;
    if (lowShot === undefined && (lowShotTargets !== undefined || samples !== undefined)) {
      const beside = lowShotTargets === undefined ? "--samples" : "--low-shot-targets";
      throw expected("numbers of images", `--low-shot beside ${beside}`, undefined);
    }
    if (overrides !== undefined && vissl === undefined) {
      throw expected("--vissl FILE.yaml", "overrides", undefined, `Settings are flags here: not ${overrides[0]}.`);
    }
    checkFeatureSource({ backbone, data, features, testFeatures, transform });
    svmCosts(settings);
  },
});

export type SvmSettings = SettingsOf<typeof svmSettings>;
