import * as tf from "@tensorflow/tfjs";

import type { NodeDef } from "./graph-builder.js";

export interface GraphRun {
  /** Each after those that it reads. */
  nodes: readonly NodeDef[];
  input: { node: string; tensor: tf.Tensor };
  /** Names of nodes. */
  outputs: readonly string[];
  /** The numbers of a `Const`; it is asked anew for each node that reads it. */
  weight: (name: string) => Promise<tf.Tensor>;
  /** Undefined where the node's own operation will do. */
  instead?: (node: NodeDef) => OtherWay | undefined;
}

/** Another way to compute what a node gives. */
export interface OtherWay {
  /** Name of the node before it that it starts from. */
  input: string;
  compute: (x: tf.Tensor) => Promise<tf.Tensor>;
}

/**
 * Runs a graph that is in no file yet, node by node, on the active backend. A weight is read when its node is computed
 * and let go after it, so that there is never more in memory than one of them and the tensors still to be read.
 *
 * @returns a tensor an output, in order; the caller disposes them, and keeps the input.
 */
export async function runGraph({ nodes, input, outputs, weight, instead }: GraphRun): Promise<tf.Tensor[]> {
  const steps = stepsTo(outputs, nodes, instead);
  const constants = new Set(nodes.filter(({ op }) => op === "Const").map(({ name }) => name));
  const readers = new Map<string, number>();
  for (const reference of [...steps.flatMap(({ reads }) => reads), ...outputs]) {
    readers.set(reference, (readers.get(reference) ?? 0) + 1);
  }
  const given = new Map<string, string[]>();
  for (const reference of readers.keys()) {
    const name = reference.split(":")[0]!;
    given.set(name, [...(given.get(name) ?? []), reference]);
  }
  const values = new Map<string, tf.Tensor>([[input.node, input.tensor.clone()]]);
  const release = (reference: string) => {
    const left = readers.get(reference)! - 1;
    readers.set(reference, left);
    if (left > 0) return;
    values.get(reference)?.dispose();
    values.delete(reference);
  };
  try {
    for (const { node, reads, other } of steps) {
      if (constants.has(node.name) || node.name === input.node) continue;
      if (other) {
        values.set(node.name, await other.compute(values.get(other.input)!));
      } else {
        const read = new Map<string, tf.Tensor>();
        for (const reference of new Set(reads)) {
          const value = constants.has(reference) ? await weight(reference) : values.get(reference);
          if (!value) throw new Error(`${node.name} reads ${reference}, which no node before it gives`);
          read.set(reference, value);
        }
        const results = await compute(node, read, given.get(node.name)!);
        results.forEach((result, i) => values.set(given.get(node.name)![i]!, result));
        for (const [reference, value] of read) if (constants.has(reference)) value.dispose();
      }
      for (const reference of reads) if (!constants.has(reference)) release(reference);
    }
    return outputs.map((name) => values.get(name)!.clone());
  } finally {
    for (const value of values.values()) value.dispose();
  }
}

/** One node as a graph of its own. */
async function compute(node: NodeDef, read: Map<string, tf.Tensor>, given: string[]): Promise<tf.Tensor[]> {
  const names = new Map([...read.keys()].map((reference, i) => [reference, `input${i}/of`] as const));
  const placeholders = [...read].map(([reference, { dtype }]) => ({
    name: names.get(reference)!,
    op: "Placeholder",
    attr: { dtype: { type: dtype === "int32" ? "DT_INT32" : dtype === "bool" ? "DT_BOOL" : "DT_FLOAT" } },
  }));
  const alone = { ...node, input: inputsOf(node).map((reference) => names.get(reference)!) };
  const model = await tf.loadGraphModel({
    load: async () => ({
      format: "graph-model",
      modelTopology: { node: [...placeholders, alone], library: {}, versions: { producer: 1087 } },
      weightSpecs: [],
      weightData: new ArrayBuffer(0),
    }),
  });
  try {
    const feeds = Object.fromEntries([...read].map(([reference, value]) => [names.get(reference)!, value]));
    const results = model.execute(feeds, given);
    return Array.isArray(results) ? results : [results];
  } finally {
    model.dispose();
  }
}

interface Step {
  node: NodeDef;
  /** References to what it needs, of its own operation or of the other way. */
  reads: string[];
  other?: OtherWay;
}

/** The nodes that the outputs depend on, in the graph's order. */
function stepsTo(outputs: readonly string[], nodes: readonly NodeDef[], instead: GraphRun["instead"]): Step[] {
  const wanted = new Set(outputs);
  const steps: Step[] = [];
  for (const node of [...nodes].reverse()) {
    if (!wanted.has(node.name)) continue;
    const other = instead?.(node);
    const reads = other ? [other.input] : inputsOf(node);
    steps.push({ node, reads, other });
    for (const reference of reads) wanted.add(reference.split(":")[0]!);
  }
  return steps.reverse();
}

/** Without control inputs; `name:0` is `name`. */
function inputsOf(node: NodeDef): string[] {
  return (node.input ?? []).filter((text) => !text.startsWith("^")).map((text) => text.replace(/:0$/, ""));
}
