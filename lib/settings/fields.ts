import { z } from "zod";

import type { Device } from "../backend/backend.js";
import type { ComputePrecision } from "../backend/half-precision.js";
import { expected, UserError } from "../errors.js";

/** Settings that several commands share, so that they are called and explained alike everywhere. */

export const backboneField = z
  .string()
  .min(1)
  .describe("Folder of the backbone: model.json, its weights and backbone.json")
  .meta({ placeholder: "DIR", expected: "a folder" });

export const dataField = z
  .string()
  .min(1)
  .describe("Labelled images as FORMAT:PLACE, e.g. folder:photos, csv:labels.csv, cifar10:DIR, mnist:DIR")
  .meta({ placeholder: "FORMAT:PLACE", expected: "FORMAT:PLACE" });

/** Where features are that have been extracted; in words, for the fields of commands. */
export const featurePlaces = "a feature store, npy:X,Y, svmlight:FILE, cog:DIR, or vissl:DIR";

export const featuresField = z
  .string()
  .min(1)
  .optional()
  .describe(`Features that are there, instead of backbone and data: ${featurePlaces}`)
  .meta({ placeholder: "DIR", expected: featurePlaces });

export const testFeaturesField = z
  .string()
  .min(1)
  .optional()
  .describe("With --features: where the test images are, if not in the same place")
  .meta({ placeholder: "DIR", expected: featurePlaces });

/** A tap by name or glob, with a pooling of one's own after a colon; or an entry of VISSL's, as it is. */
const layerField = z
  .union([
    z.string().min(1),
    z.tuple([z.string().min(1), z.tuple([z.string().min(1), z.array(z.unknown()).optional()])]),
  ])
  .meta({ expected: 'a layer (block4, res*, all, "res4:avg_pool(8x8,3,0)") or [layer, [pooling, [arguments]]]' });

export const layersField = z
  .array(layerField)
  .min(1)
  .default(["all"])
  .describe("Layers by name or glob, or all; with a pooling of your own after a colon: res4:avg_pool(8x8,3,0)")
  .meta({ placeholder: "LAYER,..." });

export const transformField = z
  .string()
  .min(1)
  .optional()
  .describe(
    "What is done to an image, instead of what the backbone's manifest says, e.g. resize(256)|center_crop(224)|normalize(imagenet)",
  )
  .meta({ placeholder: "STEP|STEP|..." });

/** @param counts what of VISSL's file counts, in words. */
export function visslFields(counts: string) {
  return {
    vissl: z
      .string()
      .min(1)
      .optional()
      .describe(`A configuration of VISSL's, as it is: its ${counts} count where no flag or setting says otherwise`)
      .meta({ placeholder: "FILE.yaml", expected: "a file" }),
    overrides: z
      .array(z.string().min(1))
      .optional()
      .describe("With --vissl, as behind VISSL's programs: config.A.B=VALUE, +config.A.NEW=VALUE, +config/folder=file")
      .meta({ positional: true, placeholder: "OVERRIDE...", expected: "overrides such as config.A.B=1" }),
  };
}

/** @param folder of a run's results below its model and data. */
export function outField(folder: string) {
  return z
    .string()
    .min(1)
    .optional()
    .describe(`Folder of the results; runs/<title>-<arch>-<data>/${folder} where not given`)
    .meta({ placeholder: "DIR", expected: "a folder" });
}

export const deviceField = z
  .enum(["auto", "cuda", "native", "wasm", "webgpu"] satisfies (Device | "auto")[])
  .default("auto")
  .describe("What computes; auto takes the first that works of cuda, native, wasm; one that is named must be there");

export const threadsField = z
  .int()
  .min(1)
  .optional()
  .describe("Threads of TensorFlow; as many as the machine has cores where not given");

/** How images are read and pass through the backbone. */
export const extractionFields = {
  featuresRoot: z
    .string()
    .min(1)
    .default("features")
    .describe("Folder of the feature stores; what is found in it is not computed again")
    .meta({ group: "Features", placeholder: "DIR", expected: "a folder" }),
  precision: z
    .enum(["float32", "float16"])
    .default("float32")
    .describe("Numbers in the feature store")
    .meta({ group: "Features" }),
  computePrecision: z
    .enum(["float32", "bfloat16", "float16"] satisfies ComputePrecision[])
    .default("float32")
    .describe(
      "In which the backbone's convolutions and matrix products are computed; half precision where the processor has it, " +
        "and what it changes is measured on the first images",
    )
    .meta({ group: "Features" }),
  imageBatchSize: z
    .int()
    .min(1)
    .default(16)
    .describe("Images that pass through the backbone at once")
    .meta({ group: "Features" }),
  onBadImage: z
    .enum(["stop", "skip"])
    .default("stop")
    .describe("An image that cannot be read: stop with the list of them, or skip them and record it")
    .meta({ group: "Features" }),
  workers: z
    .int()
    .min(1)
    .optional()
    .describe("Threads that read images; chosen for the machine where not given")
    .meta({ group: "Machine" }),
  lookAhead: z
    .int()
    .min(1)
    .default(4)
    .describe("Batches of images that are read before they are needed")
    .meta({ group: "Machine" }),
  processes: z
    .int()
    .min(1)
    .optional()
    .describe(
      "Processes side by side that pass images through the backbone; chosen for the machine, or by measuring, where not given",
    )
    .meta({ group: "Machine" }),
  device: deviceField.meta({ group: "Machine" }),
  threads: threadsField.meta({ group: "Machine" }),
};

export const dryRunField = z.boolean().default(false).describe("Only say how much work it is, from one measured batch");

/** For settings that the schema lets be absent because another may stand in their place. */
export function need<T>(value: T | undefined, field: z.ZodType, flag: string, hint?: string): asserts value is T {
  if (value === undefined) throw expected(field.meta()?.expected ?? "a value", flag, undefined, hint);
}

/** For settings that have no meaning beside another one. */
export function refuseBoth(a: [flag: string, value: unknown], b: [flag: string, value: unknown], hint: string): void {
  if (a[1] !== undefined && b[1] !== undefined) {
    throw new UserError(`Expected either ${a[0]} or ${b[0]} but received both`, { hint });
  }
}

/**
 * Features are extracted already, or made here from a backbone and data: one of the two.
 *
 * @param options.features where they are; undefined where they are made here.
 * @throws UserError where something is missing, or both are given.
 */
export function checkFeatureSource(options: {
  features?: string;
  testFeatures?: string;
  backbone?: string;
  data?: string;
  transform?: string;
}): void {
  const { features, testFeatures, backbone, data, transform } = options;
  if (features === undefined) {
    if (testFeatures !== undefined) throw expected(featurePlaces, "--features beside --test-features", features);
    const hint = "Or give --features, if they have been extracted.";
    need(backbone, backboneField, "--backbone", hint);
    need(data, dataField, "--data", hint);
    return;
  }
  const hint = "Features that are there have passed through their backbone already.";
  refuseBoth(["--features", features], ["--backbone", backbone], hint);
  refuseBoth(["--features", features], ["--data", data], hint);
  refuseBoth(["--features", features], ["--transform", transform], hint);
}
