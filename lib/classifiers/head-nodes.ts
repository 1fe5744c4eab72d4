import type { GraphBuilder, GraphTensor } from "../convert/graph-builder.js";
import { constant, type FloatWeight } from "../convert/weight.js";
import type { DenseLayer } from "../heads/evaluated.js";

/** What a head computes in evaluation. */
export interface HeadFunction {
  /** Whether the input is first divided by its L2 norm (at least 1e-12, as PyTorch's `normalize` has it). */
  normalized: boolean;
  /** What is added to that norm instead of a lower bound. SVMs, as VISSL has them: 1e-5. */
  lengthAdded?: number;
  /** From features to logits. */
  dense: readonly DenseLayer[];
  /** What makes probabilities of the logits. */
  activation: "softmax" | "sigmoid";
}

/**
 * Adds a head to a graph.
 *
 * @param options.features [width]; several layers are joined in their order.
 * @param options.name of its nodes: `<name>/…`.
 * @param options.outputs names of the two nodes that are returned.
 */
export function headNodes(options: {
  graph: GraphBuilder;
  name: string;
  features: readonly GraphTensor[];
  head: HeadFunction;
  outputs: { logits: string; probabilities: string };
}): { logits: GraphTensor; probabilities: GraphTensor } {
  const { graph, name, features, head, outputs } = options;
  const joined = join(graph, `${name}/joined`, features);
  let x = head.normalized ? normalized(graph, `${name}/normalized`, joined, head.lengthAdded) : joined;
  for (const [i, { weight, bias, relu }] of head.dense.entries()) {
    const last = i === head.dense.length - 1;
    const biased = last && !relu ? outputs.logits : `${name}/biased${i}`;
    const matrix = float(weight, [weight.length / bias.length, bias.length]);
    x = graph.biasAdd(biased, graph.matMul(`${name}/product${i}`, x, matrix), float(bias, [bias.length]));
    if (relu) x = graph.relu(last ? outputs.logits : `${name}/relu${i}`, x);
  }
  const op = head.activation === "softmax" ? "Softmax" : "Sigmoid";
  const probabilities = graph.operation({ name: outputs.probabilities, op, inputs: [x], shape: x.shape });
  return { logits: x, probabilities };
}

function join(graph: GraphBuilder, name: string, features: readonly GraphTensor[]): GraphTensor {
  if (features.length === 1) return features[0]!;
  const width = features.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const inputs = [...features, constant([1], "int32", [])];
  const attr = { N: { i: String(features.length) }, Tidx: { type: "DT_INT32" } };
  return graph.operation({ name, op: "ConcatV2", inputs, shape: [width], attr });
}

function normalized(graph: GraphBuilder, name: string, x: GraphTensor, added?: number): GraphTensor {
  const norm = { keep_dims: { b: true }, Tidx: { type: "DT_INT32" } };
  const one = { shape: [1] };
  const squares = graph.operation({ name: `${name}/squares`, op: "Mul", inputs: [x, x], shape: x.shape });
  const axis = constant([1], "int32");
  const sum = graph.operation({ name: `${name}/sum`, op: "Sum", inputs: [squares, axis], ...one, attr: norm });
  const length = graph.operation({ name: `${name}/length`, op: "Sqrt", inputs: [sum], ...one });
  const [op, number] = added === undefined ? ["Maximum", 1e-12] : ["AddV2", added];
  const inputs = [length, constant([number], "float32", [])];
  const divisor = graph.operation({ name: `${name}/divisor`, op, inputs, ...one });
  return graph.operation({ name, op: "RealDiv", inputs: [x, divisor], shape: x.shape });
}

function float(values: Float32Array, shape: number[]): FloatWeight {
  return { shape, dtype: "float32", read: () => Promise.resolve(values) };
}
