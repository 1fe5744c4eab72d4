import { random } from "../random.js";

/**
 * What is trained on top of a layer.
 *
 * - `fc`: one fully connected layer (VISSL: `mlp` with one pair of dims).
 * - `bn_fc`: batch norm over the channels of the pooled map, then flatten, then fully connected (VISSL: `eval_mlp`).
 */
export type HeadKind = "fc" | "bn_fc";

export interface HeadSpec {
  /** Name of the layer that it reads. */
  layer: string;
  /** Of the layer's features: [C, H, W] or [C]. */
  shape: number[];
  kind: HeadKind;
}

/** The weights of one trained head, as PyTorch would hold them, but the matrix transposed. */
export interface HeadWeights {
  /** Shape [width, classes], row by row. */
  weight: Float32Array;
  /** Shape [classes]. */
  bias: Float32Array;
  /** Only of heads that begin with a batch norm; each of shape [C]. */
  batchNorm?: BatchNormWeights;
  /** What stands between input and last layer, in order; `weight` is then [last hidden width, classes]. */
  hidden?: HiddenWeights[];
}

/** One hidden layer: linear, then batch norm, ReLU and dropout where its spec says so. */
export interface HiddenWeights {
  /** Shape [width before, width], row by row. */
  weight: Float32Array;
  /** Shape [width]. */
  bias: Float32Array;
  /** Of [width] each. */
  batchNorm?: BatchNormWeights;
}

/** A hidden layer of an MLP. Order and meaning are VISSL's: Linear [→ BatchNorm1d] [→ ReLU] [→ Dropout]. */
export interface HiddenLayer {
  width: number;
  batchNorm: boolean;
  relu: boolean;
  /** Probability in [0, 1) that a number is dropped in training; the others are divided by 1 − p. */
  dropout: number;
}

export interface BatchNormWeights {
  gamma: Float32Array;
  beta: Float32Array;
  /** Running statistics; the variance is the unbiased one, as PyTorch keeps it. */
  mean: Float32Array;
  variance: Float32Array;
}

/** PyTorch's defaults for BatchNorm, which VISSL's eval_mlp uses: ε and the weight of a new batch. */
export const batchNormEpsilon = 1e-5;
export const batchNormMomentum = 0.1;

export function headWidth({ shape }: HeadSpec): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Numbers that are trained in one head. */
export function headParameters(spec: HeadSpec, classes: number): number {
  return (headWidth(spec) + 1) * classes + (spec.kind === "bn_fc" ? 2 * spec.shape[0]! : 0);
}

/**
 * PyTorch's default initialisation of Linear: weight and bias uniform in ±1/√width; batch norm starts as the identity.
 * Heads of equal width and classes start from equal weights under one seed, as VISSL's do.
 */
export function initialWeights(spec: HeadSpec, classes: number, seed: number): HeadWeights {
  const width = headWidth(spec);
  const stream = random(seed, "head", width, classes);
  const bound = 1 / Math.sqrt(width);
  const uniform = (length: number) => Float32Array.from({ length }, () => bound * (2 * stream.uniform() - 1));
  const weight = uniform(width * classes);
  const bias = uniform(classes);
  if (spec.kind === "fc") return { weight, bias };
  const channels = spec.shape[0]!;
  return {
    weight,
    bias,
    batchNorm: {
      gamma: new Float32Array(channels).fill(1),
      beta: new Float32Array(channels),
      mean: new Float32Array(channels),
      variance: new Float32Array(channels).fill(1),
    },
  };
}

/**
 * The one linear map that a head is in evaluation, batch norm folded into it (in float64):
 * y = Σ_d (x_d − μ_c)·γ_c/√(σ²_c + ε)·w_d + β_c·w_d + b, c the channel of d.
 */
export function foldedHead({ weight, bias, batchNorm }: HeadWeights): { weight: Float32Array; bias: Float32Array } {
  if (!batchNorm) return { weight, bias };
  const { gamma, beta, mean, variance } = batchNorm;
  const classes = bias.length;
  const width = weight.length / classes;
  const positions = width / gamma.length;
  const folded = new Float32Array(weight.length);
  const sum = Float64Array.from(bias);
  for (let d = 0; d < width; d++) {
    const channel = Math.floor(d / positions);
    const scale = gamma[channel]! / Math.sqrt(variance[channel]! + batchNormEpsilon);
    const shift = beta[channel]! - mean[channel]! * scale;
    for (let c = 0; c < classes; c++) {
      const w = weight[d * classes + c]!;
      folded[d * classes + c] = w * scale;
      sum[c]! += w * shift;
    }
  }
  return { weight: folded, bias: Float32Array.from(sum) };
}
