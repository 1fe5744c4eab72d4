import type { GraphBuilder, GraphTensor } from "../graph-builder.js";
import { activation as transformerActivation, binary, scalar, softmax } from "../transformer-nodes.js";
import type { Weight } from "../weight.js";

/** Writes one of Keras's activations; undefined where it is none of them. */
export function activate(graph: GraphBuilder, name: string, x: GraphTensor, kind: string): GraphTensor | undefined {
  const unary = (step: string, op: string, input = x) =>
    graph.operation({ name: step, op, inputs: [input], shape: input.shape });
  const times = (step: string, left: GraphTensor, right: GraphTensor | Weight) =>
    binary(graph, step, "Mul", left, right);
  switch (kind) {
    case "linear":
      return x;
    case "relu":
      return graph.relu(name, x);
    case "relu6":
      return graph.relu6(name, x);
    case "elu":
      return unary(name, "Elu");
    case "selu":
      return unary(name, "Selu");
    case "sigmoid":
      return unary(name, "Sigmoid");
    case "tanh":
      return unary(name, "Tanh");
    case "softplus":
      return unary(name, "Softplus");
    case "softmax":
      return softmax(graph, name, x);
    case "swish":
      return times(name, x, unary(`${name}/sigmoid`, "Sigmoid"));
    case "mish":
      return times(name, x, unary(`${name}/tanh`, "Tanh", unary(`${name}/softplus`, "Softplus")));
    case "hardSigmoid": {
      // x / 5 + 1 / 2 between 0 and 1; six times that is what ReLU6 cuts.
      const wide = binary(graph, `${name}/shifted`, "AddV2", times(`${name}/wide`, x, scalar(1.2)), scalar(3));
      return times(name, graph.relu6(`${name}/relu6`, wide), scalar(1 / 6));
    }
    case "gelu":
      return transformerActivation(graph, name, x, "gelu");
    case "gelu_new":
      return transformerActivation(graph, name, x, "gelu_tanh");
    default:
      return undefined;
  }
}
