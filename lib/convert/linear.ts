import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { reshape } from "./rearrange.js";
import { constant, linearMatrix, type FloatWeight } from "./weight.js";

/** PyTorch's Linear: y = x · matrixᵀ + bias. */
export interface Linear {
  /** [channels out, channels in] */
  matrix: FloatWeight;
  bias?: FloatWeight;
}

/** Of the last axis. The matrix product is of two dimensions: only those are fast on WebAssembly, and are fused. */
export function linear(graph: GraphBuilder, name: string, input: GraphTensor, { matrix, bias }: Linear): GraphTensor {
  const [channelsOut, channelsIn] = matrix.shape as [number, number];
  const before = input.shape.slice(0, -1);
  const flat = before.length > 0;
  const vectors = flat ? rows(graph, `${name}/rows`, input, channelsIn) : input;
  const product = graph.matMul(`${name}/mat_mul`, vectors, linearMatrix(matrix));
  const shifted = bias ? graph.biasAdd(`${name}/bias_add`, product, bias) : product;
  return flat ? reshape(graph, name, shifted, [...before, channelsOut]) : shifted;
}

/** All positions of all images below one another; the shape that is noted is one image's share. */
function rows(graph: GraphBuilder, name: string, input: GraphTensor, width: number): GraphTensor {
  const inputs = [input, constant([-1, width], "int32")];
  return graph.operation({ name, op: "Reshape", inputs, shape: input.shape, attr: { Tshape: { type: "DT_INT32" } } });
}
