import { z } from "zod";

import type { Schedule } from "../optim/schedule.js";
import { visslSchedule } from "../optim/schedule.js";

const factor = z.number().min(0);
const per = z.enum(["epoch", "step"]).optional();

/** A schedule in full, as a YAML file has it; see lib/optim/schedule.ts for what each is. */
const scheduleSchema: z.ZodType<Schedule> = z.lazy(() =>
  z.union([
    z.strictObject({ kind: z.literal("constant"), factor: factor.optional() }),
    z.strictObject({
      kind: z.literal("multistep"),
      milestones: z.array(z.number().positive()),
      gamma: z.number().positive().max(1),
    }),
    z.strictObject({
      kind: z.literal("multistep"),
      milestones: z.array(z.number().positive()),
      factors: z.array(factor),
    }),
    z.strictObject({ kind: z.literal("step"), factors: z.array(factor).min(1), per }),
    z.strictObject({
      kind: z.literal("step_with_fixed_gamma"),
      gamma: z.number().positive(),
      decays: z.int().min(1),
      per,
    }),
    z.strictObject({ kind: z.literal("cosine"), start: factor.optional(), end: factor.optional(), per }),
    z.strictObject({ kind: z.literal("linear"), start: factor, end: factor, per }),
    z.strictObject({ kind: z.literal("inverse_sqrt"), warmup: factor, per }),
    z.strictObject({
      kind: z.literal("composite"),
      parts: z.array(
        z.strictObject({
          schedule: scheduleSchema,
          length: z.number().positive().max(1),
          scaling: z.enum(["rescaled", "fixed"]).optional(),
        }),
      ),
      per,
    }),
  ]),
);

/** Schedules that a name and the settings beside it describe. */
const scheduleNames = ["multistep", "cosine", "constant", "linear"] as const;

export type ScheduleName = (typeof scheduleNames)[number];

export const scheduleField = z
  .union([z.enum(scheduleNames), scheduleSchema])
  .meta({ expected: `${scheduleNames.join(", ")}, or a schedule in full ({ kind: ... })` });

/** What the settings beside a schedule's name say. */
export interface ScheduleDetails {
  epochs: number;
  milestones?: number[];
  gamma: number;
  per: "epoch" | "step";
  end: number;
  warmup: number;
}

/**
 * The schedule as the protocol takes it. Where no milestones are given, they stand where VISSL's 8, 16 and 24 of 28
 * epochs do (and 24, 48, 72 of 84), in proportion. A warm-up rises from a thousandth to the whole rate; what follows
 * runs in the epochs that are left.
 */
export function scheduleOf(name: ScheduleName | Schedule, details: ScheduleDetails): Schedule {
  if (typeof name !== "string") return name;
  const { epochs, warmup, per } = details;
  const main = plainSchedule(name, details);
  if (warmup === 0) return main;
  const rise: Schedule = { kind: "linear", start: 0.001, end: 1, per };
  return {
    kind: "composite",
    parts: [
      { schedule: rise, length: warmup / epochs },
      // Milestones are epochs of the whole training.
      { schedule: main, length: 1 - warmup / epochs, scaling: name === "multistep" ? "fixed" : "rescaled" },
    ],
    per,
  };
}

function plainSchedule(name: ScheduleName, { epochs, milestones, gamma, per, end }: ScheduleDetails): Schedule {
  switch (name) {
    case "constant":
      return { kind: "constant" };
    case "cosine":
      return { kind: "cosine", per, ...(end > 0 && { end }) };
    case "linear":
      return { kind: "linear", start: 1, end, per };
    case "multistep":
      return milestones ? { kind: "multistep", gamma, milestones } : visslSchedule(epochs, gamma);
  }
}
