import { reduce } from "./reductions.js";
import type { Operators } from "./operators.js";
import type { Call } from "./trace.js";
import { float32, ints, text, typeOf } from "./trace.js";
import { identity, physicalShape } from "./value.js";
import type { Tensor } from "./value.js";
import { nhwc, padded, windowOf } from "./window.js";
import type { SlidingWindow } from "./window.js";

/** Poolings of maps. */
export const poolings: Operators = {
  // The padding never wins.
  MaxPool: (call) => {
    if (call.node.outputs.length > 1) call.refuse("one output", "positions too");
    if (call.integers("dilations")?.some((step) => step !== 1)) call.refuse("no dilations", "some");
    return pool(call, "MaxPool", -3.4028234663852886e38).pooled;
  },
  AveragePool: (call) => {
    if (call.integers("dilations")?.some((step) => step !== 1)) call.refuse("no dilations", "some");
    const { pooled, window, input } = pool(call, "AvgPool", 0);
    const counts = countsOf(input, window, call.integer("count_include_pad", 0) === 1);
    const whole = window.size[0] * window.size[1];
    if (counts.every((count) => count === whole)) return pooled;
    const factors = float32(counts.map((count) => whole / count), [1, ...window.output, 1]); // prettier-ignore
    return call.trace.operation("Mul", [pooled, factors], { shape: physicalShape(pooled), order: nhwc });
  },
  GlobalAveragePool: (call) => reduce(call, "Mean", call.tensor(0), positions(call), true),
  GlobalMaxPool: (call) => reduce(call, "Max", call.tensor(0), positions(call), true),
};

function positions(call: Call): number[] {
  return identity(call.input(0).shape.length).slice(2);
}

function pool(call: Call, op: "MaxPool" | "AvgPool", filler: number) {
  const { trace } = call;
  const input = trace.arrange(call.tensor(0), nhwc);
  const size = call.integers("kernel_shape") ?? [];
  if (input.shape.length !== 4 || size.length !== 2) call.refuse("maps of rows and columns", `${size.length} axes`);
  const window = windowOf(call, input, [size[0]!, size[1]!]);
  const { source } = padded(trace, input, window, filler, "apart");
  const pooled = trace.operation(op, [source], {
    shape: [input.shape[0]!, ...window.output, input.shape[1]!],
    order: nhwc,
    attr: {
      T: typeOf("float32"),
      ksize: ints([1, ...window.size, 1]),
      strides: ints([1, ...window.strides, 1]),
      padding: text("VALID"),
      data_format: text("NHWC"),
    },
  });
  return { pooled, window, input };
}

/** How many elements each window's mean is over: the map's, and the padding's where it counts; nothing beyond that. */
function countsOf(input: Tensor, window: SlidingWindow, countPadding: boolean): number[] {
  const [rows, columns] = [0, 1].map((i) => {
    const [from, to] = countPadding
      ? [-window.before[i]!, input.shape[2 + i]! + window.after[i]!]
      : [0, input.shape[2 + i]!];
    return Array.from({ length: window.output[i]! }, (_, position) => {
      const start = position * window.strides[i]! - window.before[i]!;
      return Math.min(start + window.size[i]!, to) - Math.max(start, from);
    });
  }) as [number[], number[]];
  return rows.flatMap((height) => columns.map((width) => height * width));
}
