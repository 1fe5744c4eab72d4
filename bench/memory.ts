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
  const children = fs.readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").split(" ").filter(Boolean);
  return children
    .map(Number)
    .filter((pid) => fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("trainer-process.js"));
}
