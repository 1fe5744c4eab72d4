import type { JsonSchema } from "./options.js";

const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/**
 * The value that the text of a flag stands for. What does not fit the schema stays text: validation then complains with
 * the words that the user wrote.
 */
export function valueOfText(text: string, schema: JsonSchema): unknown {
  switch (schema.type) {
    case "number":
    case "integer":
      return number.test(text.trim()) ? Number(text) : text;
    case "boolean":
      return text === "true" ? true : text === "false" ? false : text;
    case "array":
      return listOfJson(text) ?? splitList(text).map((item) => valueOfText(item, (schema.items ?? {}) as JsonSchema));
    default:
      break;
  }
  for (const alternative of schema.anyOf ?? []) {
    const { type } = alternative as JsonSchema;
    const value = valueOfText(text, alternative);
    if (type === "string" || (type !== "array" && typeof value !== "string")) return value;
  }
  return text;
}

/** A list may also be given whole, e.g. VISSL's `[["res4", ["AvgPool2d", [[8, 8], 3, 0]]]]`. */
function listOfJson(text: string): unknown[] | undefined {
  if (!text.trim().startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** `a,b(1,2),c` → `a`, `b(1,2)`, `c`: commas inside of brackets do not separate. Blanks around an item are dropped. */
export function splitList(text: string): string[] {
  const items: string[] = [];
  let depth = 0;
  let item = "";
  for (const letter of text) {
    if ("([{".includes(letter)) depth++;
    if (")]}".includes(letter)) depth--;
    if (letter === "," && depth <= 0) {
      items.push(item.trim());
      item = "";
    } else {
      item += letter;
    }
  }
  items.push(item.trim());
  return items.filter((one) => one !== "");
}
