import { z } from "zod";

import { expected, UserError } from "../errors.js";
import { checkFullBatch } from "../heads/full-batch-heads.js";
import type { LinearProtocol } from "../protocols/linear/linear.js";
import { checkSchedule } from "../optim/schedule.js";
import { readHead, visslHeads } from "../protocols/linear/heads.js";
import { linearTrials } from "../protocols/linear/trials.js";
import type { Numbers } from "../search/range.js";
import { readNumbers } from "../search/range.js";
import { scheduleField, scheduleOf } from "./schedule.js";

/** Settings of training heads, which several commands may share. */

const group = { group: "Training" };
const range = z.string().regex(/\(/, { error: "expected numbers, log(from,to) or linear(from,to)" });

/** A list; one value may be written without its brackets. */
function listOf<T extends z.ZodType>(item: T) {
  const whole = (value: unknown) => (value === undefined || Array.isArray(value) ? value : [value]);
  return z.preprocess(whole, z.array(item).min(1));
}

function numbers(item: z.ZodNumber, what: string) {
  return listOf(z.union([item, range]).meta({ expected: what })).meta({ placeholder: "X,...|log(A,B)" });
}

const headObject = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9_-]+$/)
    .optional(),
  input: z.enum(["raw", "l2", "batch_norm", "batch_norm_plain"]).optional(),
  hidden: z.array(z.int().min(1)).optional(),
  dims: z.array(z.int().min(1)).optional(),
  batchNorm: z.boolean().optional(),
  relu: z.boolean().optional(),
  dropout: z.number().min(0).lt(1).optional(),
  initial: z.enum(["torch", "normal"]).optional(),
  layers: z.array(z.string().min(1)).min(1).optional(),
});

/** VISSL's names become ours. */
const headName = z.preprocess(
  (name) => (typeof name === "string" ? (visslHeads[name] ?? name) : name),
  z.string().min(1),
);

const optimizerObject = z.union([
  z.strictObject({ kind: z.literal("sgd"), momentum: z.number().min(0).lt(1), nesterov: z.boolean() }),
  z.strictObject({
    kind: z.enum(["adam", "adamw"]),
    beta1: z.number().min(0).lt(1),
    beta2: z.number().min(0).lt(1),
    epsilon: z.number().positive(),
  }),
  z.strictObject({
    kind: z.literal("lars"),
    momentum: z.number().min(0).lt(1),
    nesterov: z.boolean(),
    trust: z.number().positive(),
    epsilon: z.number().min(0),
  }),
  z.strictObject({
    kind: z.literal("lbfgs"),
    history: z.int().min(1),
    lineSearch: z.enum(["none", "strong_wolfe"]),
  }),
]);

const optimizerNames = ["sgd", "adam", "adamw", "lars", "lbfgs"] as const;

export const trainingFields = {
  heads: listOf(z.union([headName, headObject]).meta({ expected: "a head (fc, bn_fc, mlp(2048)) or its settings" }))
    .default(["fc", "bn_fc"])
    .describe(
      "fc is a linear layer, mlp(2048) has a hidden one; bn_ before it is batch norm, plain_bn_ one without scale and " +
        "shift, l2_ unit length (VISSL's mlp and eval_mlp are fc and bn_fc)",
    )
    .meta({ ...group, placeholder: "HEAD,..." }),
  optimizer: z
    .strictObject({
      kind: listOf(z.union([z.enum(optimizerNames), optimizerObject]).meta({ expected: optimizerNames.join(", ") }))
        .default(["sgd"])
        .describe("sgd, adam, adamw, lars, or lbfgs, whose steps see all images; several are swept")
        .meta({ flag: "optimizer", placeholder: "NAME,..." }),
      lr: numbers(z.number().positive(), "numbers above 0")
        .default([0.003, 0.01, 0.03, 0.1, 0.3])
        .describe("Learning rates; every one is tried with every weight decay"),
      weightDecay: numbers(z.number().min(0), "numbers of at least 0")
        .default([0, 5e-4])
        .describe("Weight decays (not of batch norm)"),
      momentum: numbers(z.number().min(0).lt(1), "numbers in [0, 1)")
        .default([0.9])
        .describe("Momentum of sgd and lars; several are swept"),
      nesterov: z.boolean().default(true).describe("Nesterov's momentum"),
      regularizeBias: z.boolean().default(true).describe("Whether biases are decayed"),
      regularizeNorm: z.boolean().default(false).describe("Whether scale and shift of batch norm are decayed"),
      lrBatch: z
        .int()
        .min(1)
        .optional()
        .describe("Images a step that the learning rates are meant for: they are multiplied by batch size / this"),
    })
    .prefault({})
    .meta(group),
  schedule: z
    .strictObject({
      kind: listOf(scheduleField)
        .default(["multistep"])
        .describe("How the learning rate moves; several are swept")
        .meta({ flag: "schedule", placeholder: "NAME,..." }),
      milestones: z
        .array(z.number().positive())
        .optional()
        .describe(
          "multistep: epochs after which the rate is multiplied by gamma; 2/7, 4/7, 6/7 of all where not given",
        ),
      gamma: z.number().positive().max(1).default(0.1).describe("multistep: the factor"),
      per: z
        .enum(["epoch", "step"])
        .default("epoch")
        .describe("Whether the learning rate moves between epochs or at every step (multistep: between epochs)")
        .meta({ flag: "schedule-per" }),
      end: z
        .number()
        .min(0)
        .default(0)
        .describe("cosine, linear: the last rate beside the first")
        .meta({ flag: "lr-end" }),
      warmup: z
        .number()
        .min(0)
        .default(0)
        .describe("Epochs in which the rate rises to the first")
        .meta({ flag: "warmup" }),
    })
    .prefault({})
    .meta(group),
  epochs: z.int().min(1).default(28).describe("Passes over the training images").meta(group),
  batchSize: listOf(z.int().min(2))
    .default([256])
    .describe("Images a step; several are swept")
    .meta({ ...group, placeholder: "N,..." }),
  headWidth: listOf(z.int().min(1))
    .optional()
    .describe("Width of the hidden layers of all heads that have some, in place of their own; several are swept")
    .meta({ ...group, placeholder: "N,..." }),
  labelSmoothing: z.number().min(0).lt(1).default(0).describe("Label smoothing").meta(group),
  search: z
    .enum(["grid", "random", "halving"])
    .default("grid")
    .describe("All settings of the grid; so many at random (--trials); or halving: all briefly, few for all epochs")
    .meta(group),
  trials: z.int().min(1).optional().describe("random, halving: settings that are drawn").meta(group),
  searchSeed: z.int().min(0).default(0).describe("Seed of the settings that are drawn").meta(group),
  seeds: z
    .array(z.int().min(0))
    .min(1)
    .default([0])
    .describe("Each is a run of its own: initial weights and order of images; the spread between them is told")
    .meta(group),
};

type TrainingSettings = z.output<z.ZodObject<typeof trainingFields>>;

/** Settings of training as the protocol takes them. */
export function trainingOf(
  settings: TrainingSettings,
): Omit<LinearProtocol, "valFraction" | "testFraction" | "splitSeed"> {
  const { optimizer, schedule, epochs } = settings;
  const { lr, weightDecay, momentum, ...rest } = optimizer;
  return {
    ...settings,
    heads: settings.heads,
    optimizer: {
      ...rest,
      lr: readNumbers(lr, "--lr"),
      weightDecay: readNumbers(weightDecay, "--weight-decay"),
      // One value is for those named optimizers that have one: those in full have their own. Several are a sweep.
      ...((momentum.length > 1 || rest.kind.some((kind) => kind === "sgd" || kind === "lars")) && {
        momentum: readNumbers(momentum, "--momentum"),
      }),
    },
    schedule: schedule.kind.map((name) => scheduleOf(name, { ...schedule, epochs })),
  };
}

/** Rules between the settings of training. */
export function checkTraining(settings: TrainingSettings): void {
  const { heads, optimizer, schedule, epochs, search, trials } = settings;
  for (const head of heads) if (typeof head === "string") readHead(head);
  const training = trainingOf(settings);
  const { momentum } = training.optimizer;
  if (optimizer.kind.some((kind) => (typeof kind === "string" ? kind : kind.kind) === "lbfgs")) {
    for (const head of heads) if (typeof head === "object") checkFullBatch(hiddenOf(head));
  }
  if (optimizer.nesterov && optimizer.kind.includes("sgd") && includesZero(momentum)) {
    throw expected("a number above 0", "--momentum", 0, "Nesterov's momentum needs one; or give --no-nesterov.");
  }
  if (schedule.warmup >= epochs) {
    throw expected(`fewer epochs than ${epochs}, that are all,`, "--warmup", schedule.warmup);
  }
  if (search === "random" && trials === undefined) {
    throw expected("a number", "--trials", undefined, "A random search draws so many settings.");
  }
  if (search === "grid" && trials !== undefined) {
    throw new UserError("Expected --search random or halving beside --trials but received grid", {
      hint: "A grid has as many settings as its lists make.",
    });
  }
  // Here, and not when it is used: features may have to be extracted before that.
  for (const one of [training.schedule].flat()) checkSchedule(one, epochs);
  linearTrials(training);
}

/** The hidden layers of a head, of whatever width. */
function hiddenOf(head: z.output<typeof headObject>): Parameters<typeof checkFullBatch>[0] {
  const { name = "an MLP", hidden, dims, batchNorm = false, relu = true, dropout = 0 } = head;
  const widths = hidden ?? dims?.slice(1, -1) ?? [];
  return { name, hidden: widths.map((width) => ({ width, batchNorm, relu, dropout })) };
}

function includesZero(values: Numbers | number | undefined): boolean {
  return Array.isArray(values) && values.length === 1 && values[0] === 0;
}
