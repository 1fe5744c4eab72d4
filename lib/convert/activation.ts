import { elementwise, scalar, unary } from "./elementwise.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import type { Weight } from "./weight.js";

/**
 * - `relu`, `relu6`: max(x, 0), at most 6
 * - `silu`: x · sigmoid(x)
 * - `hard_swish`: x · hard sigmoid(x); see {@link gate}
 * - `gelu`: x · Φ(x), by the error function
 * - `gelu_tanh`: its approximation (Hendrycks and Gimpel 2016), JAX's default
 * - `quick_gelu`: x · sigmoid(1.702 x), OpenAI's
 */
export type Activation = "relu" | "relu6" | "silu" | "hard_swish" | "gelu" | "gelu_tanh" | "quick_gelu";

/** Maps to 0 … 1, for a channel to be scaled by. */
export type Gate = "sigmoid" | "hard_sigmoid";

export function activate(graph: GraphBuilder, name: string, x: GraphTensor, activation: Activation): GraphTensor {
  const times = (step: string, left: GraphTensor, right: GraphTensor | Weight) =>
    elementwise(graph, `${name}/${step}`, "Mul", left, right);
  /** x · (1 + spread) / 2, where the spread goes from −1 to 1. */
  const halfOf = (spread: GraphTensor) => {
    const half = times("half", x, scalar(0.5));
    return elementwise(graph, name, "Mul", half, elementwise(graph, `${name}/one`, "AddV2", spread, scalar(1)));
  };
  switch (activation) {
    case "relu":
      return graph.relu(name, x);
    case "relu6":
      return graph.relu6(name, x);
    case "silu":
      return elementwise(graph, name, "Mul", x, gate(graph, `${name}/sigmoid`, x, "sigmoid"));
    case "quick_gelu": {
      const steep = times("steep", x, scalar(1.702));
      return elementwise(graph, name, "Mul", x, gate(graph, `${name}/sigmoid`, steep, "sigmoid"));
    }
    case "hard_swish":
      return elementwise(graph, name, "Mul", x, gate(graph, `${name}/hard_sigmoid`, x, "hard_sigmoid"));
    case "gelu":
      return halfOf(unary(graph, `${name}/erf`, "Erf", times("argument", x, scalar(Math.SQRT1_2))));
    case "gelu_tanh": {
      const cubic = times("cubic", times("square", x, x), scalar(0.044715));
      const sum = times("sum", x, elementwise(graph, `${name}/cubic_one`, "AddV2", cubic, scalar(1)));
      return halfOf(unary(graph, `${name}/tanh`, "Tanh", times("argument", sum, scalar(Math.sqrt(2 / Math.PI)))));
    }
  }
}

/** Hard sigmoid is min(max(x + 3, 0), 6) / 6, as in MobileNetV3 (https://arxiv.org/abs/1905.02244). */
export function gate(graph: GraphBuilder, name: string, x: GraphTensor, kind: Gate): GraphTensor {
  if (kind === "sigmoid") return unary(graph, name, "Sigmoid", x);
  const clipped = graph.relu6(`${name}/relu6`, elementwise(graph, `${name}/shifted`, "AddV2", x, scalar(3)));
  return elementwise(graph, name, "Mul", clipped, scalar(1 / 6));
}
