import { spawnSync } from "node:child_process";

/**
 * Why tests that fetch packages cannot run here, or undefined: no answer from the npm registry. In continuous
 * integration nothing is skipped, and they fail.
 */
export function noRegistry(): string | undefined {
  if (process.env.CI === "true") return undefined;
  const { status, stderr } = spawnSync("npm", ["view", "zod", "name", "--fetch-retries=0", "--fetch-timeout=10000"], {
    encoding: "utf8",
    shell: process.platform === "win32",
  });
  return status === 0 ? undefined : `no answer from the npm registry: ${stderr?.split("\n")[0] ?? ""}`;
}
