import { noteFolding } from "./origin.js";
import type { FloatWeight } from "./weight.js";

/** A trained batch norm: y = (x − mean) / √(variance + ε) · scale + shift, a channel at a time. Shapes [channels]. */
export interface BatchNorm {
  scale: FloatWeight;
  shift: FloatWeight;
  mean: FloatWeight;
  variance: FloatWeight;
  epsilon: number;
}

/**
 * A convolution and the batch norm behind it as one convolution with a bias. Computed in double precision.
 *
 * @param kernel PyTorch's layout, output channels first: [out, in, rows, columns], depthwise ones too.
 * @param bias the convolution's own [out], where it has one.
 */
export function foldBatchNorm(options: { kernel: FloatWeight; bias?: FloatWeight; norm: BatchNorm }): {
  kernel: FloatWeight;
  bias: FloatWeight;
} {
  const { kernel, bias, norm } = options;
  const factors = async () => {
    const [scale, variance] = [await norm.scale.read(), await norm.variance.read()];
    return Float64Array.from(scale, (value, channel) => value / Math.sqrt(variance[channel]! + norm.epsilon));
  };
  const folded = {
    kernel: {
      ...kernel,
      read: async () => {
        const [values, factor] = [await kernel.read(), await factors()];
        const perChannel = values.length / factor.length;
        return values.map((value, i) => value * factor[Math.floor(i / perChannel)]!);
      },
    },
    bias: {
      ...norm.shift,
      read: async () => {
        const [shift, mean, factor, own] = [
          await norm.shift.read(),
          await norm.mean.read(),
          await factors(),
          await bias?.read(),
        ];
        return shift.map((value, channel) => value + ((own?.[channel] ?? 0) - mean[channel]!) * factor[channel]!);
      },
    },
  };
  noteFolding(folded.kernel, options);
  noteFolding(folded.bias, options);
  return folded;
}
