import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";

/** An NVIDIA GPU as its driver tells it. */
export interface Gpu {
  name: string;
  /** Bytes. */
  memory: number;
  freeMemory: number;
  driver: string;
}

/** Whether the kernel shows an NVIDIA GPU (or, under WSL, one of the host's). */
export function hasNvidiaDevice(): boolean {
  return existsSync("/proc/driver/nvidia/version") || existsSync("/dev/nvidia0") || existsSync("/dev/dxg");
}

/** The GPUs that `nvidia-smi` tells; none where it does not run. */
export async function nvidiaGpus(): Promise<Gpu[]> {
  const query = ["--query-gpu=name,memory.total,memory.free,driver_version", "--format=csv,noheader,nounits"];
  const answer = await promisify(execFile)("nvidia-smi", query).catch(() => undefined);
  return parseNvidiaSmi(answer?.stdout ?? "");
}

/** The GPUs that CUDA shows to this process, by number or UUID as `CUDA_VISIBLE_DEVICES` has them. */
export async function visibleGpus(): Promise<string[]> {
  const chosen = process.env.CUDA_VISIBLE_DEVICES;
  if (chosen === undefined) return (await nvidiaGpus()).map((_, number) => String(number));
  const names = chosen.split(",").map((name) => name.trim());
  // CUDA reads the list up to the first one that is not there.
  const end = names.findIndex((name) => name === "" || name === "-1");
  return end === -1 ? names : names.slice(0, end);
}

/** Lines such as `Tesla T4, 15360, 14900, 535.54.03`, memory in MiB. */
export function parseNvidiaSmi(text: string): Gpu[] {
  return text.split("\n").flatMap((line) => {
    const [name, memory, free, driver] = line.split(",").map((word) => word.trim());
    if (!name || !driver) return [];
    return [{ name, memory: Number(memory) * 2 ** 20, freeMemory: Number(free) * 2 ** 20, driver }];
  });
}
