import * as tf from "@tensorflow/tfjs";

import type { BodyParameter } from "./body.js";

/**
 * How the trials' arrays of [rows, columns] stand in one tensor.
 *
 * - `side by side`: [seeds, rows, trials·columns]. With an operand that all trials share, one product serves them all.
 * - `stacked`: [seeds·trials, rows, columns], for products of which each trial has its own operand.
 */
export type TrialLayout = "side by side" | "stacked";

export interface TrialParameterOptions {
  name: string;
  /** A matrix has its biases as its last row. */
  kind: BodyParameter["kind"];
  layout: TrialLayout;
  /** Where all trials of a seed start, [rows, columns] row by row. */
  start: Float32Array[];
  columns: number;
  trials: number;
  createSlots: (value: tf.Tensor) => Record<string, tf.Tensor>;
}

/** A trained array of every trial and seed. */
export interface TrialParameter extends BodyParameter {
  /** One trial's own array, row by row. */
  read(place: { seed: number; trial: number }): Promise<Float32Array>;
  /** Sets value and slots to zero for the marked trials of a seed, even where they are no longer finite. */
  zero(place: { seed: number; trials: boolean[] }): void;
  dispose(): void;
}

export function createTrialParameter(options: TrialParameterOptions): TrialParameter {
  const { name, kind, layout, start, columns, trials, createSlots } = options;
  const seeds = start.length;
  const rows = start[0]!.length / columns;
  const stacked = layout === "stacked";
  const value = trialTensor(options);
  const slots = createSlots(value);
  const parameter = { value, slots };
  /** A tensor of the parameter's shape with an axis for the trials alone. */
  const byTrial = (tensor: tf.Tensor): tf.Tensor4D =>
    tensor.reshape(stacked ? [seeds, 1, trials, rows * columns] : [seeds, rows, trials, columns]);
  /** 1, and 0 in the row of the biases; broadcasts to the parameter. */
  const notBias = (): tf.Tensor =>
    tf.tensor3d(
      Float32Array.from({ length: rows }, (_, row) => (row < rows - 1 ? 1 : 0)),
      [1, rows, 1],
    );

  return {
    name,
    parameter,
    kind,
    spread: (perTrial, withoutBias = false) =>
      tf.tidy(() => {
        const masked = withoutBias && kind === "matrix";
        // One number for all costs an optimizer less than one a column.
        if (!masked && perTrial.every((number) => number === perTrial[0])) return tf.fill([1, 1, 1], perTrial[0]!);
        const numbers = tf.tensor(Float32Array.from(perTrial), [1, 1, trials, 1]);
        const spread = stacked
          ? tf.tile(numbers, [seeds, 1, 1, 1]).reshape([seeds * trials, 1, 1])
          : tf.tile(numbers, [1, 1, 1, columns]).reshape([1, 1, trials * columns]);
        return masked ? tf.mul(spread, notBias()) : spread;
      }),
    squaredNorm: (tensor) =>
      tf.tidy(() => {
        if (kind === "norm") return tf.zerosLike(tensor);
        const sum = tf.sum(byTrial(tf.mul(tf.square(tensor), notBias())), [1, 3], true);
        return tf.mul(sum, byTrial(tf.mul(tf.onesLike(tensor), notBias()))).reshape(tensor.shape);
      }),
    toRows: (tensor) =>
      tf.tidy(() => {
        const whole = stacked ? tensor : tf.transpose(byTrial(tensor), [0, 2, 1, 3]);
        return whole.reshape([seeds * trials, rows * columns]);
      }),
    fromRows: (ofTrials) =>
      tf.tidy(() => {
        if (stacked) return ofTrials.reshape([seeds * trials, rows, columns]);
        const whole = tf.transpose(ofTrials.reshape([seeds, trials, rows, columns]), [0, 2, 1, 3]);
        return whole.reshape([seeds, rows, trials * columns]);
      }),
    read: async ({ seed, trial }) => {
      const own = tf.tidy(() => byTrial(parameter.value).slice([seed, 0, trial, 0], [1, -1, 1, -1]));
      const data = Float32Array.from(await own.data());
      own.dispose();
      return data;
    },
    zero: (place) => {
      const zeroed = (tensor: tf.Tensor) => zeroedTrials(tensor, byTrial, place);
      parameter.value = zeroed(parameter.value);
      for (const [slot, tensor] of Object.entries(parameter.slots)) parameter.slots[slot] = zeroed(tensor);
    },
    dispose: () => tf.dispose([parameter.value, ...Object.values(parameter.slots)]),
  };
}

/** The start of each seed for all its trials, kept beyond any tidy. */
export function trialTensor(
  options: Pick<TrialParameterOptions, "layout" | "start" | "columns" | "trials">,
): tf.Tensor {
  const { layout, start, columns, trials } = options;
  return tf.tidy(() => {
    const one = tf.stack(start.map((data) => tf.tensor2d(data, [data.length / columns, columns])));
    if (layout === "side by side") return tf.keep(tf.tile(one, [1, 1, trials]));
    const repeated = tf.tile(one.expandDims(1), [1, trials, 1, 1]);
    return tf.keep(repeated.reshape([start.length * trials, -1, columns]));
  });
}

/**
 * In place of the tensor one whose marked trials are zero, kept beyond any tidy; the old one is disposed.
 *
 * @param byTrial gives the tensor as [seeds, …, trials, …] of four axes.
 */
export function zeroedTrials(
  tensor: tf.Tensor,
  byTrial: (tensor: tf.Tensor) => tf.Tensor4D,
  { seed, trials: marked }: { seed: number; trials: boolean[] },
): tf.Tensor {
  const zeroed = tf.tidy(() => {
    const view = byTrial(tensor);
    const [seeds, , trials] = view.shape;
    const mask = tf.tensor(
      Array.from({ length: seeds * trials }, (_, i) => Math.floor(i / trials) === seed && marked[i % trials]!),
      [seeds, 1, trials, 1],
      "bool",
    );
    // A product with zero would leave what is not finite.
    const everywhere = tf.logicalAnd(mask, tf.onesLike(view).toBool());
    return tf.keep(tf.where(everywhere, tf.zerosLike(view), view).reshape(tensor.shape));
  });
  tensor.dispose();
  return zeroed;
}
