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
  /** Another way to compute a node from its first input; undefined where the node's own operation will do. */
  instead?: (node: NodeDef) => ((x: tf.Tensor) => Promise<tf.Tensor>) | undefined;
}

/**
 * Runs a graph that is in no file yet, node by node, on the active backend. A weight is read when its node is computed
 * and let go after it, so that there is never more in memory than one of them and the tensors still to be read.
 *
 * @returns a tensor an output, in order; the caller disposes them, and keeps the input.
 */
export async function runGraph({ nodes, input, outputs, weight, instead }: GraphRun): Promise<tf.Tensor[]> {
  const needed = ancestors(nodes, outputs);
  const constants = new Set(nodes.filter(({ op }) => op === "Const").map(({ name }) => name));
  const readers = new Map<string, number>();
  for (const reference of [...needed.flatMap(inputsOf), ...outputs]) {
    readers.set(reference, (readers.get(reference) ?? 0) + 1);
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
    for (const node of needed) {
      if (constants.has(node.name) || node.name === input.node) continue;
      const references = inputsOf(node);
      const other = instead?.(node);
      if (other) {
        values.set(node.name, await other(values.get(references[0]!)!));
      } else {
        const read = new Map<string, tf.Tensor>();
        for (const reference of new Set(references)) {
          const value = constants.has(reference) ? await weight(reference) : values.get(reference);
          if (!value) throw new Error(`${node.name} reads ${reference}, which no node before it gives`);
          read.set(reference, value);
        }
        const given = [...readers.keys()].filter((reference) => reference.split(":")[0] === node.name);
        const results = await compute(node, read, given);
        results.forEach((result, i) => values.set(given[i]!, result));
        for (const [reference, value] of read) if (constants.has(reference)) value.dispose();
      }
      for (const reference of references) if (!constants.has(reference)) release(reference);
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

/** The nodes that the outputs depend on, in the graph's order. */
function ancestors(nodes: readonly NodeDef[], outputs: readonly string[]): NodeDef[] {
  const wanted = new Set(outputs);
  const needed: NodeDef[] = [];
  for (const node of [...nodes].reverse()) {
    if (!wanted.has(node.name)) continue;
    needed.push(node);
    for (const reference of inputsOf(node)) wanted.add(reference.split(":")[0]!);
  }
  return needed.reverse();
}

/** Without control inputs; `name:0` is `name`. */
function inputsOf(node: NodeDef): string[] {
  return (node.input ?? []).filter((text) => !text.startsWith("^")).map((text) => text.replace(/:0$/, ""));
}
