import { startProcesses } from "../../lib/training/process-trainer.js";
import type { Device } from "../../lib/backend/backend.js";

/** A program that starts training processes and waits, to be killed: `node start-processes.js DEVICE` says when they run. */
async function main(): Promise<void> {
  await startProcesses({ count: 2, device: process.argv[2] as Device });
  process.stdout.write("running\n");
}

void main();
