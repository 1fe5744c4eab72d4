import type { CheckpointWeights } from "./checkpoint-weights.js";
import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { constant, convolutionKernel, linearMatrix } from "./weight.js";
import type { FloatWeight, Weight } from "./weight.js";

/** Activation functions of convolutional networks. */
export type Activation = "relu" | "relu6" | "silu" | "hard_swish" | "gelu";

/** Maps to 0 … 1, for a channel to be scaled by. */
export type Gate = "sigmoid" | "hard_sigmoid";

export function activate(graph: GraphBuilder, name: string, x: GraphTensor, activation: Activation): GraphTensor {
  switch (activation) {
    case "relu":
      return graph.relu(name, x);
    case "relu6":
      return graph.relu6(name, x);
    case "silu":
      return elementwise(graph, name, "Mul", x, gate(graph, `${name}/sigmoid`, x, "sigmoid"));
    case "hard_swish":
      return elementwise(graph, name, "Mul", x, gate(graph, `${name}/hard_sigmoid`, x, "hard_sigmoid"));
    case "gelu":
      return gelu(graph, name, x);
  }
}

/** Hard sigmoid is min(max(x + 3, 0), 6) / 6, as in MobileNetV3 (https://arxiv.org/abs/1905.02244). */
export function gate(graph: GraphBuilder, name: string, x: GraphTensor, kind: Gate): GraphTensor {
  if (kind === "sigmoid") return unary(graph, name, "Sigmoid", x);
  const clipped = graph.relu6(`${name}/relu6`, elementwise(graph, `${name}/shifted`, "AddV2", x, scalar(3)));
  return elementwise(graph, name, "Mul", clipped, scalar(1 / 6));
}

/** The exact one: x · (1 + erf(x / √2)) / 2. */
function gelu(graph: GraphBuilder, name: string, x: GraphTensor): GraphTensor {
  const erf = unary(
    graph,
    `${name}/erf`,
    "Erf",
    elementwise(graph, `${name}/argument`, "Mul", x, scalar(Math.SQRT1_2)),
  );
  const half = elementwise(graph, `${name}/half`, "Mul", x, scalar(0.5));
  return elementwise(graph, name, "Mul", half, elementwise(graph, `${name}/shifted`, "AddV2", erf, scalar(1)));
}

/**
 * An operation of two operands, each number with its own; the right one may be smaller and is then repeated.
 *
 * @param op e.g. `Mul`, `AddV2`, `Sub`, `RealDiv`.
 */
export function elementwise(
  graph: GraphBuilder,
  name: string,
  op: string,
  left: GraphTensor,
  right: GraphTensor | Weight,
): GraphTensor {
  return graph.operation({ name, op, inputs: [left, right], shape: left.shape });
}

export function unary(graph: GraphBuilder, name: string, op: string, x: GraphTensor): GraphTensor {
  return graph.operation({ name, op, inputs: [x], shape: x.shape });
}

/**
 * `Mean` or `Sum` over some axes, which stay with size 1.
 *
 * @param axes 0 is the batch.
 */
export function reduce(
  graph: GraphBuilder,
  name: string,
  op: "Mean" | "Sum",
  x: GraphTensor,
  axes: readonly number[],
): GraphTensor {
  return graph.operation({
    name,
    op,
    inputs: [x, constant(axes, "int32")],
    shape: x.shape.map((size, i) => (axes.includes(i + 1) ? 1 : size)),
    attr: { Tidx: int32, keep_dims: { b: true } },
  });
}

/** @param shape for one image. */
export function reshape(graph: GraphBuilder, name: string, x: GraphTensor, shape: readonly number[]): GraphTensor {
  const inputs = [x, constant([-1, ...shape], "int32")];
  return graph.operation({ name, op: "Reshape", inputs, shape, attr: { Tshape: int32 } });
}

/** PyTorch's LayerNorm over the channels at each place: tensors `<norm>.weight` and `<norm>.bias`. */
export function channelNorm(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  x: GraphTensor,
  { name, norm, epsilon }: { name: string; norm: string; epsilon: number },
): GraphTensor {
  const channels = x.shape.at(-1)!;
  const axes = [x.shape.length];
  const centred = elementwise(graph, `${name}/centred`, "Sub", x, reduce(graph, `${name}/mean`, "Mean", x, axes));
  const variance = reduce(graph, `${name}/variance`, "Mean", unary(graph, `${name}/square`, "Square", centred), axes);
  const shifted = elementwise(graph, `${name}/epsilon`, "AddV2", variance, scalar(epsilon));
  const factor = unary(graph, `${name}/factor`, "Rsqrt", shifted);
  const normalised = elementwise(graph, `${name}/normalised`, "Mul", centred, factor);
  const scaled = elementwise(graph, `${name}/scaled`, "Mul", normalised, weights.take(`${norm}.weight`, [channels]));
  return graph.biasAdd(name, scaled, weights.take(`${norm}.bias`, [channels]));
}

/**
 * Global response normalisation (ConvNeXt V2, https://arxiv.org/abs/2301.00808): x + scale · x · n + shift, where n is
 * a channel's Euclidean norm over the map, divided by the mean of those norms.
 */
export function globalResponseNorm(
  graph: GraphBuilder,
  x: GraphTensor,
  { name, scale, shift }: { name: string; scale: FloatWeight; shift: FloatWeight },
): GraphTensor {
  const energy = reduce(graph, `${name}/energy`, "Sum", unary(graph, `${name}/square`, "Square", x), [1, 2]);
  const norm = unary(graph, `${name}/norm`, "Sqrt", energy);
  const mean = reduce(graph, `${name}/mean`, "Mean", norm, [3]);
  const relative = elementwise(
    graph,
    `${name}/relative`,
    "RealDiv",
    norm,
    elementwise(graph, `${name}/epsilon`, "AddV2", mean, scalar(1e-6)),
  );
  const scaled = elementwise(graph, `${name}/response`, "Mul", x, relative);
  const shifted = graph.biasAdd(`${name}/shifted`, elementwise(graph, `${name}/scaled`, "Mul", scaled, scale), shift);
  return graph.add(name, x, shifted);
}

/**
 * Squeeze-and-excitation (https://arxiv.org/abs/1709.01507): each channel is scaled by a gate, which two 1 × 1
 * convolutions compute from the mean of the map. Tensors `<reduce>.weight`, `.bias`, `<expand>.weight`, `.bias`.
 */
export function squeezeExcite(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  x: GraphTensor,
  options: { name: string; reduce: string; expand: string; activation: Activation; gate: Gate },
): GraphTensor {
  const { name, activation } = options;
  const mean = reduce(graph, `${name}/mean`, "Mean", x, [1, 2]);
  const squeezed = pointwise(graph, weights, mean, {
    name: `${name}/reduce`,
    layer: options.reduce,
    is: "convolution",
  });
  const active = activate(graph, `${name}/${activation}`, squeezed, activation);
  const expanded = pointwise(graph, weights, active, {
    name: `${name}/expand`,
    layer: options.expand,
    is: "convolution",
  });
  return elementwise(graph, `${name}/scale`, "Mul", x, gate(graph, `${name}/gate`, expanded, options.gate));
}

/**
 * A linear layer at each place of a map, which is a 1 × 1 convolution: tensors `<layer>.weight` and `<layer>.bias`.
 *
 * @param options.is how the checkpoint keeps the matrix: [out, in], or as a convolution's [out, in, 1, 1].
 * @param options.bias whether it has one; true where undefined.
 */
export function pointwise(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  x: GraphTensor,
  options: { name: string; layer: string; is: "linear" | "convolution"; bias?: boolean },
): GraphTensor {
  const { name, layer, bias = true } = options;
  const channels = x.shape.at(-1)!;
  const matrix = weights.take(`${layer}.weight`, [null, channels, ...(options.is === "convolution" ? [1, 1] : [])]);
  const out = matrix.shape[0]!;
  const kernel = convolutionKernel({ ...matrix, shape: [out, channels, 1, 1] });
  const product = graph.conv2d(`${name}/conv`, x, kernel, { padding: 0 });
  return bias ? graph.biasAdd(`${name}/bias_add`, product, weights.take(`${layer}.bias`, [out])) : product;
}

/** A linear layer of a vector: tensors `<layer>.weight`, as {@link pointwise} has it, and `<layer>.bias`. */
export function linear(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  x: GraphTensor,
  options: { name: string; layer: string; is?: "linear" | "convolution" },
): GraphTensor {
  const { name, layer } = options;
  const channels = x.shape[0]!;
  const matrix = weights.take(`${layer}.weight`, [null, channels, ...(options.is === "convolution" ? [1, 1] : [])]);
  const out = matrix.shape[0]!;
  const product = graph.matMul(`${name}/mat_mul`, x, linearMatrix({ ...matrix, shape: [out, channels] }));
  if (!weights.has(`${layer}.bias`)) return product;
  return graph.biasAdd(`${name}/bias_add`, product, weights.take(`${layer}.bias`, [out]));
}

export function scalar(value: number): Weight {
  return constant([value], "float32", []);
}

export const int32 = { type: "DT_INT32" };
