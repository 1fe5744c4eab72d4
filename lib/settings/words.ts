import type { JsonSchema } from "./options.js";

/** What a value of this schema is, with its article: `a number in [0, 1)`, `stop or skip`, `a list of texts`. */
export function wordsOf(schema: JsonSchema): string {
  if (schema.expected !== undefined) return schema.expected;
  if (schema.const !== undefined) return String(schema.const);
  if (schema.enum) return either(schema.enum.map(String));
  if (schema.anyOf) return either(schema.anyOf.map((one) => wordsOf(one as JsonSchema)));
  switch (schema.type) {
    case "boolean":
      return "true or false";
    case "integer":
    case "number":
      return `a ${schema.type === "integer" ? "whole number" : "number"}${rangeOf(schema)}`;
    case "string":
      return "a text";
    case "array":
      return listWords(schema);
    case "object":
      return schema.properties ? `settings by name (${Object.keys(schema.properties).join(", ")})` : "values by name";
    default:
      return "a value";
  }
}

function listWords(schema: JsonSchema): string {
  if (schema.prefixItems) return `a list [${schema.prefixItems.map((item) => wordsOf(item as JsonSchema)).join(", ")}]`;
  const items = (schema.items ?? {}) as JsonSchema;
  const { minItems, maxItems } = schema;
  const exact = minItems !== undefined && minItems === maxItems;
  const count = minItems === undefined ? "" : exact ? `${minItems} of` : `at least ${minItems} of`;
  const many = `a list of${count === "" ? "" : ` ${count}`}`;
  return items.type === undefined && !items.enum && !items.anyOf ? "a list" : `${many}: ${wordsOf(items)}`;
}

function rangeOf({ minimum, exclusiveMinimum, maximum, exclusiveMaximum }: JsonSchema): string {
  const low = exclusiveMinimum ?? finite(minimum);
  const high = exclusiveMaximum ?? finite(maximum);
  if (low !== undefined && high !== undefined) {
    return ` in ${exclusiveMinimum === undefined ? "[" : "("}${low}, ${high}${exclusiveMaximum === undefined ? "]" : ")"}`;
  }
  if (low !== undefined) return exclusiveMinimum === undefined ? ` of at least ${low}` : ` above ${low}`;
  if (high !== undefined) return exclusiveMaximum === undefined ? ` of at most ${high}` : ` below ${high}`;
  return "";
}

/** Zod bounds whole numbers by the safe integers: nothing that a person needs to read. */
function finite(bound: number | undefined): number | undefined {
  return bound === undefined || Math.abs(bound) >= Number.MAX_SAFE_INTEGER ? undefined : bound;
}

function either(words: string[]): string {
  return words.length < 2 ? (words[0] ?? "nothing") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
