import { expected } from "../errors.js";
import type { Interval, Schedule } from "./schedule.js";

/** A learning rate as VISSL's configurations write it (`OPTIMIZER.param_schedulers.lr`); keys of no use here are let be. */
export type VisslRate = { update_interval?: Interval } & (
  | { name: "constant"; value: number }
  | { name: "multistep"; values: number[]; milestones: number[] }
  | { name: "step"; values: number[] }
  | { name: "step_with_fixed_gamma"; base_value: number; gamma: number; num_decays: number }
  | { name: "cosine"; start_value: number; end_value: number }
  | { name: "linear"; start_value: number; end_value: number }
  | { name: "inverse_sqrt"; start_value: number; warmup_interval_length: number }
  | { name: "composite"; schedulers: VisslRate[]; lengths: number[]; interval_scaling?: ("rescaled" | "fixed")[] }
);

export interface ScaleVisslRateOptions {
  rate: VisslRate;
  batchSizePerReplica: number;
  /** Processes (GPUs) of a node. */
  processesPerNode: number;
  nodes: number;
  /** VISSL's `auto_lr_scaling`: the rate `baseValue` is meant for batches of `baseBatchSize`. */
  baseValue: number;
  baseBatchSize: number;
  scaling: "linear" | "sqrt";
}

/**
 * VISSL's scaling of learning rates by batch size, with its roundings and its oddities: of a list of values only the
 * first ratio counts; a linear part of a composite becomes a warm-up to the scaled rate, from that of one node's batch,
 * and is deleted where there is one node and nothing to warm up; a part that is left alone takes the composite's place.
 *
 * @throws UserError where a number is not above 0.
 *
 * Source: vissl/utils/hydra_config.py (`infer_learning_rate`), after Goyal et al. 2017 (arXiv 1706.02677).
 */
export function scaleVisslRate(options: ScaleVisslRateOptions): VisslRate {
  const { rate, batchSizePerReplica, processesPerNode, nodes, baseValue, baseBatchSize, scaling } = options;
  const numbers = { batchSizePerReplica, processesPerNode, nodes, baseValue, baseBatchSize };
  for (const [name, value] of Object.entries(numbers)) {
    if (!(value > 0 && isFinite(value))) throw expected("a number above 0", name, value);
  }
  const ratio = (batchSizePerReplica * nodes * processesPerNode) / baseBatchSize;
  const scaled = baseValue * (scaling === "sqrt" ? Math.sqrt(ratio) : ratio);
  const ofOneNode = baseValue * ((batchSizePerReplica * processesPerNode) / baseBatchSize);
  return scale(rate, { scaled, ofOneNode, nodes });
}

function scale(rate: VisslRate, at: { scaled: number; ofOneNode: number; nodes: number }): VisslRate {
  const { scaled } = at;
  switch (rate.name) {
    case "cosine":
      return { ...rate, start_value: scaled, end_value: scaled * (rate.end_value / rate.start_value) };
    case "multistep":
    case "step": {
      const [first, second] = rate.values as [number, number?];
      const gamma = second === undefined ? 1 : round(second / first, 6);
      return { ...rate, values: rate.values.map((_, i) => round(scaled * gamma ** i, 8)) };
    }
    case "step_with_fixed_gamma":
      return { ...rate, base_value: scaled };
    case "linear":
      return { ...rate, end_value: scaled };
    case "inverse_sqrt":
      return { ...rate, start_value: scaled };
    case "constant":
      return { ...rate, value: scaled };
    case "composite":
      return composed({ ...rate, schedulers: rate.schedulers.map((part) => scale(part, at)) }, at);
  }
}

function composed(
  rate: Extract<VisslRate, { name: "composite" }>,
  { ofOneNode, nodes }: { ofOneNode: number; nodes: number },
): VisslRate {
  if (!rate.schedulers.some(({ name }) => name === "linear")) return rate;
  const parts = rate.schedulers.map((part) => (part.name === "linear" ? { ...part, start_value: ofOneNode } : part));
  const needless = parts
    .map((part) => nodes === 1 && part.name === "linear" && part.start_value <= part.end_value)
    .lastIndexOf(true);
  const left = parts.filter((_, i) => i !== needless);
  const rest = { ...rate, schedulers: left };
  return left.length === 1 ? { ...rest, ...left[0]! } : rest;
}

/**
 * A base rate and the schedule of its factors; the base is the largest value that the rate names.
 *
 * @throws UserError where a composite has not as many lengths as parts, which VISSL refuses too, or no value is above
 * 0.
 */
export function visslSchedule(rate: VisslRate): { lr: number; schedule: Schedule } {
  const lr = Math.max(...valuesOf(rate));
  if (!(lr > 0 && isFinite(lr))) throw expected("a learning rate above 0", "OPTIMIZER.param_schedulers.lr", lr);
  return { lr, schedule: factorsOf(rate, lr) };
}

function valuesOf(rate: VisslRate): number[] {
  switch (rate.name) {
    case "constant":
      return [rate.value];
    case "multistep":
    case "step":
      return rate.values;
    case "step_with_fixed_gamma":
      return [rate.base_value];
    case "cosine":
    case "linear":
      return [rate.start_value, rate.end_value];
    case "inverse_sqrt":
      return [rate.start_value];
    case "composite":
      return rate.schedulers.flatMap(valuesOf);
  }
}

function factorsOf(rate: VisslRate, lr: number): Schedule {
  const per = rate.update_interval;
  const ratio = (value: number) => value / lr;
  switch (rate.name) {
    case "constant":
      return { kind: "constant", factor: ratio(rate.value) };
    case "multistep":
      return { kind: "multistep", milestones: rate.milestones, factors: rate.values.map(ratio) };
    case "step":
      return { kind: "step", factors: rate.values.map(ratio), per };
    case "step_with_fixed_gamma": {
      const { gamma, num_decays: decays, base_value } = rate;
      if (base_value === lr) return { kind: "step_with_fixed_gamma", gamma, decays, per };
      const factors = Array.from({ length: decays + 1 }, (_, i) => ratio(base_value) * gamma ** i);
      return { kind: "step", factors, per: per ?? "step" };
    }
    case "cosine":
    case "linear":
      return { kind: rate.name, start: ratio(rate.start_value), end: ratio(rate.end_value), per };
    case "inverse_sqrt":
      return { kind: "inverse_sqrt", warmup: rate.warmup_interval_length, factor: ratio(rate.start_value), per };
    case "composite": {
      const { schedulers, lengths, interval_scaling: scaling } = rate;
      if (lengths.length !== schedulers.length) {
        const hint = "VISSL deletes a linear warm-up on one node, but not its length.";
        throw expected(`${schedulers.length} lengths`, "the composite of learning rates", lengths, hint);
      }
      // A composite's interval holds for its parts, whatever they say.
      const parts = schedulers.map((part, i) => ({
        schedule: factorsOf({ ...part, update_interval: undefined }, lr),
        length: lengths[i]!,
        scaling: scaling?.[i],
      }));
      return { kind: "composite", parts, per };
    }
  }
}

/** Python's round: to the nearest decimal of the exact value, ties to the even one. */
function round(value: number, digits: number): number {
  const exact = value.toFixed(Math.min(100, digits + 60));
  const cut = exact.indexOf(".") + digits + 1;
  if (!/^50*$/.test(exact.slice(cut))) return Number(value.toFixed(digits));
  const even = Number(exact[cut - 1]) % 2 === 0;
  return even ? Number(exact.slice(0, cut)) : Number(value.toFixed(digits));
}
