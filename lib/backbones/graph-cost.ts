import { ancestors, flag, type Graph, type GraphNode } from "./graph.js";

export interface GraphCost {
  /** Trainable numbers. */
  parameters: number;
  /** Multiply-adds × 2 of convolutions and matrix products, for one image. */
  flops: number;
}

/**
 * What it costs to compute the named nodes from one image.
 *
 * Trainable are the floating-point weights that are no scalars, without the running statistics of a batch norm.
 *
 * @param options.shapes of the nodes for a batch of one; nodes without a shape cost nothing.
 */
export function graphCost(options: {
  graph: Graph;
  shapes: ReadonlyMap<string, readonly number[]>;
  nodes: Iterable<string>;
}): GraphCost {
  const { graph, shapes } = options;
  const needed = [...ancestors(graph, options.nodes)].map((name) => graph.nodes.get(name)!);
  const statistics = new Set(needed.filter(({ op }) => op.startsWith("FusedBatchNorm")).flatMap(({ inputs }) => inputs.slice(3))); // prettier-ignore
  const weights = needed.flatMap(({ name }) => graph.weights.get(name) ?? []);
  const trainable = weights.filter(({ name, shape, dtype }) => dtype === "float32" && shape.length > 0 && !statistics.has(name)); // prettier-ignore
  const shapeOf = (name: string) => shapes.get(name) ?? graph.weights.get(name)?.shape;
  return {
    parameters: sum(trainable.map(({ shape }) => product(shape))),
    flops: sum(needed.map((node) => flopsOf(node, shapeOf))),
  };
}

function flopsOf(node: GraphNode, shapeOf: (name: string) => readonly number[] | undefined): number {
  const output = shapeOf(node.name);
  const [left, right] = node.inputs.slice(0, 2).map(shapeOf);
  if (!output || !right) return 0;
  switch (node.op) {
    case "Conv2D":
    case "_FusedConv2D":
      // [rows, columns, channels in, channels out]: each output reads a window of all channels.
      return 2 * product(output) * product(right.slice(0, 3));
    case "DepthwiseConv2dNative":
    case "FusedDepthwiseConv2dNative":
      return 2 * product(output) * product(right.slice(0, 2));
    case "MatMul":
    case "_FusedMatMul":
      return left ? 2 * product(output) * left.at(flag(node, "transpose_a", "transposeA") ? -2 : -1)! : 0;
    case "BatchMatMul":
    case "BatchMatMulV2":
      return left ? 2 * product(output) * left.at(flag(node, "adj_x", "adjX") ? -2 : -1)! : 0;
    default:
      return 0;
  }
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total * size, 1);
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
