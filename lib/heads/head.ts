import { random } from "../random.js";
import type { InputForm } from "./input.js";

/** How weights begin: PyTorch's default for Linear, or N(0, 0.01) with zero biases (DINOv2, MoCo). */
export type Initialisation = "torch" | "normal";

/** What is trained on top of a layer, or of several whose features are put one behind the other. */
export interface HeadSpec {
  /** What a record calls it, as `fc`, `bn_fc`, `mlp-2048`: letters, digits, _ and -. */
  name: string;
  /** What a record calls its input: a layer, or layers joined by `+`. */
  layer: string;
  /** Names of the layers that it reads, in order. */
  reads: string[];
  /** Of one image's input: [C, H, W] or [C]; [sum of widths] where several are read. */
  shape: number[];
  input: InputForm;
  /** Between input and last layer; none for a linear head. */
  hidden: HiddenLayer[];
  initial: Initialisation;
}

/** A linear head on one layer: `fc`, or with VISSL's batch norm before it `bn_fc`. */
export function linearHead(options: { layer: string; shape: number[]; name: "fc" | "bn_fc" }): HeadSpec {
  const { layer, shape, name } = options;
  const input = name === "fc" ? "raw" : "batch_norm";
  return { name, layer, reads: [layer], shape, input, hidden: [], initial: "torch" };
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

/** Widths from the input to the scores. */
export function headWidths(spec: HeadSpec, classes: number): number[] {
  return [headWidth(spec), ...spec.hidden.map(({ width }) => width), classes];
}

/** Numbers that are trained in one head. */
export function headParameters(spec: HeadSpec, classes: number): number {
  const widths = headWidths(spec, classes);
  const linear = widths.slice(1).reduce((sum, width, i) => sum + (widths[i]! + 1) * width, 0);
  const norms = spec.hidden.reduce((sum, { batchNorm, width }) => sum + (batchNorm ? 2 * width : 0), 0);
  return linear + norms + (spec.input === "batch_norm" ? 2 * spec.shape[0]! : 0);
}

/**
 * The weights that a head begins with: of PyTorch's Linear weight and bias uniform in ±1/√(width before); batch norm
 * starts as the identity. Heads of equal widths start from equal weights under one seed, as VISSL's do.
 */
export function initialWeights(spec: HeadSpec, classes: number, seed: number): HeadWeights {
  const widths = headWidths(spec, classes);
  const [last, ...hidden] = widths
    .slice(1)
    .map((width, i) => initialLinear({ from: widths[i]!, to: width, seed, initial: spec.initial, position: i }))
    .reverse() as [Linear, ...Linear[]];
  hidden.reverse();
  return {
    ...last,
    ...(spec.input === "raw" || spec.input === "l2" ? {} : { batchNorm: identityNorm(spec.shape[0]!) }),
    ...(hidden.length === 0
      ? {}
      : {
          hidden: hidden.map((linear, i) => ({
            ...linear,
            ...(spec.hidden[i]!.batchNorm ? { batchNorm: identityNorm(spec.hidden[i]!.width) } : {}),
          })),
        }),
  };
}

interface Linear {
  weight: Float32Array;
  bias: Float32Array;
}

function initialLinear(options: {
  from: number;
  to: number;
  seed: number;
  initial: Initialisation;
  position: number;
}): Linear {
  const { from, to, seed, initial, position } = options;
  const stream = random(seed, "head", from, to, ...(position > 0 ? [position] : []));
  if (initial === "normal") {
    return {
      weight: Float32Array.from({ length: from * to }, () => 0.01 * stream.normal()),
      bias: new Float32Array(to),
    };
  }
  const bound = 1 / Math.sqrt(from);
  const uniform = (length: number) => Float32Array.from({ length }, () => bound * (2 * stream.uniform() - 1));
  return { weight: uniform(from * to), bias: uniform(to) };
}

function identityNorm(channels: number): BatchNormWeights {
  return {
    gamma: new Float32Array(channels).fill(1),
    beta: new Float32Array(channels),
    mean: new Float32Array(channels),
    variance: new Float32Array(channels).fill(1),
  };
}
