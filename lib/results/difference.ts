import { digestOf } from "../files.js";

/** Where two values differ, and what stands there. */
export interface Difference {
  key: string;
  a: unknown;
  b: unknown;
}

/** The first key in which two plain values differ; dotted below `key`. undefined where they are equal. */
export function firstDifference(a: unknown, b: unknown, key = ""): Difference | undefined {
  if (!isRecord(a) || !isRecord(b)) return digestOf(a ?? null) === digestOf(b ?? null) ? undefined : { key, a, b };
  for (const name of new Set([...Object.keys(b), ...Object.keys(a)])) {
    const found = firstDifference(a[name], b[name], key === "" ? name : `${key}.${name}`);
    if (found) return found;
  }
  return undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
