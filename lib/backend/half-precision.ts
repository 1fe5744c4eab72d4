import { toBfloat16 } from "../bfloat16.js";
import { toFloat16 } from "../float16.js";

/** Sixteen bits a number. */
export type HalfPrecision = "bfloat16" | "float16";

export function toHalf(values: Float32Array, precision: HalfPrecision): Uint16Array {
  return precision === "bfloat16" ? toBfloat16(values) : toFloat16(values);
}
