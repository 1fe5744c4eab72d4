import { readFileSync } from "node:fs";
import path from "node:path";

/** The folder of `package.json`, seen from the compiled file in dist/lib: `configs/` and `models/` stand in it. */
export const packageRoot = path.resolve(__dirname, "..", "..");

/** The version of frozen-eval. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(path.join(packageRoot, "package.json"), "utf8")) as { version: string };
  return version;
}
