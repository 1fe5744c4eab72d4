import type { Schedule } from "../optim/schedule.js";
import type { SearchTrial } from "./space.js";

/**
 * Trials as a record tells them: learning rate and weight decay, and of all else what differs between them. Trials that
 * differ have settings that differ.
 */
export function trialSettings(trials: SearchTrial[]): Record<string, number | string | boolean>[] {
  const described = trials.map(describe);
  const names = [...new Set(described.flatMap((one) => Object.keys(one)))];
  const differing = names.filter((name) => new Set(described.map((one) => one[name])).size > 1);
  return described.map((one) => {
    const told = Object.entries(one).filter(([name]) => always.has(name) || differing.includes(name));
    return Object.fromEntries(told);
  });
}

const always = new Set(["lr", "weightDecay"]);

function describe(trial: SearchTrial): Record<string, number | string | boolean> {
  const { lr, weightDecay, optimizer, schedule, batchSize, headWidth } = trial;
  const { kind, ...rest } = optimizer;
  return {
    lr,
    weightDecay,
    optimizer: kind,
    ...rest,
    schedule: scheduleText(schedule),
    ...(batchSize !== undefined && { batchSize }),
    ...(headWidth !== undefined && { headWidth }),
  };
}

/** `cosine, per epoch`; `multistep, milestones 8 16 24, gamma 0.1`. */
function scheduleText({ kind, ...rest }: Schedule): string {
  const details = Object.entries(rest).map(
    ([name, value]) => `${name} ${Array.isArray(value) ? value.join(" ") : JSON.stringify(value).replaceAll('"', "")}`,
  );
  return [kind, ...details].join(", ");
}
