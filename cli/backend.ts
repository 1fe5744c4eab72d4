import type { BackendOptions } from "../lib/backend/backend.js";
import type { CommandContext } from "./command.js";

/** Prepares what computes. It takes a second, so that commands call it once they know that what was named is there. */
export async function prepare(
  { device, threads }: Pick<BackendOptions, "device" | "threads">,
  { progress }: Pick<CommandContext, "progress">,
): Promise<void> {
  const { prepareBackend } = await import("../lib/backend/backend.js");
  await prepareBackend({ device, threads, warn: (line) => progress.note(line) });
}
