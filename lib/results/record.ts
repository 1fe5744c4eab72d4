import { stat } from "node:fs/promises";
import path from "node:path";

import { z } from "zod";

import { expected } from "../errors.js";
import { readJson } from "../files.js";
import { checked } from "./schema.js";

const count = z.number().int().nonnegative();
const fraction = z.number().min(0).max(1);
const instant = z.iso.datetime({ error: "expected a date and time of ISO 8601 in UTC" });

/** One number a seed, in the order of the record's seeds, and what they come to. Made by {@link spread}. */
const spreadSchema = z.strictObject({
  mean: z.number(),
  /** Population standard deviation (divided by n, not n − 1), as the published programs have it; 0 for one seed. */
  std: z.number().nonnegative(),
  values: z.array(z.number()).min(1),
});

/** What was tried or chosen: `{ lr: 0.1, weightDecay: 0.0001 }`. */
const settingSchema = z.record(z.string(), z.union([z.number(), z.string(), z.boolean()]));

const trialSchema = z.strictObject({
  setting: settingSchema,
  /** The selection metric; null where the trial diverged for some seed, or where there was nothing to choose. */
  selection: spreadSchema.nullable(),
  diverged: z.boolean(),
  /** Whole passes over the training images, the fewest of its seeds; of protocols that train so. */
  epochsRun: count.optional(),
});

/** One class of one layer, where each class is a problem of its own (`train-svm`). */
const classResultSchema = z.strictObject({
  name: z.string(),
  /** Images that show it. */
  positives: z.strictObject({ train: count, test: count }),
  /** The cost that was chosen: of the highest `crossval`, the first of equal ones. */
  cost: z.number().positive(),
  /** Average precision on the images that are reported: area under the envelope of all points, and mean of eleven. */
  ap: fraction,
  ap11: fraction,
  /** Mean step-sum average precision of the held-out folds, a number a trial (cost). */
  crossval: z.array(fraction).min(1),
  /**
   * How far each solution is from its optimum at most, a part of the objective: a list a trial (cost), in which each
   * fold has a number and all rows have the last.
   */
  gaps: z.array(z.array(z.number())).min(1),
  /** Whether all of them reached the tolerance. */
  converged: z.boolean(),
});

/** SVMs of one layer from k images of each class, drawn several times; a sample is what elsewhere is a seed. */
const lowShotSchema = z.strictObject({
  k: z.number().int().positive(),
  /** Images that were drawn, a number a sample. */
  images: z.array(count).min(1),
  /** The cost that was chosen on the drawn images, one a sample; `metrics` tells what it gives. */
  costs: z.array(z.number().positive()).min(1),
  /** Mean AP on the images that are reported, a number a trial (cost). */
  byCost: z.array(spreadSchema).min(1),
  /** The cost of the highest mean in `byCost`. It was chosen on the images that are reported: the number is too good. */
  oracle: z.strictObject({ cost: z.number().positive(), meanAp: spreadSchema }),
  /** How far the worst solution is from its optimum at most, a part of the objective. */
  gap: z.number(),
});

/** Logistic regressions of one layer, whose settings each seed searches for itself. */
const logregSchema = z.strictObject({
  /** Images of each class that were trained on; null for all. */
  shots: z.number().int().positive().nullable(),
  /** In the order of the record's seeds. */
  seeds: z
    .array(
      z.strictObject({
        seed: z.number().int(),
        /** That it was trained on in the end. */
        images: count,
        chosen: settingSchema,
        /** In the order in which they were tried; null where training diverged. */
        trials: z.array(z.strictObject({ setting: settingSchema, selection: fraction.nullable() })),
        /**
         * Where the least of the loss was looked for: what a further step would gain in the last training, as a part of
         * the loss with its penalty, and passes over images, the choice's among them.
         */
        solution: z.strictObject({ gap: z.number(), passes: count }).optional(),
      }),
    )
    .min(1),
  /** Of several methods on one layer: whether this one has the highest `selection`, the first of equals. */
  better: z.boolean().optional(),
});

/** One layer under one head. */
const layerResultSchema = z.strictObject({
  /** As asked for: a tap, or a tap with a pooling, e.g. `res4:avg_pool(8x8,3,0)`. */
  layer: z.string().min(1),
  /** Of one image: [C, H, W] for pooled maps, [C] for vectors. */
  shape: z.array(z.number().int().positive()).min(1),
  /** Numbers an image: the product of `shape`. */
  width: z.number().int().positive(),
  /** `fc`, `bn_fc`: a short name that may stand in a file's name. */
  head: z.string().regex(/^[A-Za-z0-9_-]+$/, { error: "expected letters, digits, _ and -" }),
  /** Trained numbers of the head. */
  parameters: count,
  chosen: settingSchema,
  /** On the split that is reported; fractions, not percent. */
  metrics: z.strictObject({
    /** Of data with one label an image. */
    top1: spreadSchema.optional(),
    top5: spreadSchema.optional(),
    /** Of data with several: all-points AP, the mean over the classes with a positive. */
    meanAp: spreadSchema.optional(),
    /** The same by PASCAL VOC's eleven points. */
    meanAp11: spreadSchema.optional(),
  }),
  /** The selection metric of the chosen trial; null where there was one trial, and nothing to choose. */
  selection: spreadSchema.nullable(),
  trials: z.array(trialSchema).min(1),
  /** Whether training had come to rest when it ended; the protocol says how it judges. */
  converged: z.boolean(),
  /** Of protocols that solve each class by itself: what became of each. */
  classes: z.array(classResultSchema).min(1).optional(),
  /** Of protocols that draw small training sets: one size. */
  lowShot: lowShotSchema.optional(),
  /** Of logistic regression: what each seed tried and chose. */
  logreg: logregSchema.optional(),
  /** Sentences that a reader of the number should know, e.g. that the best learning rate was the largest tried. */
  notes: z.array(z.string()),
});

/** `result.json`: all that tables, figures, reports and comparisons are made from. Told in docs/file-formats.md. */
const recordSchema = z
  .strictObject({
    format: z.literal(1),
    protocol: z.strictObject({ id: z.string().min(1), version: z.number().int().positive() }),
    /** Every setting with its value, defaults filled in. */
    settings: z.record(z.string(), z.json()),
    /** null where features of one's own were evaluated. */
    backbone: z
      .strictObject({
        title: z.string().min(1),
        arch: z.string().min(1),
        /** sha256 of graph and weights. */
        digest: z.string().min(1),
        transform: z.string(),
        /** Where training images were augmented: what was done to them. */
        trainTransform: z.string().optional(),
        precision: z.string(),
        /** Where products were not computed in float32: in what, and the relative difference in each layer. */
        computePrecision: z.string().optional(),
        precisionLoss: z.record(z.string(), z.number()).optional(),
      })
      .nullable(),
    data: z.strictObject({
      /** As the user wrote it, e.g. `folder:photos`. */
      spec: z.string(),
      name: z.string().min(1),
      /** sha256 of the listing. */
      digest: z.string().min(1),
      classes: z.strictObject({
        count: z.number().int().positive(),
        /** Left out above 1000. */
        names: z.array(z.string()).max(1000, { error: "expected at most 1000 names" }).optional(),
      }),
      splits: z.strictObject({
        /** Images that heads were trained on, without those held out. */
        train: count,
        val: count.optional(),
        test: count.optional(),
        /** Where they come from, e.g. `drawn from all by seed 0, stratified`. */
        how: z.string(),
      }),
      /** Share of the most frequent class among the images that are reported. */
      majorityRate: fraction.optional(),
    }),
    seeds: z.array(z.number().int()).min(1),
    selection: z.strictObject({
      /** What the setting was chosen on, e.g. `held-out 20 % of train`; null where there was one, and nothing to choose. */
      on: z.string().min(1).nullable(),
      metric: z.string().min(1),
      /** The split whose numbers `results` tells. */
      reportedOn: z.enum(["train", "val", "test"]),
      /** Only where the user asked for it: the numbers are then too good, and tables say so. */
      selectedOnReported: z.boolean(),
    }),
    /** In the order of the network; all heads of a layer together. */
    results: z.array(layerResultSchema).min(1),
    badImages: z.strictObject({
      skipped: count,
      list: z.array(z.strictObject({ id: z.string(), reason: z.string() })),
    }),
    /** Seconds of the clock. */
    timings: z.strictObject({
      /** 0 where all features were in the store. */
      extract: z.number().nonnegative(),
      train: z.number().nonnegative(),
      total: z.number().nonnegative(),
      /** Of extraction; null where nothing was extracted. */
      imagesPerSecond: z.number().nonnegative().nullable(),
      /** How images passed through the backbone, how many at once, in how many processes of how many threads; left out
       * where nothing was extracted. */
      execution: z.enum(["session", "op by op"]).optional(),
      batchSize: z.number().int().positive().optional(),
      processes: z.number().int().positive().optional(),
      threads: z.number().int().positive().optional(),
    }),
    machine: z.strictObject({
      cpu: z.string(),
      cores: z.number().int().positive(),
      /** tfjs's name of the backend, e.g. `tensorflow`, `wasm`. */
      backend: z.string(),
      /** Version of the native library; null without one. */
      tensorflow: z.string().nullable(),
      device: z.string(),
      /** Of one operation; left out by earlier versions. */
      threads: z.number().int().positive().optional(),
    }),
    /** Versions. */
    software: z.strictObject({ frozenEval: z.string(), tfjs: z.string(), node: z.string() }),
    startedAt: instant,
    finishedAt: instant,
  })
  .superRefine((record, context) => {
    const reject = (path: PropertyKey[], what: string, input: unknown) =>
      context.addIssue({ code: "custom", path, message: `expected ${what}`, input });
    const { reportedOn } = record.selection;
    if (record.data.splits[reportedOn] === undefined) {
      reject(["data", "splits", reportedOn], "a number of images, as it is the split that is reported", undefined);
    }
    const seen = new Set<string>();
    record.results.forEach((result, i) => {
      const key = JSON.stringify([result.layer, result.head]);
      if (seen.has(key)) reject(["results", i, "layer"], "one entry a layer and head", result.layer);
      seen.add(key);
      const told = Object.entries(result.metrics).map(([name, of]) => [`metrics.${name}`, of] as const);
      if (told.length === 0) reject(["results", i, "metrics"], "at least one", result.metrics);
      for (const [name, measured] of [...told, ["selection", result.selection] as const]) {
        if (measured && measured.values.length !== record.seeds.length) {
          reject(["results", i, name, "values"], `one value a seed (${record.seeds.length})`, measured.values);
        }
      }
    });
  });

/** What one run of a protocol found, and all that is needed to believe it. */
export type ResultRecord = z.infer<typeof recordSchema>;
export type LayerResult = z.infer<typeof layerResultSchema>;
export type ClassResult = z.infer<typeof classResultSchema>;
export type Trial = z.infer<typeof trialSchema>;
export type Setting = z.infer<typeof settingSchema>;
export type Spread = z.infer<typeof spreadSchema>;

/** Mean and population standard deviation of one number a seed. */
export function spread(values: number[]): Spread {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { mean, std: Math.sqrt(variance), values };
}

/**
 * @param where file or place that `value` came from, for messages.
 * @throws UserError where it is not a record of this format.
 */
export function parseRecord(value: unknown, where: string): ResultRecord {
  const format = value !== null && typeof value === "object" && "format" in value ? value.format : undefined;
  if (typeof format === "number" && format !== 1) {
    throw expected("format 1", `the result ${where}`, format, "It was written by another version of frozen-eval.");
  }
  return checked(recordSchema, value, `the result ${where}`);
}

/**
 * Reads a record.
 *
 * @param place `result.json`, or the folder of a run.
 * @throws UserError where there is none, or it is not one.
 */
export async function readRecord(place: string): Promise<ResultRecord> {
  const isFolder = await stat(place).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const file = isFolder ? path.join(place, "result.json") : place;
  return parseRecord(await readJson(file, "a result"), file);
}
