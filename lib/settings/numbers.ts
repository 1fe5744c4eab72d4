import { z } from "zod";

const range = z.string().regex(/\(/, { error: "expected numbers, log(from,to) or linear(from,to)" });

/** A list; one value may be written without its brackets. */
export function listOf<T extends z.ZodType>(item: T) {
  const whole = (value: unknown) => (value === undefined || Array.isArray(value) ? value : [value]);
  return z.preprocess(whole, z.array(item).min(1));
}

/**
 * Numbers that are tried: a list, or a range (`readNumbers` reads both).
 *
 * @param what one of them is, in messages.
 */
export function numbers(item: z.ZodNumber, what: string) {
  return listOf(z.union([item, range]).meta({ expected: what })).meta({ placeholder: "X,...|log(A,B)" });
}
