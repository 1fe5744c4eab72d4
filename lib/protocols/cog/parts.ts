import { UserError } from "../../errors.js";
import { random } from "../../random.js";
import type { Part, SplitPlan } from "../splits.js";
import type { LogregTask } from "./method.js";
import type { LogregProtocol } from "./protocol.js";
import { drawShots, holdOut, type Permutation } from "./split.js";

/** What a reader of every number should know whose setting was chosen. */
export function notesOf({ asPublished, shots }: LogregProtocol): string[] {
  if (shots === undefined) return [];
  if (asPublished) {
    return [
      `As published, settings for ${shots} images a class are chosen on a fifth of all images of each class, which is more labels than ${shots}`,
    ];
  }
  return shots === 1
    ? ["Of one image a class none can be held out: the setting is the middle of its range"]
    : [`Settings are chosen on a part of the ${shots} images of each class that are drawn`];
}

/**
 * Who is chosen on and who is trained on, for one seed.
 *
 * @param options.classes names, for messages.
 * @throws UserError where a class has fewer images than shots, or by CoG's rule none is left to choose with.
 */
export function partsOf(options: {
  plan: SplitPlan;
  settings: LogregProtocol;
  seed: number;
  classes: string[];
}): Pick<LogregTask, "choice" | "train" | "report"> {
  const { plan, settings, seed, classes } = options;
  const { shots, valFraction: fraction, asPublished } = settings;
  const { report } = plan;
  const drawnBy =
    (purpose: string): Permutation =>
    (n, label) =>
      random(seed, purpose, label).permutation(n);
  const held = (part: Part, least = 0) =>
    holdOut({ part, fraction, permutation: drawnBy("held out"), asPublished, least });
  const draw = (part: Part, purpose: string) =>
    drawShots({ part, shots: shots!, permutation: drawnBy(purpose), classes });
  const choiceOf = (parts: { train: Part; val: Part }) => {
    if (parts.train.rows.length === 0) throw untrained(classes);
    return parts.val.rows.length > 0 ? parts : undefined;
  };
  if (shots === undefined) return { choice: choiceOf(held(plan.train)), train: plan.train, report };
  if (asPublished) {
    const { train, val } = held(plan.train);
    return {
      choice: choiceOf({ train: draw(train, "shots searched"), val }),
      train: draw(plan.train, "shots"),
      report,
    };
  }
  const drawn = draw(plan.train, "shots");
  return { choice: choiceOf(held(drawn, 1)), train: drawn, report };
}

/** By CoG's rule a class of fewer than five images is for the choice alone. */
function untrained(classes: string[]): UserError {
  return new UserError(
    `Expected five images or more of some class to choose settings as published but all ${classes.length} have fewer`,
    { hint: "Leave --as-published out." },
  );
}
