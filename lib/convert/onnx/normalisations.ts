import { each, together, withNumber } from "./elementwise.js";
import { reshape } from "./layout.js";
import type { Operators } from "./operators.js";
import { reduce } from "./reductions.js";
import type { Call } from "./trace.js";
import { identity, known, physicalShape } from "./value.js";
import type { Constant, Tensor, Value } from "./value.js";
import { nhwc } from "./window.js";

/** Normalisations; a batch norm that stands behind a convolution is folded there. */
export const normalisations: Operators = {
  BatchNormalization: (call) => {
    const [scale, shift, mean, variance] = [1, 2, 3, 4].map((i) => call.numbers(i)!) as [readonly number[], readonly number[], readonly number[], readonly number[]]; // prettier-ignore
    const input = call.tensor(0);
    const factors = scale.map((value, i) => value / Math.sqrt(variance[i]! + call.float("epsilon", 1e-5)));
    const offsets = shift.map((value, i) => value - mean[i]! * factors[i]!);
    const scaled = together(call, "Mul", [input, perChannel(factors, input)]);
    return together(call, "AddV2", [scaled, perChannel(offsets, input)]);
  },
  LayerNormalization: (call) => {
    const input = call.tensor(0);
    const first = call.axis(call.integer("axis", -1), input.shape.length);
    const normalised = standardised(call, input, identity(input.shape.length).slice(first));
    return affine(call, normalised, call.optional(1), call.optional(2));
  },
  InstanceNormalization: (call) => {
    const input = call.tensor(0);
    const normalised = standardised(call, input, identity(input.shape.length).slice(2));
    return affine(call, normalised, perChannel(call.numbers(1)!, input), perChannel(call.numbers(2)!, input));
  },
  GroupNormalization: (call) => {
    const input = call.tensor(0);
    const [batch, channels, ...places] = input.shape as [number, number, ...number[]];
    const groups = call.integer("num_groups", 1);
    const [scale, shift] = [call.numbers(1)!, call.numbers(2)!];
    if (scale.length !== channels) call.refuse("a scale for each channel", String(scale.length));
    const split = call.trace.tensor(reshape(call.trace, input, [batch, groups, channels / groups, ...places]));
    const normalised = standardised(call, split, identity(split.shape.length).slice(2));
    const joined = reshape(call.trace, normalised, input.shape);
    return affine(call, joined, perChannel(scale, input), perChannel(shift, input));
  },
  LRN: (call) => {
    const input = call.trace.arrange(call.tensor(0), nhwc);
    const size = call.integer("size", 1);
    if (size % 2 === 0) call.refuse("an odd size", String(size));
    return call.trace.operation("LRN", [input], {
      shape: physicalShape(input),
      order: nhwc,
      attr: {
        depth_radius: { i: String((size - 1) / 2) },
        bias: { f: call.float("bias", 1) },
        alpha: { f: call.float("alpha", 1e-4) / size },
        beta: { f: call.float("beta", 0.75) },
      },
    });
  },
};

/** (x − mean) / √(variance + ε) over the axes. */
function standardised(call: Call, input: Tensor, axes: readonly number[]): Tensor {
  const { trace } = call;
  const centred = together(call, "Sub", [input, reduce(call, "Mean", input, axes, true)]);
  const variance = reduce(call, "Mean", each(trace, "Square", centred), axes, true);
  const deviation = each(trace, "Sqrt", withNumber(trace, "AddV2", variance, call.float("epsilon", 1e-5)));
  return together(call, "RealDiv", [centred, deviation]);
}

function affine(call: Call, input: Value, scale?: Value, shift?: Value): Value {
  const scaled = scale ? together(call, "Mul", [input, scale]) : input;
  return shift ? together(call, "AddV2", [scaled, shift]) : scaled;
}

/** Numbers of ONNX's axis 1, shaped to be repeated along the others. */
function perChannel(values: readonly number[], { shape }: Tensor): Constant {
  return known([values.length, ...shape.slice(2).map(() => 1)], values, "float32");
}
