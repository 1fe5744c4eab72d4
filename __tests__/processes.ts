import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** The processes that a process has started with a command in which a text occurs, e.g. the name of a module. */
export function childrenOf(parent: number, text: string): number[] {
  const { stdout } = spawnSync("ps", ["-A", "-o", "pid=,ppid=,args="], { encoding: "utf8" });
  return stdout.split("\n").flatMap((line) => {
    const [pid, ppid] = line.trim().split(/\s+/).map(Number);
    return ppid === parent && line.includes(text) ? [pid!] : [];
  });
}

/** Waits till none of the processes runs any more. */
export async function untilGone(pids: number[]): Promise<void> {
  const isAlive = (pid: number) => {
    const { stdout } = spawnSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" });
    return stdout.trim() !== "" && !stdout.trim().startsWith("Z");
  };
  const until = Date.now() + 20_000;
  while (pids.some(isAlive) && Date.now() < until) await sleep(50);
  expect(pids.filter(isAlive)).toEqual([]);
}

/** Looks until something is so; what is not so after two minutes fails, for the test's own end would tell nothing. */
export async function until(
  what: string,
  isSo: () => boolean,
  otherwise: () => string = () => "nothing",
): Promise<void> {
  for (const from = Date.now(); !isSo(); await sleep(5)) {
    if (Date.now() - from > 120_000) throw new Error(`waited for ${what}, found ${otherwise()}`);
  }
}

/** The process whose command line has all of these in it, as Linux tells. */
export function processWith(...parts: string[]): number | undefined {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const found = pids.find((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      return parts.every((part) => line.includes(part));
    } catch {
      return false; // it has ended meanwhile
    }
  });
  return found === undefined ? undefined : Number(found);
}
