import { spawnSync } from "node:child_process";
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
