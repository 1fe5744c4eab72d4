import * as tf from "@tensorflow/tfjs";

import type { HeadBody } from "./body.js";
import { dropout } from "./dropout.js";
import type { BatchNormWeights, HeadWeights, HiddenLayer, HiddenWeights } from "./head.js";
import type { Layer, LayerOutput } from "./layer.js";
import { sharedLinear, stackTrials, trialLinear, unstackTrials } from "./linear-layers.js";
import { relu } from "./relu.js";
import { trialBatchNorm } from "./trial-batch-norm.js";
import {
  createTrialParameter,
  type TrialLayout,
  type TrialParameter,
  trialTensor,
  zeroedTrials,
} from "./trial-parameter.js";

export interface MlpBodyOptions {
  /**
   * One a seed; all trials of a seed start there. With `batchNorm` the input arrives normalised without γ and β, which
   * are parameters here; its statistics belong to the input and are handed back by `weights` as they came.
   */
  start: HeadWeights[];
  /** None: the head is one linear layer. */
  hidden: HiddenLayer[];
  trials: number;
  classes: number;
  /** One a seed. */
  dropoutSeeds: number[];
  /** What the optimizer remembers of a parameter, at its beginning; kept beyond any tidy. */
  createSlots: (value: tf.Tensor) => Record<string, tf.Tensor>;
}

/**
 * VISSL's `mlp` and `eval_mlp` for many trials: hidden layers of Linear [→ BatchNorm1d] [→ ReLU] [→ Dropout], then
 * Linear. The first product is one for all trials of a seed; behind it each trial has its own operands.
 */
export function createMlpBody(options: MlpBodyOptions): HeadBody {
  const { start, hidden, trials, classes, dropoutSeeds, createSlots } = options;
  const seeds = start.length;
  const buffers: Record<string, tf.Tensor> = {};
  const create = (name: string, kind: "matrix" | "norm", layout: TrialLayout, columns: number, data: Float32Array[]) =>
    createTrialParameter({ name, kind, layout, start: data, columns, trials, createSlots });
  const matrix = (name: string, layout: TrialLayout, of: (seed: HeadWeights) => HiddenWeights) =>
    create(name, "matrix", layout, of(start[0]!).bias.length, start.map((seed) => withBias(of(seed)))); // prettier-ignore

  const linear = [...hidden.map((_, i) => `hidden${i}.weight`), "weight"].map((name, i) =>
    matrix(name, i === 0 ? "side by side" : "stacked", (seed) => (i < hidden.length ? seed.hidden![i]! : seed)),
  );
  const inputNorm = start[0]!.batchNorm && {
    gamma: create("gamma", "norm", "side by side", 1, start.map((seed) => seed.batchNorm!.gamma)), // prettier-ignore
    beta: create("beta", "norm", "side by side", 1, start.map((seed) => seed.batchNorm!.beta)), // prettier-ignore
  };
  const norms = hidden.map(({ batchNorm, width }, i) => {
    if (!batchNorm) return undefined;
    const of = (key: keyof BatchNormWeights) => start.map((seed) => seed.hidden![i]!.batchNorm![key]);
    for (const key of ["mean", "variance"] as const) {
      buffers[`hidden${i}.${key}`] = trialTensor({ layout: "stacked", start: of(key), columns: width, trials });
    }
    return {
      gamma: create(`hidden${i}.gamma`, "norm", "stacked", width, of("gamma")),
      beta: create(`hidden${i}.beta`, "norm", "stacked", width, of("beta")),
      running: { buffers, mean: `hidden${i}.mean`, variance: `hidden${i}.variance` },
    };
  });

  const layers: Layer[] = [sharedLinear(linear[0]!, trials, inputNorm)];
  if (hidden.length > 0) layers.push(stackTrials(trials));
  hidden.forEach((layer, i) => {
    const norm = norms[i];
    if (norm) layers.push(trialBatchNorm(norm.gamma, norm.beta, norm.running));
    if (layer.relu) layers.push(relu());
    if (layer.dropout > 0) {
      layers.push(dropout({ probability: layer.dropout, seeds: dropoutSeeds, trials, layer: i }));
    }
    layers.push(trialLinear(linear[i + 1]!));
  });
  if (hidden.length > 0) layers.push(unstackTrials(trials));
  const parameters = layers.flatMap((layer) => layer.parameters);

  return {
    parameters,
    buffers,
    forward: ({ input, training, step }) => {
      const outputs: LayerOutput[] = [];
      let x = input;
      for (const layer of layers) {
        const output = layer.forward(x, { training, step });
        outputs.push(output);
        x = output.output;
      }
      return {
        logits: x,
        backward: (ofLogits) => {
          const gradients: tf.Tensor[][] = [];
          let error: tf.Tensor3D | undefined = ofLogits;
          for (const output of [...outputs].reverse()) {
            const found = output.backward(error!);
            gradients.unshift(found.parameters);
            error = found.error;
          }
          return gradients.flat();
        },
      };
    },
    weights: async (place) => {
      const read = async (parameter: TrialParameter) => await parameter.read(place);
      const last = withoutBias(await read(linear.at(-1)!), classes);
      const ofInput = inputNorm && {
        ...start[place.seed]!.batchNorm!,
        gamma: await read(inputNorm.gamma),
        beta: await read(inputNorm.beta),
      };
      const inside: HiddenWeights[] = [];
      for (const [i, { width }] of hidden.entries()) {
        const norm = norms[i];
        const running = async (name: string) => await row(buffers[name]!, place.seed * trials + place.trial);
        const ofHidden = norm && {
          gamma: await read(norm.gamma),
          beta: await read(norm.beta),
          mean: await running(norm.running.mean),
          variance: await running(norm.running.variance),
        };
        inside.push({
          ...withoutBias(await read(linear[i]!), width),
          ...(ofHidden && { batchNorm: ofHidden }),
        });
      }
      return {
        ...last,
        ...(ofInput && { batchNorm: ofInput }),
        ...(hidden.length > 0 && { hidden: inside }),
      };
    },
    zero: (place) => {
      parameters.forEach((parameter) => parameter.zero(place));
      for (const [name, tensor] of Object.entries(buffers)) {
        buffers[name] = zeroedTrials(tensor, (whole) => whole.reshape([seeds, 1, trials, -1]), place);
      }
    },
    dispose: () => {
      parameters.forEach((parameter) => parameter.dispose());
      tf.dispose(buffers);
    },
  };
}

/** [width, columns] and [columns] as [width + 1, columns]. */
function withBias({ weight, bias }: HiddenWeights): Float32Array {
  const whole = new Float32Array(weight.length + bias.length);
  whole.set(weight);
  whole.set(bias, weight.length);
  return whole;
}

function withoutBias(whole: Float32Array, columns: number): { weight: Float32Array; bias: Float32Array } {
  return { weight: whole.slice(0, -columns), bias: whole.slice(-columns) };
}

/** One of [rows, 1, width]. */
async function row(tensor: tf.Tensor, index: number): Promise<Float32Array> {
  const width = tensor.shape[2]!;
  const data = (await tensor.data()) as Float32Array;
  return data.slice(index * width, (index + 1) * width);
}
