import { foldBatchNorm } from "../batch-norm.js";
import type { BatchNorm } from "../batch-norm.js";
import { convolutionKernel, depthwiseKernel } from "../weight.js";
import type { FloatWeight } from "../weight.js";
import { concat, reshape, slice, transpose } from "./layout.js";
import { together } from "./elementwise.js";
import type { Operators } from "./operators.js";
import { rearrangedMatMul } from "./matrices.js";
import type { Call } from "./trace.js";
import { ints, text, typeOf } from "./trace.js";
import { floatWeight, physicalShape } from "./value.js";
import type { Tensor } from "./value.js";
import { nhwc, padded, windowOf } from "./window.js";
import type { SlidingWindow } from "./window.js";

/** Convolutions; a batch norm behind one that nobody else reads is folded in. */
export const convolutions: Operators = {
  Conv: (call) => {
    const { trace } = call;
    const kernel = call.constant(1);
    const [, channelsInGroup, ...size] = kernel.shape as [number, number, ...number[]];
    if (size.length !== 2) call.refuse("a kernel of rows and columns", `${size.length} axes`);
    const input = trace.arrange(imagesOf(call), nhwc);
    const groups = call.integer("group", 1);
    if (channelsInGroup * groups !== input.shape[1]) {
      call.refuse(`${channelsInGroup * groups} channels`, String(input.shape[1]));
    }
    const bias = call.optional(2) && floatWeight(call.constant(2));
    const norm = call.foldedNorm;
    const weights = norm
      ? foldBatchNorm({ kernel: floatWeight(kernel), bias, norm: normOf(norm) })
      : { kernel: floatWeight(kernel), bias };
    const window = windowOf(call, input, size as [number, number]);
    const convolved = convolve(call, input, weights.kernel, window, groups);
    if (!weights.bias) return convolved;
    return trace.operation("BiasAdd", [convolved, weights.bias], {
      shape: physicalShape(convolved),
      order: nhwc,
      attr: { T: typeOf("float32"), data_format: text("NHWC") },
    });
  },
  // Windows that do not overlap: each pixel becomes a block of pixels.
  ConvTranspose: (call) => {
    const kernel = call.constant(1);
    const [channelsIn, channelsOut, rows, columns] = kernel.shape as [number, number, number, number];
    const strides = call.integers("strides") ?? [1, 1];
    const isSimple =
      kernel.shape.length === 4 &&
      strides.join() === [rows, columns].join() &&
      call.integer("group", 1) === 1 &&
      [...(call.integers("pads") ?? []), ...(call.integers("output_padding") ?? [])].every((pad) => pad === 0);
    if (!isSimple) call.refuse("a stride as large as the kernel, and no padding", `strides of ${strides.join("x")}`);
    const [batch, , height, width] = call.input(0).shape as [number, number, number, number];
    const pixels = transpose(imagesOf(call), nhwc);
    const matrix = reshape(call.trace, kernel, [channelsIn, channelsOut * rows * columns]);
    const blocks = rearrangedMatMul(call, call.trace.tensor(pixels), matrix);
    const split = reshape(call.trace, blocks, [batch, height, width, channelsOut, rows, columns]);
    const map = reshape(call.trace, transpose(split, [0, 3, 1, 4, 2, 5]), [batch, channelsOut, height * rows, width * columns]); // prettier-ignore
    const bias = call.optional(2);
    return bias ? together(call, "AddV2", [map, reshape(call.trace, bias, [channelsOut, 1, 1])]) : map;
  },
};

function imagesOf(call: Call): Tensor {
  const input = call.tensor(0);
  return input.shape.length === 4 ? input : call.refuse("maps of rows and columns", `${input.shape.length} axes`);
}

function normOf(norm: Call): BatchNorm {
  const [scale, shift, mean, variance] = [1, 2, 3, 4].map((i) => floatWeight(norm.constant(i))) as [FloatWeight, FloatWeight, FloatWeight, FloatWeight]; // prettier-ignore
  return { scale, shift, mean, variance, epsilon: norm.float("epsilon", 1e-5) };
}

function convolve(call: Call, input: Tensor, kernel: FloatWeight, window: SlidingWindow, groups: number): Tensor {
  const { trace } = call;
  const channelsOut = kernel.shape[0]!;
  const channels = input.shape[1]!;
  const { strides, dilations, output } = window;
  const { source, attr } = padded(trace, input, window, 0, "explicit");
  const result = (depth: number) => ({
    shape: [input.shape[0]!, ...output, depth],
    order: nhwc,
    attr: {
      ...attr,
      T: typeOf("float32"),
      strides: ints([1, ...strides, 1]),
      dilations: ints([1, ...dilations, 1]),
      data_format: text("NHWC"),
    },
  });
  if (groups === 1) return trace.operation("Conv2D", [source, convolutionKernel(kernel)], result(channelsOut));
  if (groups === channels && strides[0] === strides[1]) {
    return trace.operation("DepthwiseConv2dNative", [source, depthwiseKernel(kernel, channels)], result(channelsOut));
  }
  // No backend has convolutions in groups: each group by itself.
  const depth = channelsOut / groups;
  const parts = Array.from({ length: groups }, (_, group) => {
    const count = channels / groups;
    const part = slice(trace, source, new Map([[1, { start: group * count, step: 1, count }]]));
    return trace.operation("Conv2D", [part, convolutionKernel(groupOf(kernel, group, depth))], result(depth));
  });
  return concat(call, parts, 1);
}

function groupOf(kernel: FloatWeight, group: number, depth: number): FloatWeight {
  const shape = [depth, ...kernel.shape.slice(1)];
  const read = async () => {
    const values = await kernel.read();
    const length = (values.length / kernel.shape[0]!) * depth;
    return values.subarray(group * length, (group + 1) * length);
  };
  return { shape, dtype: "float32", read };
}
