import type { NodeDef } from "../graph-builder.js";
import type { Call, Trace } from "./trace.js";
import { int32, ints, scalar, text, typeOf } from "./trace.js";
import { physicalShape } from "./value.js";
import type { Tensor } from "./value.js";

/** How a map lies in the graph, by ONNX's axes [batch, channels, rows, columns]. */
export const nhwc: readonly number[] = [0, 2, 3, 1];

type Pair = [rows: number, columns: number];

/** How a window slides over a map. */
export interface SlidingWindow {
  size: Pair;
  strides: Pair;
  dilations: Pair;
  /** What is added in front of the first row and column, and behind the last. */
  before: Pair;
  after: Pair;
  /** What a pooling with `ceil_mode` reads beyond that. */
  beyond: Pair;
  /** Height and width of the result. */
  output: Pair;
}

/** Of an axis of a map; more is a damaged file. */
export const longest = 1 << 14;

/** The window of an operator's attributes. */
export function windowOf(call: Call, input: Tensor, size: Pair): SlidingWindow {
  const strides = pair(call.integers("strides"));
  const dilations = pair(call.integers("dilations"));
  const pads = call.integers("pads") ?? [0, 0, 0, 0];
  const auto = call.text("auto_pad", "NOTSET");
  const ceil = call.integer("ceil_mode", 0) === 1;
  const window: SlidingWindow = {
    size,
    strides,
    dilations,
    before: [0, 0],
    after: [0, 0],
    beyond: [0, 0],
    output: [0, 0],
  };
  for (const i of [0, 1] as const) {
    const length = input.shape[2 + i]!;
    const reach = (size[i] - 1) * dilations[i] + 1;
    if (auto.startsWith("SAME")) {
      const missing = Math.max(0, (Math.ceil(length / strides[i]) - 1) * strides[i] + reach - length);
      window.before[i] = auto === "SAME_LOWER" ? Math.ceil(missing / 2) : Math.floor(missing / 2);
      window.after[i] = missing - window.before[i];
    } else if (auto === "NOTSET") {
      [window.before[i], window.after[i]] = [pads[i] ?? 0, pads[2 + i] ?? 0];
    }
    const room = length + window.before[i] + window.after[i] - reach;
    let count = (ceil ? Math.ceil(room / strides[i]) : Math.floor(room / strides[i])) + 1;
    // A window that begins behind the map is none, as in PyTorch.
    if (ceil && (count - 1) * strides[i] >= length + window.before[i]) count--;
    if (count < 1 || count > longest) call.refuse(`a window of at most ${length}`, String(reach));
    window.output[i] = count;
    window.beyond[i] = Math.max(0, (count - 1) * strides[i] - room);
  }
  return window;
}

function pair(values: readonly number[] = []): Pair {
  return [values[0] ?? 1, values[1] ?? 1];
}

/**
 * The map with what the window reads around it, and how TensorFlow is told of it: its own paddings where they are the
 * same, for all kernels know those.
 *
 * @param way `explicit` for operations that take any padding of zeros; `apart` adds it by an operation of its own.
 */
export function padded(
  trace: Trace,
  input: Tensor,
  window: SlidingWindow,
  filler: number,
  way: "explicit" | "apart",
): { source: Tensor; attr: NodeDef["attr"] } {
  const { before, beyond, size, strides, dilations, output } = window;
  const after = [window.after[0] + beyond[0], window.after[1] + beyond[1]] as const;
  const valid = { padding: text("VALID") };
  if ([...before, ...after].every((pad) => pad === 0)) return { source: input, attr: valid };
  const isSame = [0, 1].every((i) => {
    const length = input.shape[2 + i]!;
    const reach = (size[i]! - 1) * dilations[i]! + 1;
    const missing = Math.max(0, (output[i]! - 1) * strides[i]! + reach - length);
    const fits = output[i] === Math.ceil(length / strides[i]!);
    return fits && before[i] === Math.floor(missing / 2) && after[i] === missing - before[i];
  });
  if (way === "explicit") {
    if (isSame) return { source: input, attr: { padding: text("SAME") } };
    const explicit = ints([0, 0, before[0], after[0], before[1], after[1], 0, 0]);
    if ([...before, ...after].every((pad) => pad >= 0)) {
      return { source: input, attr: { padding: text("EXPLICIT"), explicit_paddings: explicit } };
    }
  }
  const amounts = [0, 0, before[0], after[0], before[1], after[1], 0, 0];
  return { source: pad(trace, input, amounts, filler), attr: valid };
}

/** @param amounts before and after each axis, as the tensor lies. */
export function pad(trace: Trace, input: Tensor, amounts: readonly number[], filler: number): Tensor {
  const shape = physicalShape(input).map((size, i) => size + amounts[2 * i]! + amounts[2 * i + 1]!);
  return trace.operation("PadV2", [input, int32(amounts, [shape.length, 2]), scalar(filler)], {
    shape,
    order: input.order,
    attr: { T: typeOf("float32"), Tpaddings: typeOf("int32") },
  });
}
