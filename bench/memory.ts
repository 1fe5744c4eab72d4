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

/** Processor time that a process has used, in seconds: this one, or another, of Linux. */
export function processorSeconds(pid?: number): number {
  if (pid === undefined) {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  }
  const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
  // Behind the name in brackets, in ticks of a hundredth second: the 12th and 13th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** This process's training processes. */
export function trainingProcesses(): number[] {
  return childProcesses("trainer-process.js");
}

/** This process's children that run a script. */
export function childProcesses(script: string): number[] {
  const children = fs.readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").split(" ").filter(Boolean);
  return children.map(Number).filter((pid) => fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(script));
}
