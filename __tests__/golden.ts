import { readFileSync } from "node:fs";
import path from "node:path";

/** The repository's root, seen from the compiled tests in dist/__tests__. */
export const root = path.resolve(__dirname, "..", "..");

/** A file of reference values made by the original programs (`__tests__/golden`). */
export function goldenPath(name: string): string {
  return path.join(root, "__tests__", "golden", name);
}

export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(goldenPath(name), "utf8")) as T;
}
