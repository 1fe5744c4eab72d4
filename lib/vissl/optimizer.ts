import { z } from "zod";

import type { Optimizer } from "../optim/optimizer.js";
import type { Schedule } from "../optim/schedule.js";
import { scaleVisslRate, visslSchedule, type VisslRate } from "../optim/vissl-rates.js";
import type { VisslKeys } from "./keys.js";

const positive = z.number().positive();
const rates = z.array(z.number().min(0)).min(1);
const interval = z.enum(["epoch", "step"]).optional();

const rateSchema: z.ZodType<VisslRate> = z.lazy(() =>
  z.discriminatedUnion("name", [
    z.object({ name: z.literal("constant"), value: positive, update_interval: interval }),
    z.object({ name: z.literal("multistep"), values: rates, milestones: z.array(positive), update_interval: interval }),
    z.object({ name: z.literal("step"), values: rates, update_interval: interval }),
    z.object({
      name: z.literal("step_with_fixed_gamma"),
      base_value: positive,
      gamma: positive,
      num_decays: z.int().min(1),
      update_interval: interval,
    }),
    z.object({
      name: z.enum(["cosine", "linear"]),
      start_value: z.number(),
      end_value: z.number(),
      update_interval: interval,
    }),
    z.object({
      name: z.literal("inverse_sqrt"),
      start_value: positive,
      warmup_interval_length: z.number().min(0),
      update_interval: interval,
    }),
    z.object({
      name: z.literal("composite"),
      schedulers: z.array(rateSchema).min(1),
      lengths: z.array(positive).min(1),
      interval_scaling: z.array(z.enum(["rescaled", "fixed"])).optional(),
      update_interval: interval,
    }),
  ]),
);

/** What of a schedule each kind reads. */
const fields: Record<VisslRate["name"], string[]> = {
  constant: ["value"],
  multistep: ["values", "milestones"],
  step: ["values"],
  step_with_fixed_gamma: ["base_value", "gamma", "num_decays"],
  cosine: ["start_value", "end_value"],
  linear: ["start_value", "end_value"],
  inverse_sqrt: ["start_value", "warmup_interval_length"],
  composite: ["schedulers", "lengths", "interval_scaling"],
};

export interface VisslBatch {
  perReplica: number;
  processes: number;
  nodes: number;
}

export interface VisslOptimizer {
  optimizer: {
    kind: ("sgd" | Optimizer)[];
    lr: number[];
    weightDecay: number[];
    momentum?: number[];
    nesterov: boolean;
    regularizeBias: boolean;
    regularizeNorm: boolean;
  };
  schedule: { kind: Schedule[] };
  epochs: number;
  /** What is done otherwise here. */
  differs: string[];
}

/**
 * Optimizer and learning rate, scaled by VISSL's rule for the batch that the configuration is meant for. All that is
 * trained is a head, so what a configuration says of heads alone counts.
 *
 * @throws UserError for optimizers and schedules that are not there.
 */
export function visslOptimizer(keys: VisslKeys, batch: VisslBatch): VisslOptimizer {
  const get = <T>(key: string, schema: z.ZodType<T>, what: string) => keys.get(`OPTIMIZER.${key}`, schema, what);
  const yesOrNo = (key: string) => get(key, z.boolean(), "True or False");
  const ofHead = "head_optimizer_params";
  const { lr, schedule } = rateOf(keys, yesOrNo(`${ofHead}.use_different_lr`) ? "lr_head" : "lr", batch);
  const decayKey = yesOrNo(`${ofHead}.use_different_wd`) ? `${ofHead}.weight_decay` : "weight_decay";
  const weightDecay = get(decayKey, z.number().min(0), "a number of at least 0");
  const kind = kindOf(keys);
  return {
    optimizer: {
      kind: [kind.kind === "sgd" ? kind.kind : kind],
      lr: [lr],
      weightDecay: [weightDecay],
      ...("momentum" in kind && { momentum: [kind.momentum] }),
      nesterov: "nesterov" in kind && kind.nesterov,
      regularizeBias: yesOrNo("regularize_bias"),
      regularizeNorm: yesOrNo("regularize_bn"),
    },
    schedule: { kind: [schedule] },
    epochs: get("num_epochs", z.int().min(1), "a whole number of at least 1"),
    differs:
      kind.kind === "lars" ? ["LARC gives biases and batch norm rates of their own; here they move without them."] : [],
  };
}

function kindOf(keys: VisslKeys): Optimizer {
  const get = <T>(key: string, schema: z.ZodType<T>, what: string) => keys.get(`OPTIMIZER.${key}`, schema, what);
  const name = get("name", z.enum(["sgd", "adam", "adamw"]), "sgd, adam or adamw");
  const larc = get("use_larc", z.boolean(), "True or False");
  if (larc && name !== "sgd") throw keys.refusal("OPTIMIZER.use_larc", `False beside ${name}`);
  if (name !== "sgd") {
    const unit = z.number().min(0).lt(1);
    const [beta1, beta2] = get("betas", z.tuple([unit, unit]), "two numbers in [0, 1)");
    return { kind: name, beta1, beta2, epsilon: 1e-8 };
  }
  const momentum = get("momentum", z.number().min(0).lt(1), "a number in [0, 1)");
  const nesterov = get("nesterov", z.boolean(), "True or False");
  if (!larc) return { kind: "sgd", momentum, nesterov };
  get("larc_config.clip", z.literal(false), "False, for clipped rates are not there,");
  const trust = get("larc_config.trust_coefficient", positive, "a number above 0");
  const epsilon = get("larc_config.eps", z.number().min(0), "a number of at least 0");
  return { kind: "lars", momentum, nesterov, trust, epsilon };
}

function rateOf(keys: VisslKeys, name: "lr" | "lr_head", batch: VisslBatch) {
  const prefix = `OPTIMIZER.param_schedulers.${name}`;
  const kinds = Object.keys(fields) as VisslRate["name"][];
  const kind = keys.get(`${prefix}.name`, z.enum(kinds), kinds.join(", "));
  const read = [...fields[kind], "update_interval"];
  const entries = read.map((field) => [field, keys.get(`${prefix}.${field}`, z.unknown(), "a value")]);
  const parsed = rateSchema.safeParse({ name: kind, ...Object.fromEntries(entries) });
  if (!parsed.success) {
    const field = String(parsed.error.issues[0]!.path[0] ?? "name");
    throw keys.refusal(`${prefix}.${field}`, `what the schedule ${kind} needs`);
  }
  const auto = `${prefix}.auto_lr_scaling`;
  if (!keys.get(`${auto}.auto_scale`, z.boolean(), "True or False")) return visslSchedule(parsed.data);
  const scaled = scaleVisslRate({
    rate: parsed.data,
    batchSizePerReplica: batch.perReplica,
    processesPerNode: batch.processes,
    nodes: batch.nodes,
    baseValue: keys.get(`${auto}.base_value`, positive, "a number above 0"),
    baseBatchSize: keys.get(`${auto}.base_lr_batch_size`, positive, "a number above 0"),
    scaling: keys.get(`${auto}.scaling_type`, z.enum(["linear", "sqrt"]), "linear or sqrt"),
  });
  return visslSchedule(scaled);
}
