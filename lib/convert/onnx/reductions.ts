import { each, together, withNumber } from "./elementwise.js";
import type { Operators } from "./operators.js";
import type { Call } from "./trace.js";
import { int32, typeOf } from "./trace.js";
import { identity } from "./value.js";
import type { Tensor, Value } from "./value.js";

/** Sums, means, extremes over axes, and what is made of them. */
export const reductions: Operators = {
  ReduceMean: (call) => over(call, "Mean", call.tensor(0)),
  ReduceSum: (call) => over(call, "Sum", call.tensor(0)),
  ReduceMax: (call) => over(call, "Max", call.tensor(0)),
  ReduceMin: (call) => over(call, "Min", call.tensor(0)),
  ReduceProd: (call) => over(call, "Prod", call.tensor(0)),
  ReduceL1: (call) => over(call, "Sum", each(call.trace, "Abs", call.tensor(0))),
  ReduceSumSquare: (call) => over(call, "Sum", each(call.trace, "Square", call.tensor(0))),
  ReduceL2: (call) => {
    const squares = over(call, "Sum", each(call.trace, "Square", call.tensor(0)));
    return each(call.trace, "Sqrt", call.trace.tensor(squares));
  },
  Softmax: (call) => {
    const { input, axes } = softmaxAxes(call);
    if (axes.length === 1) return softmax(call, input, axes[0]!);
    const raised = each(call.trace, "Exp", lowered(call, input, axes));
    return together(call, "RealDiv", [raised, reduce(call, "Sum", raised, axes, true)]);
  },
  LogSoftmax: (call) => {
    const { input, axes } = softmaxAxes(call);
    const shifted = lowered(call, input, axes);
    const sum = reduce(call, "Sum", each(call.trace, "Exp", shifted), axes, true);
    return together(call, "Sub", [shifted, each(call.trace, "Log", sum)]);
  },
  LpNormalization: (call) => {
    const input = call.tensor(0);
    const axis = call.axis(call.integer("axis", -1), input.shape.length);
    if (call.integer("p", 2) !== 2) call.refuse("p of 2", String(call.integer("p", 2)));
    const length = each(call.trace, "Sqrt", reduce(call, "Sum", each(call.trace, "Square", input), [axis], true));
    return together(call, "RealDiv", [input, withNumber(call.trace, "Maximum", length, 1e-12)]);
  },
};

function over(call: Call, op: string, input: Tensor): Value {
  const rank = input.shape.length;
  const given = call.axes();
  if ((given?.length ?? 0) === 0 && call.integer("noop_with_empty_axes", 0) === 1) return input;
  const axes = given && given.length > 0 ? given.map((axis) => call.axis(axis, rank)) : identity(rank);
  return reduce(call, op, input, axes, call.integer("keepdims", 1) === 1);
}

/** A reduction of TensorFlow, over ONNX's axes. */
export function reduce(call: Call, op: string, input: Tensor, axes: readonly number[], keep: boolean): Tensor {
  const { trace } = call;
  if (axes.some((axis) => trace.isBatch(input.shape[axis]!))) call.refuse("axes within an image", "the batch's");
  const places = axes.map((axis) => input.order.indexOf(axis)).sort((a, b) => a - b);
  const left = keep ? input.order : input.order.filter((axis) => !axes.includes(axis));
  const kept = identity(input.shape.length).filter((axis) => keep || !axes.includes(axis));
  return trace.operation(op, [input, int32(places)], {
    shape: left.map((axis) => (axes.includes(axis) ? 1 : input.shape[axis]!)),
    order: left.map((axis) => kept.indexOf(axis)),
    attr: { T: typeOf("float32"), Tidx: typeOf("int32"), keep_dims: { b: keep } },
  });
}

/** Before opset 13, all axes from the one that is named on count as one. */
function softmaxAxes(call: Call): { input: Tensor; axes: number[] } {
  const input = call.tensor(0);
  const rank = input.shape.length;
  const axis = call.axis(call.integer("axis", call.opset < 13 ? 1 : -1), rank);
  const axes = call.opset < 13 ? identity(rank).slice(axis) : [axis];
  const long = axes.filter((one) => input.shape[one] !== 1);
  return { input, axes: long.length > 0 ? long : [axis] };
}

/** Along one axis, which has to lie last. */
function softmax(call: Call, input: Tensor, axis: number): Tensor {
  const order = [...input.order.filter((one) => one !== axis), axis];
  return each(call.trace, "Softmax", call.trace.arrange(input, order));
}

function lowered(call: Call, input: Tensor, axes: readonly number[]): Tensor {
  return together(call, "Sub", [input, reduce(call, "Max", input, axes, true)]);
}
