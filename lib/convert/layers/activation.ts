import { activate as activateByName } from "../activation.js";
import { elementwise, scalar, unary } from "../elementwise.js";
import type { GraphBuilder, GraphTensor } from "../graph-builder.js";

/** Of those that Keras has under its own name for an operation. */
const operations: Record<string, string> = {
  elu: "Elu",
  selu: "Selu",
  sigmoid: "Sigmoid",
  tanh: "Tanh",
  softplus: "Softplus",
  softmax: "Softmax",
};

/** Writes one of Keras's activations; undefined where it is none of them. */
export function activate(graph: GraphBuilder, name: string, x: GraphTensor, kind: string): GraphTensor | undefined {
  const operation = operations[kind];
  if (operation !== undefined) return unary(graph, name, operation, x);
  switch (kind) {
    case "linear":
      return x;
    case "relu":
    case "relu6":
    case "gelu":
      return activateByName(graph, name, x, kind);
    case "gelu_new":
      return activateByName(graph, name, x, "gelu_tanh");
    case "swish":
      return activateByName(graph, name, x, "silu");
    case "mish": {
      const softplus = unary(graph, `${name}/softplus`, "Softplus", x);
      return elementwise(graph, name, "Mul", x, unary(graph, `${name}/tanh`, "Tanh", softplus));
    }
    case "hardSigmoid": {
      // x / 5 + 1 / 2 between 0 and 1; six times that is what ReLU6 cuts.
      const steep = elementwise(graph, `${name}/steep`, "Mul", x, scalar(1.2));
      const cut = graph.relu6(`${name}/relu6`, elementwise(graph, `${name}/shifted`, "AddV2", steep, scalar(3)));
      return elementwise(graph, name, "Mul", cut, scalar(1 / 6));
    }
    default:
      return undefined;
  }
}
