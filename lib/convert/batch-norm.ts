import type { FloatWeight } from "./weight.js";

/** A trained batch norm: y = (x − mean) / √(variance + ε) · scale + shift, a channel at a time. Shapes [channels]. */
export interface BatchNorm {
  scale: FloatWeight;
  shift: FloatWeight;
  mean: FloatWeight;
  variance: FloatWeight;
  epsilon: number;
}

/** A convolution and the batch norm behind it, before they become one. */
export interface Folding {
  /** PyTorch's layout, output channels first: [out, in, rows, columns], depthwise ones too. */
  kernel: FloatWeight;
  /** The convolution's own [out], where it has one. */
  bias?: FloatWeight;
  norm: BatchNorm;
}

/** A convolution and the batch norm behind it as one convolution with a bias. Computed in double precision. */
export function foldBatchNorm(folding: Folding): { kernel: FloatWeight; bias: FloatWeight } {
  const { kernel, bias, norm } = folding;
  const factors = async () => {
    const [scale, variance] = [await norm.scale.read(), await norm.variance.read()];
    return Float64Array.from(scale, (value, channel) => value / Math.sqrt(variance[channel]! + norm.epsilon));
  };
  const foldedKernel = async () => {
    const [values, factor] = [await kernel.read(), await factors()];
    const folded = new Float32Array(values.length);
    const perChannel = values.length / factor.length;
    for (let channel = 0, i = 0; channel < factor.length; channel++) {
      const own = factor[channel]!;
      for (const end = i + perChannel; i < end; i++) folded[i] = values[i]! * own;
    }
    return folded;
  };
  const foldedBias = async () => {
    const [shift, mean, factor, own] = [
      await norm.shift.read(),
      await norm.mean.read(),
      await factors(),
      await bias?.read(),
    ];
    return shift.map((value, channel) => value + ((own?.[channel] ?? 0) - mean[channel]!) * factor[channel]!);
  };
  return {
    kernel: { shape: kernel.shape, dtype: "float32", read: foldedKernel, folding },
    bias: { shape: norm.shift.shape, dtype: "float32", read: foldedBias, folding },
  };
}
