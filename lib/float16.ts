const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);

/**
 * IEEE 754 half-precision bits of each number, rounded to nearest, ties to even, as NumPy's `astype("float16")` does
 * it. What lies beyond ±65504 by half a step or more becomes infinite.
 */
export function toFloat16(values: Float32Array): Uint16Array {
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) halves[i] = halfBits(values[i]!);
  return halves;
}

/** The numbers that half-precision bits stand for; exact. */
export function fromFloat16(halves: Uint16Array, into: Float32Array = new Float32Array(halves.length)): Float32Array {
  table ??= Float32Array.from({ length: 0x10000 }, (_, half) => halfValue(half));
  for (let i = 0; i < halves.length; i++) into[i] = table[halves[i]!]!;
  return into;
}

let table: Float32Array | undefined;

function halfBits(value: number): number {
  single[0] = value;
  const x = bits[0]!;
  const sign = (x >>> 16) & 0x8000;
  const magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Below 2^-14 halves are multiples of 2^-24: adding 0.5, whose own last bit is worth 2^-24, rounds to such a one.
    single[0] = Math.abs(value) + 0.5;
    return sign | (bits[0]! - 0x3f000000);
  }
  // Re-biases the exponent and rounds: half a unit less one, plus one where the kept part is odd.
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

function halfValue(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
