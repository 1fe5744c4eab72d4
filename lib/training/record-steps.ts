import * as tf from "@tensorflow/tfjs";

import { UnsupportedGraph } from "../backend/graph-def.js";
import type { Native } from "../backend/native.js";
import { loadedNative } from "../backend/native.js";
import type { Recording } from "../backend/recording.js";
import { record } from "../backend/recording.js";
import type { Signature } from "../backend/saved-model.js";
import { openGraph } from "../backend/saved-model.js";
import type { HeadBank } from "../heads/bank.js";
import type { Block } from "../heads/block.js";
import type { HeadBlocks, Slot } from "../heads/head-blocks.js";
import { parameterName, slots } from "../heads/head-blocks.js";
import type { BankBatch, StepGraph, StepGraphOptions } from "../heads/step-graph.js";
import { stepSeconds } from "./cost.js";
import type { Part } from "./job.js";
import { layersOf } from "./job.js";
import { batchSizes, targetsOf } from "./passes.js";
import type { NamedParameter } from "./step-nodes.js";
import { StepNodes } from "./step-nodes.js";

/** Of a training from which on a graph of its steps pays: to make it takes a few tenths of a second, and some steps. */
const leastSeconds = 2;
const leastSteps = 40;

/**
 * Makes one graph of a bank's steps where that gains. It depends on the whole training alone, so that one which is
 * taken up again computes what it would have.
 *
 * @param options.steps of the whole training.
 */
export async function compileSteps(options: {
  bank: HeadBank;
  part: Part;
  batchSize: number;
  steps: number;
}): Promise<void> {
  const { bank, part, batchSize, steps } = options;
  const { source, rows } = part;
  if (steps < leastSteps || steps * stepSeconds(bank, batchSize) < leastSeconds) return;
  const read = layersOf(bank.heads);
  const layers = source.layers.filter(({ name }) => read.includes(name));
  await bank.compile({
    record: recordSteps,
    widths: Object.fromEntries(layers.map(({ name, width }) => [name, width])),
    sizes: batchSizes(part, { batchSize }),
    weighted: targetsOf(source, rows).includes(-1),
  });
}

/**
 * Records the steps of a bank.
 *
 * @returns undefined where that cannot be done, or would not gain: other backends, GPUs (to which each batch would be
 * sent anew), other optimizers than SGD, dropout, operations that TensorFlow takes one by one only.
 */
export async function recordSteps({ all, batches, gradients }: StepGraphOptions): Promise<StepGraph | undefined> {
  const native = loadedNative();
  const blocks = blocksOf(all);
  if (!native || native.gpu || tf.getBackend() !== "tensorflow" || !blocks.every(isSgd)) return undefined;
  if (all.some(({ spec }) => spec.hidden.some(({ dropout }) => dropout > 0))) return undefined;

  try {
    return await openSteps({ all, batches, gradients }, native);
  } catch (error) {
    if (error instanceof UnsupportedGraph) return undefined;
    throw error;
  }
}

async function openSteps({ all, batches, gradients }: StepGraphOptions, native: Native): Promise<StepGraph> {
  const blocks = blocksOf(all);
  const state = slots(all);
  const graph = new StepNodes();
  const signatures: Record<string, Signature> = {
    assign: {
      inputs: state.map(({ name }) => ({ name: `${name}/given`, type: "DT_FLOAT" })),
      outputs: [graph.done("assign", state.map((slot) => graph.variable(slot)))], // prettier-ignore
    },
    read: { inputs: [], outputs: state.map(({ name }) => `${name}/read`) },
    rescale: {
      inputs: blocks.map((_, b) => ({ name: graph.placeholder(changeOf(b)), type: "DT_FLOAT" })),
      outputs: [graph.done("rescale", parametersOf(all).map(({ name, block }) => graph.rescale(name, changeOf(block))))], // prettier-ignore
    },
  };
  blocks.forEach(({ rates }, b) => {
    graph.placeholder(gradientScaleOf(b));
    rates!.parameters.forEach(({ decay }, p) => decay && graph.placeholder(decayOf(b, p), decay.shape));
  });
  for (const batch of batches) {
    const name = nameOf(batch);
    signatures[name] = stepSignature({ graph, name, all, state, batch, gradients });
  }
  const session = await openGraph({ native, graph: graph.written(), signatures });

  let inside = false;
  const enter = () => {
    if (inside) return;
    inside = true;
    const own = slots(all);
    tf.dispose(session.run("assign", Object.fromEntries(own.map(({ name, get }) => [`${name}/given`, get()]))));
    own.forEach(({ get }) => get().dispose());
  };
  return {
    knows: (batch) => nameOf(batch) in signatures,
    step: (batch, rateChanges) => {
      enter();
      tf.tidy(() => {
        if (rateChanges.some((change) => change !== 1)) {
          session.run("rescale", Object.fromEntries(rateChanges.map((change, b) => [changeOf(b), tf.scalar(change)])));
        }
        session.run(nameOf(batch), fed(batch, blocks));
      });
    },
    leave: () => {
      if (!inside) return;
      inside = false;
      // Not those from before: optimizers replace what holds them.
      const own = slots(all);
      session.run("read", {}).forEach((tensor, position) => own[position]!.set(tf.keep(tensor)));
    },
    dispose: () => session.dispose(),
  };
}

function blocksOf(all: HeadBlocks[]): Block[] {
  return all.flatMap((head) => head.blocks.map(({ block }) => block));
}

function isSgd({ trials }: Block): boolean {
  return trials[0]!.optimizer.kind === "sgd";
}

/** Batches of one name run the same operations. */
function nameOf({ features, targets }: BankBatch): string {
  const [rows] = Object.values(features)[0]!.shape;
  return `step${rows}${targets.weight ? "_weighted" : ""}`;
}

const changeOf = (block: number) => `block${block}/rate_change`;
const gradientScaleOf = (block: number) => `block${block}/gradient_scale`;
const decayOf = (block: number, parameter: number) => `block${block}/decay${parameter}`;

/** The parameters of all blocks, of which SGD is the optimizer. */
function parametersOf(all: HeadBlocks[]): NamedParameter[] {
  let count = 0;
  return all.flatMap(({ blocks }, h) =>
    blocks.flatMap(({ block: { body, trials } }, b) => {
      const block = count++;
      const { optimizer } = trials[0]!;
      if (optimizer.kind !== "sgd") throw new Error(`no steps of ${optimizer.kind} are recorded`);
      const { momentum, nesterov } = optimizer;
      return body.parameters.map((own, position) => ({
        name: parameterName(h, b, own),
        block,
        position,
        momentum,
        nesterov,
      }));
    }),
  );
}

/** What a step is fed. */
function fed({ features, targets }: BankBatch, blocks: Block[]): Record<string, tf.Tensor> {
  const inputs: Record<string, tf.Tensor> = {};
  const name = nameOf({ features, targets });
  const layers = Object.keys(features).sort();
  layers.forEach((layer, i) => (inputs[`${name}/features${i}`] = features[layer]!));
  inputs[`${name}/target`] = targets.target;
  if (targets.weight) inputs[`${name}/weight`] = targets.weight;
  blocks.forEach(({ rates }, b) => {
    inputs[gradientScaleOf(b)] = rates!.gradient;
    rates!.parameters.forEach(({ decay }, p) => decay && (inputs[decayOf(b, p)] = decay));
  });
  return inputs;
}

function stepSignature(options: {
  graph: StepNodes;
  name: string;
  all: HeadBlocks[];
  state: Slot[];
  batch: BankBatch;
  gradients: StepGraphOptions["gradients"];
}): Signature {
  const { graph, name, all, state, batch, gradients } = options;
  const blocks = blocksOf(all);
  const inputs = fed(batch, blocks);
  for (const [input, tensor] of Object.entries(inputs)) {
    if (input.startsWith(`${name}/`)) graph.placeholder(input, tensor.shape);
  }
  const parameters = parametersOf(all);
  const before = state.map(({ get }) => get().clone());
  const read = Object.fromEntries(
    state.map(({ name: slot, get }) => {
      const own = parameters.find((one) => slot === `${one.name}.value`);
      // Block after block: all gradients at once would take as much memory as the weights.
      const after = own ? parameters.filter(({ block }) => block === own.block - 1) : [];
      return [own ? graph.read(name, own.name, after) : `${slot}/read`, get()];
    }),
  );
  const moved: number[] = [];
  let recording: Recording;
  try {
    recording = record({
      prefix: name,
      inputs: { ...read, ...inputs },
      compute: () => {
        const found = gradients(batch).flat();
        state.forEach(({ get }, position) => get().dataId !== before[position]!.dataId && moved.push(position));
        return [...found, ...moved.map((position) => state[position]!.get())];
      },
    });
  } finally {
    // As if the step had not been.
    state.forEach(({ get, set }, position) => {
      get().dispose();
      set(tf.keep(before[position]!));
    });
  }
  const { nodes, weights, outputs } = recording;
  graph.add(nodes, weights);

  const updates = parameters.map((parameter, p) => {
    const { block, position } = parameter;
    const decay = blocks[block]!.rates!.parameters[position]!.decay;
    const decayName = decay && decayOf(block, position);
    return graph.update({ step: name, parameter, gradient: outputs[p]!, decay: decayName, one: decay?.size === 1 });
  });
  const assigned = moved.map((position, i) =>
    graph.assign(`${name}/${state[position]!.name}`, state[position]!.name, outputs[parameters.length + i]!),
  );
  return {
    inputs: Object.keys(inputs).map((input) => ({ name: input, type: "DT_FLOAT" })),
    outputs: [graph.done(name, [...updates, ...assigned])],
  };
}
