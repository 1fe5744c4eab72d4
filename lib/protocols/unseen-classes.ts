import type { SplitName } from "../datasets/dataset.js";
import { UserError } from "../errors.js";
import { targetsOf } from "../training/passes.js";
import type { Part } from "../training/job.js";
import type { SplitPlan } from "./splits.js";

/** How many classes a message names. */
const named = 5;

/**
 * Where the data's own splits say what is chosen and reported on, heads have to have seen every class that is there: of
 * others no answer could be right.
 *
 * @throws UserError that names the classes and the split.
 */
export function refuseUnseenClasses(options: {
  plan: Pick<SplitPlan, "train" | "select" | "report" | "selection">;
  classes: string[];
}): void {
  const { plan, classes } = options;
  const { source } = plan.train;
  // Before anything was held out: what is drawn, is drawn class by class.
  const seen = classesIn({ source, rows: Uint32Array.from({ length: source.size }, (_, row) => row) });
  const judged: [SplitName, Part | undefined][] = [
    ["val", plan.select],
    [plan.selection.reportedOn, plan.report],
  ];
  for (const [split, part] of judged) {
    if (!part || part.source === source) continue;
    const unseen = [...classesIn(part)].filter((label) => !seen.has(label)).sort((a, b) => a - b);
    if (unseen.length === 0) continue;
    const names = unseen.slice(0, named).map((label) => classes[label] ?? String(label));
    const more = unseen.length > named ? ` and ${unseen.length - named} more` : "";
    throw new UserError(
      `Expected training images of every class of the ${split} split but there are none of ${names.join(", ")}${more}`,
      { hint: `Leave these classes out of ${split}, or give images of them to train on.` },
    );
  }
}

/** Classes of which there is an image. */
function classesIn({ source, rows }: Part): Set<number> {
  const targets = targetsOf(source, rows);
  if (source.targets.kind === "single") return new Set(targets.filter((label) => label >= 0));
  const { classes } = source.targets;
  const present = new Set<number>();
  targets.forEach((target, i) => target === 1 && present.add(i % classes));
  return present;
}
