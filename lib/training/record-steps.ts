import * as tf from "@tensorflow/tfjs";

import type { JsonAttribute, JsonNode, Weight } from "../backend/graph-def.js";
import { graphDef } from "../backend/graph-def.js";
import { loadedNative } from "../backend/native.js";
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

/** Of a training from which on a graph of its steps pays: to make it takes a few tenths of a second, and some steps. */
const leastSeconds = 2;
const leastSteps = 40;

/**
 * Makes one graph of a bank's steps where that gains. It depends on the whole training alone, so that one which is taken
 * up again computes what it would have.
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
 * sent anew), other optimizers than SGD, dropout.
 */
export async function recordSteps({ all, batches, gradients }: StepGraphOptions): Promise<StepGraph | undefined> {
  const native = loadedNative();
  const blocks = all.flatMap((head) => head.blocks.map(({ block }) => block));
  if (!native || native.gpu || tf.getBackend() !== "tensorflow" || !blocks.every(isSgd)) return undefined;
  if (all.some(({ spec }) => spec.hidden.some(({ dropout }) => dropout > 0))) return undefined;

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

interface NamedParameter {
  /** Of its slots, without their own. */
  name: string;
  /** Position among all blocks, and in the block. */
  block: number;
  position: number;
  momentum: number;
  nesterov: boolean;
}

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
  const blocks = all.flatMap((head) => head.blocks.map(({ block }) => block));
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
  const { nodes, weights, outputs } = record({
    prefix: name,
    inputs: { ...read, ...inputs },
    compute: () => {
      const found = gradients(batch).flat();
      state.forEach(({ get }, position) => get().dataId !== before[position]!.dataId && moved.push(position));
      return [...found, ...moved.map((position) => state[position]!.get())];
    },
  });
  state.forEach(({ get, set }, position) => {
    get().dispose();
    set(tf.keep(before[position]!));
  });
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

/** The nodes of a bank's steps beside those that are recorded. Methods give the names of what they wrote. */
class StepNodes {
  private readonly nodes: JsonNode[] = [];
  private readonly weights = new Map<string, Weight>();

  add(nodes: JsonNode[], weights: ReadonlyMap<string, Weight>): void {
    this.nodes.push(...nodes);
    weights.forEach((weight, name) => this.weights.set(name, weight));
  }

  written(): Buffer {
    return graphDef({ nodes: this.nodes, weight: (name) => this.weights.get(name) });
  }

  placeholder(name: string, shape?: number[]): string {
    const known = shape ? { dim: shape.map((size) => ({ size })) } : { unknownRank: true };
    return this.node(name, "Placeholder", [], { dtype: float, shape: { shape: known } });
  }

  /** A variable with what reads it, and what it is given; @returns the latter. */
  variable({ name, get }: Slot): string {
    this.handle(name, get().shape);
    this.node(`${name}/read`, "ReadVariableOp", [name], { dtype: float });
    return this.assign(`${name}/assign`, name, this.placeholder(`${name}/given`, get().shape));
  }

  /** What a step reads of a parameter, when the step has moved those others. */
  read(step: string, parameter: string, after: NamedParameter[]): string {
    const moved = control(after.map(({ name }) => `${step}/${name}/update`));
    return this.node(`${step}/${parameter}/read`, "ReadVariableOp", [`${parameter}.value`, ...moved], { dtype: float });
  }

  assign(name: string, variable: string, value: string): string {
    return this.node(name, "AssignVariableOp", [variable, value], { dtype: float });
  }

  /** p ← p·η′/η */
  rescale(parameter: string, change: string): string {
    const variable = `${parameter}.momentum`;
    const scaled = this.node(`${variable}/scaled`, "Mul", [`${variable}/read`, change], { T: float });
    return this.assign(`${variable}/rescale`, variable, scaled);
  }

  /** q ← −η∇ − ηλ·w, then p ← μ·p + q and w ← w + q + μ·p (Nesterov) or w + p, all in place: see `nativeMomentum`. */
  update(options: {
    step: string;
    parameter: NamedParameter;
    gradient: string;
    /** −ηλ. */
    decay?: string;
    /** Whether that is one number. */
    one: boolean;
  }): string {
    const { step, parameter, gradient, decay, one } = options;
    const { name, momentum, nesterov } = parameter;
    const at = `${step}/${name}`;
    const move = decay ? this.decayed({ at, gradient, decay, one }) : gradient;
    const input = [`${name}.value`, `${name}.momentum`, this.number(-1), move, this.number(momentum)];
    const update = this.node(`${at}/update`, "ResourceApplyKerasMomentum", input, { T: float, use_nesterov: { b: nesterov } }); // prettier-ignore
    // Else the gradient's memory would be held until the next step.
    return decay ? this.node(`${at}/move/end`, "DestroyResourceOp", [`${at}/move`, ...control([update])], {}) : update;
  }

  /** A tensor that is there when all these have run. */
  done(name: string, after: string[]): string {
    return this.node(`${name}/done`, "Identity", [this.number(0), ...control(after)], { T: float });
  }

  private decayed(options: { at: string; gradient: string; decay: string; one: boolean }): string {
    const { at, gradient, decay, one } = options;
    const move = this.handle(`${at}/move`);
    const given = this.assign(`${at}/move/assign`, move, gradient);
    const value = `${at}/read`;
    let added: string;
    if (one) {
      const scalar = this.node(`${at}/decay`, "Reshape", [decay, this.constant("scalar", { shape: [0], dtype: "int32", data: new Int32Array() })], { T: float, Tshape: { type: "DT_INT32" } }); // prettier-ignore
      const negative = this.node(`${at}/decay/negative`, "Neg", [scalar], { T: float });
      added = this.node(`${at}/move/add`, "ResourceApplyGradientDescent", [move, negative, value, ...control([given])], { T: float }); // prettier-ignore
    } else {
      const product = this.node(`${at}/decay`, "Mul", [value, decay], { T: float });
      added = this.node(`${at}/move/add`, "AssignAddVariableOp", [move, product, ...control([given])], { dtype: float }); // prettier-ignore
    }
    return this.node(`${at}/move/read`, "ReadVariableOp", [move, ...control([added])], { dtype: float });
  }

  private handle(name: string, shape?: number[]): string {
    const known = shape ? { dim: shape.map((size) => ({ size })) } : { unknownRank: true };
    const shared_name = { s: Buffer.from(name).toString("base64") };
    return this.node(name, "VarHandleOp", [], { container: { s: "" }, shared_name, dtype: float, shape: { shape: known } }); // prettier-ignore
  }

  private number(value: number): string {
    return this.constant(`number${value}`, { shape: [], dtype: "float32", data: Float32Array.of(value) });
  }

  private constant(name: string, weight: Weight): string {
    if (this.weights.has(name)) return name;
    this.weights.set(name, weight);
    const type = weight.dtype === "int32" ? "DT_INT32" : "DT_FLOAT";
    return this.node(name, "Const", [], { dtype: { type }, value: { tensor: null } });
  }

  private node(name: string, op: string, input: string[], attr: Record<string, JsonAttribute>): string {
    this.nodes.push({ name, op, input, attr });
    return name;
  }
}

const float: JsonAttribute = { type: "DT_FLOAT" };

function control(after: string[]): string[] {
  return after.map((name) => `^${name}`);
}
