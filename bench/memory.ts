import fs from "node:fs";

/** Peak resident memory in bytes of a process since its start, or since `forgetPeak`; of this one by default. Linux. */
export function peakOf(pid: number | "self" = "self"): number {
  const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
  return 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)![1]);
}

/** From here on this process's peak is counted anew. */
export function forgetPeak(): void {
  fs.writeFileSync("/proc/self/clear_refs", "5");
}

/** This process's training processes. */
export function trainingProcesses(): number[] {
  return processesOf("trainer-process.js");
}

/** The processes of this one that run a module. Linux. */
export function processesOf(module: string): number[] {
  return children().filter((pid) => fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(module));
}

/** Processor time of this process and those that it has started, since they began. Linux. */
export function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  const ticks = children().map((pid) => {
    // The name, in parentheses, may hold spaces; utime and stime are the twelfth and thirteenth field behind it.
    const fields = fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(")").at(-1)!.trim().split(" ");
    return Number(fields[11]) + Number(fields[12]);
  });
  return (user + system) / 1e6 + ticks.reduce((sum, count) => sum + count, 0) / 100;
}

/** Seconds in which the main threads of processes ran or waited for a processor to run on, since they began. Linux. */
export function runnableSeconds(pids: number[]): number {
  const seconds = pids.map((pid) => {
    const [ran, waited] = fs.readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ").map(Number);
    return (ran! + waited!) / 1e9;
  });
  return seconds.reduce((sum, one) => sum + one, 0);
}

function children(): number[] {
  const pids = fs.readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").split(" ").filter(Boolean);
  return pids.map(Number);
}
