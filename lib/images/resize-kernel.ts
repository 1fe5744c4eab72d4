/**
 * The two inner loops of the resize, as a WebAssembly module that is put together here when it is first needed.
 *
 * Plain JavaScript needs some four times as long for them, because it multiplies one sample at a time; 128-bit lanes
 * take four. The arithmetic is Pillow's: 8-bit samples times 22-bit fixed-point weights in 32-bit sums, half a unit
 * added, shifted back, clipped to 0 … 255. Integer sums do not depend on their order, so the result is the same to the
 * bit.
 *
 * A pass reads a *filter table*: for each output column (or row) the byte offset of the first sample that it sees, the
 * number of samples, then that many int32 weights; each entry takes `entryBytes`.
 */
export interface ResizeKernel {
  /** A view of the whole memory; invalid after the next `reserve`. */
  bytes(): Uint8Array;
  /** Makes the memory at least `size` bytes long. */
  reserve(size: number): void;
  /** Narrows or widens `rows` rows of RGB pixels. Writes one byte beyond the last pixel, reads up to one beyond. */
  horizontal(options: KernelPass & { rows: number; toStride: number }): void;
  /** Makes output rows of `chunks` × 16 bytes each, the distance of two output rows. Reads up to 15 bytes beyond. */
  vertical(options: KernelPass & { chunks: number }): void;
}

interface KernelPass {
  /** Address of the first input row, and the distance of two rows, in bytes. */
  from: number;
  fromStride: number;
  /** Address of the first output row. */
  to: number;
  /** Address of the filter table, the number of its entries and the size of one, in bytes. */
  table: number;
  entries: number;
  entryBytes: number;
}

/** Fraction bits of a weight: 32 less 8 for the sample and 2 for the sum, as in Pillow. */
export const precisionBits = 32 - 8 - 2;

let compiled: CompiledModule | undefined;

export function resizeKernel(): ResizeKernel {
  compiled ??= new WebAssembly.Module(assemble());
  const { memory, horizontal, vertical } = new WebAssembly.Instance(compiled).exports;
  return {
    bytes: () => new Uint8Array(memory.buffer),
    reserve: (size) => {
      const missing = size - memory.buffer.byteLength;
      if (missing > 0) memory.grow(Math.ceil(missing / 65536));
    },
    horizontal: ({ from, fromStride, to, table, entries, entryBytes, rows, toStride }) =>
      horizontal(from, fromStride, rows, to, toStride, table, table + entries * entryBytes, entryBytes),
    vertical: ({ from, fromStride, to, table, entries, entryBytes, chunks }) =>
      vertical(from, fromStride, chunks * 16, to, table, table + entries * entryBytes, entryBytes),
  };
}

// What of WebAssembly's interface is used: Node's types do not declare it.
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => CompiledModule;
  Instance: new (module: CompiledModule) => { exports: KernelExports };
};
type CompiledModule = object;
interface KernelExports {
  memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  horizontal: (...parameters: number[]) => void;
  vertical: (...parameters: number[]) => void;
}

/** Instructions, encoded. An expression leaves its value on the stack. */
type Code = number[];

// Instruction numbers are those of the WebAssembly specification, version 2 (fixed-width SIMD behind 0xfd).
const get = (local: number): Code => [0x20, local];
const set = (local: number, value: Code): Code => [...value, 0x21, local];
const constant = (value: number): Code => [0x41, ...signed(value)];
const add = (a: Code, b: Code): Code => [...a, ...b, 0x6a];
const subtract = (a: Code, b: Code): Code => [...a, ...b, 0x6b];
const below = (a: Code, b: Code): Code => [...a, ...b, 0x49];
const load = (address: Code, offset: number): Code => [...address, 0x28, 2, offset];
const advance = (local: number, by: Code): Code => set(local, add(get(local), by));
/** Runs `body` until `condition` is zero; at least once. */
const repeatWhile = (condition: Code, body: Code[]): Code => [0x03, 0x40, ...body.flat(), ...condition, 0x0d, 0, 0x0b];

const simd = (operation: number, ...operands: Code[]): Code => [...operands.flat(), 0xfd, ...unsigned(operation)];
const lanes = {
  load: (address: Code, offset = 0): Code => [...simd(0x00, address), 0, offset],
  /** Four bytes into the lowest lane. */
  load4: (address: Code): Code => [...simd(0x5c, address), 0, 0],
  /** One int32 into all four lanes. */
  loadSplat: (address: Code): Code => [...simd(0x09, address), 2, 0],
  store: (address: Code, value: Code): Code => [...simd(0x0b, address, value), 0, 0],
  store4: (address: Code, value: Code): Code => [...simd(0x5a, address, value), 0, 0, 0],
  splat: (value: Code): Code => simd(0x11, value),
  add: (a: Code, b: Code): Code => simd(0xae, a, b),
  multiply: (a: Code, b: Code): Code => simd(0xb5, a, b),
  shiftRight: (value: Code, bits: number): Code => simd(0xac, value, constant(bits)),
  /** The lower (upper) eight bytes as int16, the lower (upper) four int16 as int32; without sign. */
  widen: { bytesLow: 0x89, bytesHigh: 0x8a, shortsLow: 0xa9, shortsHigh: 0xaa },
  /** Eight int32 to int16 with saturation, sixteen int16 to bytes with saturation at 0 and 255. */
  narrowToShorts: (low: Code, high: Code): Code => simd(0x85, low, high),
  narrowToBytes: (low: Code, high: Code): Code => simd(0x66, low, high),
};

const half = lanes.splat(constant(1 << (precisionBits - 1)));
const settled = (sum: number): Code => lanes.shiftRight(get(sum), precisionBits);

function horizontalPass(): Code {
  const [from, fromStride, rows, to, toStride, table, tableEnd, entryBytes] = [0, 1, 2, 3, 4, 5, 6, 7];
  const [entry, sample, weight, weightEnd, out, sum] = [8, 9, 10, 11, 12, 13];
  const { widen } = lanes;
  const pixel = simd(widen.shortsLow, simd(widen.bytesLow, lanes.load4(get(sample))));
  const shorts = lanes.narrowToShorts(settled(sum), settled(sum));
  return [
    repeatWhile(get(rows), [
      set(entry, get(table)),
      set(out, get(to)),
      repeatWhile(below(get(entry), get(tableEnd)), [
        set(sample, add(get(from), load(get(entry), 0))),
        set(weight, add(get(entry), constant(8))),
        set(weightEnd, add(get(weight), load(get(entry), 4))),
        set(sum, half),
        repeatWhile(below(get(weight), get(weightEnd)), [
          set(sum, lanes.add(get(sum), lanes.multiply(pixel, lanes.loadSplat(get(weight))))),
          advance(sample, constant(3)),
          advance(weight, constant(4)),
        ]),
        lanes.store4(get(out), lanes.narrowToBytes(shorts, shorts)),
        advance(out, constant(3)),
        advance(entry, get(entryBytes)),
      ]),
      advance(from, get(fromStride)),
      advance(to, get(toStride)),
      set(rows, subtract(get(rows), constant(1))),
    ]),
  ].flat();
}

function verticalPass(): Code {
  const [from, fromStride, rowBytes, to, table, tableEnd, entryBytes] = [0, 1, 2, 3, 4, 5, 6];
  const [column, sample, weight, weightEnd, sixteen, factor] = [7, 8, 9, 10, 11, 12];
  const sums = [13, 14, 15, 16] as const;
  const { widen } = lanes;
  const quarters = [
    simd(widen.shortsLow, simd(widen.bytesLow, get(sixteen))),
    simd(widen.shortsHigh, simd(widen.bytesLow, get(sixteen))),
    simd(widen.shortsLow, simd(widen.bytesHigh, get(sixteen))),
    simd(widen.shortsHigh, simd(widen.bytesHigh, get(sixteen))),
  ];
  const accumulate = sums.map((sum, i) => set(sum, lanes.add(get(sum), lanes.multiply(quarters[i]!, get(factor)))));
  const low = lanes.narrowToShorts(settled(sums[0]), settled(sums[1]));
  const high = lanes.narrowToShorts(settled(sums[2]), settled(sums[3]));
  return repeatWhile(below(get(table), get(tableEnd)), [
    set(column, constant(0)),
    repeatWhile(below(get(column), get(rowBytes)), [
      set(sample, add(add(get(from), load(get(table), 0)), get(column))),
      set(weight, add(get(table), constant(8))),
      set(weightEnd, add(get(weight), load(get(table), 4))),
      ...sums.map((sum) => set(sum, half)),
      repeatWhile(below(get(weight), get(weightEnd)), [
        set(sixteen, lanes.load(get(sample))),
        set(factor, lanes.loadSplat(get(weight))),
        ...accumulate,
        advance(sample, get(fromStride)),
        advance(weight, constant(4)),
      ]),
      lanes.store(add(get(to), get(column)), lanes.narrowToBytes(low, high)),
      advance(column, constant(16)),
    ]),
    advance(to, get(rowBytes)),
    advance(table, get(entryBytes)),
  ]);
}

/** The binary module: `memory`, `horizontal`, `vertical`. */
function assemble(): Uint8Array {
  const [i32, v128, functionType] = [0x7f, 0x7b, 0x60];
  const parameters = (count: number) => [functionType, ...vector(Array.from({ length: count }, () => [i32])), 0];
  const body = (code: Code, integers: number, vectors: number) => {
    const content = [
      ...vector([
        [integers, i32],
        [vectors, v128],
      ]),
      ...code,
      0x0b,
    ];
    return [...unsigned(content.length), ...content];
  };
  const section = (id: number, items: number[][]) => {
    const content = vector(items);
    return [id, ...unsigned(content.length), ...content];
  };
  const name = (text: string) => vector([...text].map((letter) => [letter.charCodeAt(0)]));
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [parameters(8), parameters(7)]),
    ...section(3, [[0], [1]]),
    ...section(5, [[0, 1]]),
    ...section(7, [
      [...name("memory"), 2, 0],
      [...name("horizontal"), 0, 0],
      [...name("vertical"), 0, 1],
    ]),
    ...section(10, [body(horizontalPass(), 5, 1), body(verticalPass(), 4, 6)]),
  ]);
}

function vector(items: number[][]): number[] {
  return [...unsigned(items.length), ...items.flat()];
}

/** LEB128 of a number that is not negative. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

/** LEB128 with sign. */
function signed(value: number): number[] {
  return value >= -0x40 && value < 0x40 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(value >> 7)];
}
