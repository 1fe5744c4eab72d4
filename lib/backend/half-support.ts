import fs from "node:fs/promises";

import { expected } from "../errors.js";

import { currentBackend } from "./backend.js";
import type { HalfPrecision } from "./half-precision.js";

/** Flags of `/proc/cpuinfo`, one of which a processor has whose kernels compute so. */
const processorFlags: Record<HalfPrecision, readonly string[]> = {
  bfloat16: ["avx512_bf16", "amx_bf16", "avx_ne_convert"],
  float16: ["avx512_fp16", "amx_fp16", "avx_ne_convert"],
};

/**
 * Sees that half precision would be computed by instructions for it: elsewhere TensorFlow emulates it, and is slower
 * than in single precision.
 *
 * @param options.flags of the processor. Default: those that Linux tells.
 * @throws UserError where there are none.
 */
export async function expectHalfSupport(options: {
  precision: HalfPrecision;
  flags?: readonly string[];
}): Promise<void> {
  const { precision, flags = await flagsOfProcessor() } = options;
  const backend = currentBackend();
  if (backend?.device === "cuda") return;
  if (backend?.device !== "native") {
    const hint = "Native TensorFlow does: npx frozen-eval setup. Or leave --compute-precision out.";
    throw expected("float32, all that this backend computes in,", "--compute-precision", precision, hint);
  }
  const wanted = processorFlags[precision];
  if (wanted.some((flag) => flags.includes(flag))) return;
  const hint = `This processor has none of ${wanted.join(", ")}, and would be slower in ${precision}.`;
  throw expected("float32", "--compute-precision", precision, hint);
}

async function flagsOfProcessor(): Promise<string[]> {
  const text = await fs.readFile("/proc/cpuinfo", "utf8").catch(() => "");
  return /^flags\s*:(.*)$/m.exec(text)?.[1]?.trim().split(" ") ?? [];
}
