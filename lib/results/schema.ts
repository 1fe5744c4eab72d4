import type { z } from "zod";

import { expected, UserError } from "../errors.js";

/**
 * A value that came from a file, checked against the schema of its format.
 *
 * @param subject what it is and where it stands, e.g. `"the result /runs/a/result.json"`; used in messages.
 * @throws UserError for the first thing that is wrong, with the path to it.
 */
export function checked<Schema extends z.ZodType>(schema: Schema, value: unknown, subject: string): z.output<Schema> {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const place = issue.path.length > 0 ? `${pathText(issue.path)} in ${subject}` : subject;
  if (issue.code === "unrecognized_keys") {
    throw new UserError(`Expected only known keys for ${place} but received ${JSON.stringify(issue.keys[0])}`, {
      hint: "Another version of frozen-eval may have written it.",
    });
  }
  throw expected(wanted(issue.message), place, issue.input);
}

/** zod says "Invalid input: expected string, received number"; what was expected is between the two. */
function wanted(message: string): string {
  return /expected (.+?)(?:, received .*)?$/.exec(message)?.[1] ?? "a valid value";
}

/** `results[2].metrics.top1`. */
function pathText(path: PropertyKey[]): string {
  return path.map((key, i) => (typeof key === "number" ? `[${key}]` : `${i > 0 ? "." : ""}${String(key)}`)).join("");
}
