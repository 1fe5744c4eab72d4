import type { HeadWeights, HiddenLayer } from "../../lib/heads/head.js";
import type { InputForm } from "../../lib/heads/input.js";
import type { Loss } from "../../lib/heads/loss.js";
import { golden } from "../golden.js";

/** Weights as the file has them; of gradients, batch norm without statistics. */
interface Parts {
  weight: number[];
  bias: number[];
  batchNorm?: Record<string, number[]>;
  hidden?: Parts[];
}

interface Case<P> {
  name: string;
  form: InputForm;
  hidden: HiddenLayer[];
  loss: Loss;
  /** One or `classes` numbers an image. */
  targets: number[];
  start: P;
  first: { logits: number[]; loss: number; gradients: P };
  final: P;
  /** Of the first ten images, in evaluation. */
  logits: number[];
}

interface File<P> {
  shape: number[];
  classes: number;
  batch: number;
  lr: number;
  weightDecay: number;
  momentum: number;
  features: number[];
  order: number[][];
  cases: Case<P>[];
}

export type MlpCase = Case<HeadWeights>;

/** What bench/peers/golden_mlp.py wrote. */
export function mlpGolden(): File<HeadWeights> {
  const file = golden<File<Parts>>("heads/mlp.json");
  return {
    ...file,
    cases: file.cases.map((one) => ({
      ...one,
      start: asWeights(one.start),
      final: asWeights(one.final),
      first: { ...one.first, gradients: asWeights(one.first.gradients) },
    })),
  };
}

function asWeights(parts: Parts): HeadWeights {
  const { weight, bias, batchNorm, hidden } = parts;
  const arrays = (of: Record<string, number[]>) =>
    Object.fromEntries(Object.entries(of).map(([name, values]) => [name, Float32Array.from(values)]));
  return {
    weight: Float32Array.from(weight),
    bias: Float32Array.from(bias),
    ...(batchNorm && { batchNorm: arrays(batchNorm) as unknown as HeadWeights["batchNorm"] }),
    ...(hidden && hidden.length > 0 && { hidden: hidden.map(asWeights) }),
  };
}
