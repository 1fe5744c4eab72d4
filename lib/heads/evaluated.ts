import type { BatchNormWeights, HeadWeights, HiddenLayer, HiddenWeights } from "./head.js";
import { batchNormEpsilon } from "./head.js";

/** A fully connected layer. */
export interface DenseLayer {
  /** Shape [width before, width], row by row. */
  weight: Float32Array;
  /** Shape [width]. */
  bias: Float32Array;
  /** Whether max(·, 0) follows. */
  relu: boolean;
}

/**
 * The fully connected layers that a head is in evaluation: every batch norm folded (in float64) into the matrix beside
 * it, dropout gone. An input's L2 norm is no part of them.
 *
 * A batch norm before a linear layer, c the channel of d: y = Σ_d (x_d − μ_c)·γ_c/√(σ²_c + ε)·w_d + β_c·w_d + b. One
 * behind it scales its columns: y = (x·w + b − μ)·γ/√(σ² + ε) + β.
 *
 * @param hidden as the head was trained; empty for a linear head.
 */
export function denseLayers(weights: HeadWeights, hidden: HiddenLayer[]): DenseLayer[] {
  const linear: HiddenWeights[] = [...(weights.hidden ?? []), { weight: weights.weight, bias: weights.bias }];
  return linear.map(({ weight, bias, batchNorm }, i) => {
    let dense: Dense = { weight: Float64Array.from(weight), bias: Float64Array.from(bias) };
    if (i === 0 && weights.batchNorm) dense = behind(weights.batchNorm, dense);
    if (batchNorm) dense = before(batchNorm, dense);
    return {
      weight: Float32Array.from(dense.weight),
      bias: Float32Array.from(dense.bias),
      relu: hidden[i]?.relu ?? false,
    };
  });
}

interface Dense {
  weight: Float64Array;
  bias: Float64Array;
}

/** A batch norm as y = scale·x + shift, a number a channel. */
function asAffine({ gamma, beta, mean, variance }: BatchNormWeights): { scale: Float64Array; shift: Float64Array } {
  const scale = Float64Array.from(gamma, (g, c) => g / Math.sqrt(variance[c]! + batchNormEpsilon));
  return { scale, shift: Float64Array.from(beta, (b, c) => b - mean[c]! * scale[c]!) };
}

/** The linear layer behind a batch norm over the channels of its channel-major input, with it. */
function behind(norm: BatchNormWeights, { weight, bias }: Dense): Dense {
  const { scale, shift } = asAffine(norm);
  const columns = bias.length;
  const positions = weight.length / columns / scale.length;
  const sum = bias.slice();
  weight.forEach((w, i) => (sum[i % columns]! += w * shift[Math.floor(i / columns / positions)]!));
  return { weight: weight.map((w, i) => w * scale[Math.floor(i / columns / positions)]!), bias: sum };
}

/** The linear layer before a batch norm, with it. */
function before(norm: BatchNormWeights, { weight, bias }: Dense): Dense {
  const { scale, shift } = asAffine(norm);
  return {
    weight: weight.map((w, i) => w * scale[i % bias.length]!),
    bias: bias.map((b, c) => b * scale[c]! + shift[c]!),
  };
}
