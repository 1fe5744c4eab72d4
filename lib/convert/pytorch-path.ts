import * as tf from "@tensorflow/tfjs";

import type { Folding } from "./batch-norm.js";
import type { GraphBuilder, NodeDef } from "./graph-builder.js";
import type { OtherWay } from "./run-graph.js";
import type { FloatWeight } from "./weight.js";

/** Nodes of a graph that can be computed from the checkpoint's tensors as they are, in another way than the graph's. */
export interface PytorchPath {
  /** Convolutions, depthwise ones and those in groups, and matrix products among them. */
  layers: number;
  instead: (node: NodeDef) => OtherWay | undefined;
}

/**
 * The reference that a conversion is checked against. Convolutions are made of shifted copies of the image and kernels
 * in PyTorch's layout, Linear layers products with PyTorch's matrices, and batch norms stand behind their convolutions,
 * unfolded. A convolution in groups is one product a group, whatever the graph made of it. All other nodes stay what
 * they are.
 */
export function pytorchPath(graph: GraphBuilder): PytorchPath {
  const ways = new Map<string, OtherWay>();
  const biasOf = new Map(graph.nodes.filter(({ op }) => op === "BiasAdd").map((node) => [node.input![0]!, node]));
  const partsOfGrouped = new Set([...graph.grouped.values()].flatMap(({ parts }) => parts.map(({ node }) => node)));
  let layers = 0;
  for (const node of graph.nodes) {
    const layer = layerOf(graph, node);
    if (!layer || (partsOfGrouped.has(node.name) && !graph.grouped.has(node.name))) continue;
    const { input, weight, compute } = layer;
    const { folding } = weight;
    if (folding) {
      const bias = biasOf.get(node.name);
      // A kernel that was folded makes sense only where its other half is found.
      if (!bias || graph.weights.get(bias.input![1]!)!.folding !== folding) continue;
      ways.set(bias.name, { input: node.name, compute: (x) => normalised(x, folding) });
    }
    const original = folding?.kernel ?? weight;
    ways.set(node.name, {
      input,
      compute: async (x) => {
        const values = await original.read();
        return tf.tidy(() => compute(x, values));
      },
    });
    layers++;
  }
  return { layers, instead: (node) => ways.get(node.name) };
}

/** What is multiplied with a weight. */
interface Layer {
  /** Name of the node that it reads. */
  input: string;
  /** PyTorch's layout. */
  weight: FloatWeight;
  compute: (x: tf.Tensor, values: Float32Array) => tf.Tensor;
}

/** Undefined where the node is no layer, or its weight is not a checkpoint's with its axes moved. */
function layerOf(graph: GraphBuilder, node: NodeDef): Layer | undefined {
  const grouped = graph.grouped.get(node.name);
  if (grouped) {
    const { input, kernel, groups, parts } = grouped;
    const window = graph.nodes.find(({ name }) => name === parts[0]!.node)!;
    return { input: input.node, weight: kernel, compute: convolution(kernel.shape, groups, window) };
  }
  const [input, name] = node.input ?? [];
  const weight = graph.weights.get(name ?? "");
  const source = weight?.source;
  if (input === undefined || !source) return undefined;
  const moved = (order: readonly number[]) => order.map((axis) => source.shape[axis]).join() === weight.shape.join();
  switch (node.op) {
    case "Conv2D":
      return moved([2, 3, 1, 0]) ? { input, weight: source, compute: convolution(source.shape, 1, node) } : undefined;
    case "DepthwiseConv2dNative":
      return moved([2, 3, 0, 1]) ? { input, weight: source, compute: depthwise(source.shape, node) } : undefined;
    case "MatMul": {
      // A convolution of one position counts as a Linear.
      const out = source.shape[0]!;
      const compute: Layer["compute"] = (x, values) =>
        tf.matMul(x, tf.tensor2d(values, [out, values.length / out]).transpose());
      return moved([1, 0]) ? { input, weight: source, compute } : undefined;
    }
    default:
      return undefined;
  }
}

/** @param shape of the kernel: [out, in / groups, rows, columns]. */
function convolution(shape: readonly number[], groups: number, window: NodeDef): Layer["compute"] {
  const [out, inner, rows, columns] = shape as [number, number, number, number];
  return (x, values) => {
    const { copies, places } = shiftedCopies(x as tf.Tensor4D, [rows, columns], window);
    const size = copies.length;
    const left = tf.concat(copies, 3).reshape([-1, size, groups, inner]).transpose([2, 0, 1, 3]);
    const right = tf.tensor4d(values, [groups, out / groups, inner, size]).transpose([0, 3, 2, 1]);
    const product = tf.matMul(
      left.reshape<tf.Tensor3D>([groups, -1, size * inner]),
      right.reshape<tf.Tensor3D>([groups, size * inner, out / groups]),
    );
    return product.transpose([1, 0, 2]).reshape([...places, out]);
  };
}

/** @param shape of the kernel: [channels, multiplier, rows, columns]. */
function depthwise(shape: readonly number[], window: NodeDef): Layer["compute"] {
  const [channels, multiplier, rows, columns] = shape as [number, number, number, number];
  return (x, values) => {
    const { copies, places } = shiftedCopies(x as tf.Tensor4D, [rows, columns], window);
    const kernel = tf.tensor3d(values, [channels, multiplier, copies.length]).transpose([2, 0, 1]);
    const products = tf.unstack(kernel).map((factors, i) => copies[i]!.expandDims(4).mul(factors));
    return tf.addN(products).reshape([...places, channels * multiplier]);
  };
}

/** PyTorch's BatchNorm2d in evaluation, on what the convolution gave. */
async function normalised(x: tf.Tensor, { bias, norm }: Folding): Promise<tf.Tensor> {
  const read = async (weight: FloatWeight) => tf.tensor1d(await weight.read());
  const own = bias && (await read(bias));
  const [mean, variance, shift, scale] = [
    await read(norm.mean),
    await read(norm.variance),
    await read(norm.shift),
    await read(norm.scale),
  ];
  const shifted = own ? x.add(own) : x.clone();
  const result = tf.tidy(() => shifted.sub(mean).div(variance.add(norm.epsilon).sqrt()).mul(scale).add(shift));
  tf.dispose([own ?? [], mean, variance, shift, scale, shifted]);
  return result;
}

/** For each number of a window what it sees at each of the window's places: [images, rows, columns, channels]. */
function shiftedCopies(x: tf.Tensor4D, [rows, columns]: [number, number], node: NodeDef) {
  const strides = numbers(node, "strides").slice(1, 3) as [number, number];
  const dilations = (numbers(node, "dilations").slice(1, 3).length === 2 ? numbers(node, "dilations").slice(1, 3) : [1, 1]) as [number, number]; // prettier-ignore
  const [images, height, width, channels] = x.shape;
  const spans = [(rows - 1) * dilations[0] + 1, (columns - 1) * dilations[1] + 1] as const;
  const sides = [height, width].map((size, i) => paddingOf(node, i, size, spans[i]!, strides[i]!)) as [Sides, Sides];
  const padded = x.pad([[0, 0], ...sides, [0, 0]]);
  const [down, right] = [height, width].map(
    (size, i) => Math.floor((size + sides[i]![0] + sides[i]![1] - spans[i]!) / strides[i]!) + 1,
  ) as [number, number];
  const copies: tf.Tensor[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const begin = [0, row * dilations[0], column * dilations[1], 0];
      const end = [images, begin[1]! + (down - 1) * strides[0] + 1, begin[2]! + (right - 1) * strides[1] + 1, channels];
      copies.push(tf.stridedSlice(padded, begin, end, [1, ...strides, 1]));
    }
  }
  return { copies, places: [images, down, right] };
}

type Sides = [before: number, after: number];

function paddingOf(node: NodeDef, axis: number, size: number, span: number, stride: number): Sides {
  const { s } = node.attr.padding as { s: string };
  switch (Buffer.from(s, "base64").toString()) {
    case "VALID":
      return [0, 0];
    case "SAME": {
      const missing = Math.max(0, (Math.ceil(size / stride) - 1) * stride + span - size);
      return [Math.floor(missing / 2), Math.ceil(missing / 2)];
    }
    default: {
      const explicit = numbers(node, "explicit_paddings");
      return [explicit[2 + 2 * axis]!, explicit[3 + 2 * axis]!];
    }
  }
}

function numbers({ attr }: NodeDef, name: string): number[] {
  const { list } = (attr[name] ?? {}) as { list?: { i?: (string | number)[] } };
  return (list?.i ?? []).map(Number);
}
