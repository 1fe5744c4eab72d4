import { gather } from "./layout.js";
import type { Operators } from "./operators.js";
import type { Call, Trace } from "./trace.js";
import { float32, typeOf } from "./trace.js";
import type { Tensor } from "./value.js";
import { sizeOf } from "./value.js";
import { longest } from "./window.js";

/**
 * Resizing of maps. The nearest element is gathered; interpolation is a product with a matrix for the rows and one for
 * the columns: so each of ONNX's ways to lay out coordinates is exact on every backend.
 */
export const resizing: Operators = {
  Resize: (call) => {
    const scales = call.opset < 11 ? call.numbers(1) : nonEmpty(call.numbers(2));
    return resize(call, scales, call.opset < 11 ? undefined : nonEmpty(call.numbers(3)));
  },
  Upsample: (call) => resize(call, call.attribute("scales")?.floats ?? call.numbers(1)),
};

function nonEmpty(values: readonly number[] | undefined): readonly number[] | undefined {
  return values && values.length > 0 ? values : undefined;
}

function resize(call: Call, scales?: readonly number[], sizes?: readonly number[]): Tensor {
  const { trace } = call;
  const input = call.tensor(0);
  if (call.text("keep_aspect_ratio_policy", "stretch") !== "stretch") call.refuse("the policy stretch", "another one");
  if ((call.integers("axes") ?? []).length > 0) call.refuse("sizes of all axes", "of some");
  let result = input;
  input.shape.forEach((size, axis) => {
    const target = sizes?.[axis] ?? Math.floor(size * (scales?.[axis] ?? 1));
    if (target === size) return;
    if (trace.isBatch(size)) call.refuse("axes within an image", "the batch's");
    if (!(target >= 1 && target <= longest)) call.refuse(`1 to ${longest} elements of an axis`, String(target));
    const scale = scales?.[axis] ?? target / size;
    const taps = Array.from({ length: target }, (_, position) =>
      weightsAt(call, sourceOf(call, position, scale, size, target), size, scale),
    );
    result =
      call.text("mode", "nearest") === "nearest"
        ? gather(trace, result, axis, taps.map((tap) => [...tap.keys()][0]!)) // prettier-ignore
        : interpolated(trace, result, axis, taps);
  });
  return result;
}

/** Where an element of the result lies in the input. */
function sourceOf(call: Call, position: number, scale: number, size: number, target: number): number {
  const mode = call.text("coordinate_transformation_mode", call.opset < 11 ? "asymmetric" : "half_pixel");
  switch (mode) {
    case "half_pixel":
      return (position + 0.5) / scale - 0.5;
    case "pytorch_half_pixel":
      return target > 1 ? (position + 0.5) / scale - 0.5 : 0;
    case "asymmetric":
      return position / scale;
    case "align_corners":
      return target > 1 ? (position * (size - 1)) / (target - 1) : 0;
    default:
      return call.refuse("known coordinates", mode);
  }
}

/** Which elements of the input count for a place, and how much. */
function weightsAt(call: Call, source: number, size: number, scale: number): Map<number, number> {
  const mode = call.text("mode", "nearest");
  const inside = (position: number) => Math.max(0, Math.min(position, size - 1));
  if (mode === "nearest") {
    return new Map([
      [inside(rounded(source, call.text("nearest_mode", call.opset < 11 ? "floor" : "round_prefer_floor"))), 1],
    ]);
  }
  const stretch = call.integer("antialias", 0) === 1 ? Math.max(1, 1 / scale) : 1;
  const radius = (mode === "cubic" ? 2 : 1) * stretch;
  const a = call.float("cubic_coeff_a", -0.75);
  const kernel = mode === "cubic" ? (x: number) => cubic(x, a) : (x: number) => Math.max(0, 1 - x);
  const excluded = call.integer("exclude_outside", 0) === 1;
  const weights = new Map<number, number>();
  for (let i = Math.ceil(source - radius); i <= Math.floor(source + radius); i++) {
    const weight = kernel(Math.abs(source - i) / stretch);
    // The edge stands for what lies outside of it.
    if (weight === 0 || (excluded && i !== inside(i))) continue;
    weights.set(inside(i), (weights.get(inside(i)) ?? 0) + weight);
  }
  const total = [...weights.values()].reduce((sum, weight) => sum + weight, 0);
  return new Map([...weights].map(([i, weight]) => [i, weight / total]));
}

function rounded(source: number, mode: string): number {
  switch (mode) {
    case "floor":
      return Math.floor(source);
    case "ceil":
      return Math.ceil(source);
    case "round_prefer_ceil":
      return Math.floor(source + 0.5);
    default:
      return Math.ceil(source - 0.5);
  }
}

/** Keys' cubic convolution. */
function cubic(x: number, a: number): number {
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/** The axis multiplied by a matrix: [target, size] · [size, what lies behind it]. */
function interpolated(trace: Trace, input: Tensor, axis: number, taps: readonly ReadonlyMap<number, number>[]): Tensor {
  const { order, shape } = input;
  const at = order.indexOf(axis);
  const [before, behind] = [order.slice(0, at), order.slice(at + 1)].map((axes) => axes.map((one) => shape[one]!)) as [number[], number[]]; // prettier-ignore
  const [size, target] = [shape[axis]!, taps.length];
  const matrix = taps.flatMap((tap) => Array.from({ length: size }, (_, i) => tap.get(i) ?? 0));
  const columns = sizeOf(behind);
  const rows = trace.reshapeNode(input, [sizeOf(before), size, columns]);
  const product = trace.operation("BatchMatMulV2", [float32(matrix, [1, target, size]), rows], {
    shape: [sizeOf(before), target, columns],
    attr: { T: typeOf("float32"), adj_x: { b: false }, adj_y: { b: false } },
  });
  return trace.reshapeNode(product, [...before, target, ...behind], order);
}
