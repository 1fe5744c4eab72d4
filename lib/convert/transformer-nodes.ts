import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { mean, reshape } from "./shape-nodes.js";
import { constant, linearMatrix } from "./weight.js";
import type { FloatWeight, Weight } from "./weight.js";

/** PyTorch's Linear: y = x · matrixᵀ + bias. */
export interface Linear {
  /** [channels out, channels in] */
  matrix: FloatWeight;
  bias?: FloatWeight;
}

/** y = (x − mean) / √(variance + ε) · scale + shift over the last axis. Shapes [channels]. */
export interface LayerNorm {
  scale: FloatWeight;
  shift?: FloatWeight;
  epsilon: number;
}

/**
 * - `gelu`: x · Φ(x), by the error function
 * - `gelu_tanh`: its approximation (Hendrycks and Gimpel 2016), JAX's default
 * - `quick_gelu`: x · sigmoid(1.702 x), OpenAI's
 * - `silu`: x · sigmoid(x)
 */
export type Activation = "gelu" | "gelu_tanh" | "quick_gelu" | "silu";

/** Of the last axis. The matrix product is of two dimensions: only those are fast on WebAssembly, and are fused. */
export function linear(graph: GraphBuilder, name: string, input: GraphTensor, { matrix, bias }: Linear): GraphTensor {
  const [channelsOut, channelsIn] = matrix.shape as [number, number];
  const before = input.shape.slice(0, -1);
  const flat = before.length > 0;
  const product = graph.operation({
    name: `${name}/product`,
    op: "MatMul",
    inputs: [flat ? rows(graph, `${name}/rows`, input, channelsIn) : input, linearMatrix(matrix)],
    shape: [...before, channelsOut],
    attr: { transpose_a: { b: false }, transpose_b: { b: false } },
  });
  const shifted = bias ? graph.biasAdd(`${name}/bias_add`, product, bias) : product;
  return flat ? reshape(graph, name, shifted, [...before, channelsOut]) : shifted;
}

/** All positions of all images below one another; the shape that is noted is one image's share. */
function rows(graph: GraphBuilder, name: string, input: GraphTensor, width: number): GraphTensor {
  const inputs = [input, constant([-1, width], "int32")];
  return graph.operation({ name, op: "Reshape", inputs, shape: input.shape, attr: { Tshape: { type: "DT_INT32" } } });
}

export function layerNorm(graph: GraphBuilder, name: string, input: GraphTensor, norm: LayerNorm): GraphTensor {
  const last = [input.shape.length - 1];
  const centred = binary(graph, `${name}/centred`, "Sub", input, mean(graph, `${name}/mean`, input, last, true));
  const squared = binary(graph, `${name}/squared`, "Mul", centred, centred);
  const variance = mean(graph, `${name}/variance`, squared, last, true);
  const deviation = unary(
    graph,
    `${name}/inverse`,
    "Rsqrt",
    binary(graph, `${name}/epsilon`, "AddV2", variance, scalar(norm.epsilon)),
  );
  const normalised = binary(graph, `${name}/normalised`, "Mul", centred, deviation);
  const scaled = binary(graph, `${name}/scaled`, "Mul", normalised, norm.scale);
  return norm.shift ? binary(graph, `${name}/shifted`, "AddV2", scaled, norm.shift) : scaled;
}

export function activation(graph: GraphBuilder, name: string, input: GraphTensor, kind: Activation): GraphTensor {
  const times = (step: string, x: GraphTensor, y: GraphTensor | Weight) =>
    binary(graph, `${name}/${step}`, "Mul", x, y);
  const plus = (step: string, x: GraphTensor, y: GraphTensor | Weight) =>
    binary(graph, `${name}/${step}`, "AddV2", x, y);
  switch (kind) {
    case "silu":
      return times("silu", input, unary(graph, `${name}/sigmoid`, "Sigmoid", input));
    case "quick_gelu": {
      const steep = times("steep", input, scalar(1.702));
      return times("quick_gelu", input, unary(graph, `${name}/sigmoid`, "Sigmoid", steep));
    }
    case "gelu": {
      const error = unary(graph, `${name}/erf`, "Erf", times("root", input, scalar(Math.SQRT1_2)));
      return times("gelu", times("half", input, scalar(0.5)), plus("one", error, scalar(1)));
    }
    case "gelu_tanh": {
      const cubic = times("cubic", times("square", input, input), scalar(0.044715));
      const inner = times("inner", input, plus("inner_one", cubic, scalar(1)));
      const tanh = unary(graph, `${name}/tanh`, "Tanh", times("root", inner, scalar(Math.sqrt(2 / Math.PI))));
      return times("gelu", times("half", input, scalar(0.5)), plus("one", tanh, scalar(1)));
    }
  }
}

/** Over the last axis. */
export function softmax(graph: GraphBuilder, name: string, input: GraphTensor): GraphTensor {
  return unary(graph, name, "Softmax", input);
}

/** An operation on two tensors of one shape, or where one is spread over the other as NumPy does it. */
export function binary(
  graph: GraphBuilder,
  name: string,
  op: "AddV2" | "Sub" | "Mul",
  left: GraphTensor,
  right: GraphTensor | Weight,
): GraphTensor {
  const [longer, shorter] = left.shape.length < right.shape.length ? [right, left] : [left, right];
  const missing = longer.shape.length - shorter.shape.length;
  const shape = longer.shape.map((length, axis) => Math.max(length, shorter.shape[axis - missing] ?? 1));
  return graph.operation({ name, op, inputs: [left, right], shape });
}

function unary(graph: GraphBuilder, name: string, op: string, input: GraphTensor): GraphTensor {
  return graph.operation({ name, op, inputs: [input], shape: input.shape });
}

/**
 * Products of matrices, one for each position of the axes before.
 *
 * @param left [..., rows, inner]
 * @param right [..., inner, columns]
 */
export function products(
  graph: GraphBuilder,
  name: string,
  left: GraphTensor,
  right: GraphTensor | Weight,
): GraphTensor {
  const shape = [...left.shape.slice(0, -1), right.shape.at(-1)!];
  const attr = { adj_x: { b: false }, adj_y: { b: false } };
  return graph.operation({ name, op: "BatchMatMulV2", inputs: [left, right], shape, attr });
}

export function scalar(value: number): Weight {
  return constant([value], "float32", []);
}
