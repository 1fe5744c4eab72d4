import * as tf from "@tensorflow/tfjs";

import type { GraphBuilder, NodeDef } from "./graph-builder.js";
import { foldingOf, sourceOf, type Folding } from "./origin.js";
import type { FloatWeight } from "./weight.js";

/** Nodes of a graph that can be computed from the checkpoint's tensors as they are, in another way than the graph's. */
export interface PytorchPath {
  /** Convolutions, depthwise ones and matrix products among them. */
  layers: number;
  instead: (node: NodeDef) => ((x: tf.Tensor) => Promise<tf.Tensor>) | undefined;
}

/**
 * The reference that a conversion is checked against. Convolutions are sums over shifted copies of the image with
 * kernels in PyTorch's layout, Linear layers products with PyTorch's matrices, and batch norms stand behind their
 * convolutions, unfolded. All other nodes stay what they are.
 */
export function pytorchPath(graph: GraphBuilder): PytorchPath {
  const other = new Map<string, (x: tf.Tensor) => Promise<tf.Tensor>>();
  const biasOf = new Map(graph.nodes.filter(({ op }) => op === "BiasAdd").map((node) => [node.input![0]!, node]));
  let layers = 0;
  for (const node of graph.nodes) {
    const product = products[node.op];
    const weight = graph.weights.get(node.input?.[1] ?? "");
    const source = weight && sourceOf(weight);
    if (!product || !source || !product.fits(source.shape, weight.shape)) continue;
    const folding = foldingOf(source);
    if (folding) {
      const bias = biasOf.get(node.name);
      // A kernel that was folded makes sense only where its other half is found.
      if (!bias || foldingOf(graph.weights.get(bias.input![1]!)!) !== folding) continue;
      other.set(bias.name, (x) => normalised(x, folding));
    }
    const kernel = folding?.kernel ?? source;
    other.set(node.name, async (x) => {
      const values = await kernel.read();
      return tf.tidy(() => product.compute(x as tf.Tensor4D, values, source.shape, node));
    });
    layers++;
  }
  return { layers, instead: (node) => other.get(node.name) };
}

interface Product {
  /** Whether the weight can be the source with its axes moved. */
  fits: (source: readonly number[], weight: readonly number[]) => boolean;
  /** @param values in PyTorch's layout, of the shape `source`. */
  compute: (x: tf.Tensor4D, values: Float32Array, source: readonly number[], node: NodeDef) => tf.Tensor;
}

const products: Record<string, Product> = {
  Conv2D: {
    fits: ([out, channels, rows, columns], weight) => [rows, columns, channels, out].join() === weight.join(),
    compute: (x, values, [out, channels, rows, columns], node) => {
      const { patches, shape } = patchesOf(x, [rows!, columns!], node);
      const matrix = tf.tensor2d(values, [out!, channels! * rows! * columns!]);
      const flat = patches.reshape<tf.Tensor2D>([-1, matrix.shape[1]]);
      return tf.matMul(flat, matrix.transpose()).reshape([...shape, out!]);
    },
  },
  DepthwiseConv2dNative: {
    fits: ([channels, multiplier, rows, columns], weight) =>
      [rows, columns, channels, multiplier].join() === weight.join(),
    compute: (x, values, [channels, multiplier, rows, columns], node) => {
      const { patches, shape } = patchesOf(x, [rows!, columns!], node);
      const kernel = tf.tensor(values, [1, channels!, multiplier!, rows! * columns!]);
      const products = patches.reshape([-1, channels!, 1, rows! * columns!]).mul(kernel);
      return products.sum(3).reshape([...shape, channels! * multiplier!]);
    },
  },
  MatMul: {
    fits: ([out, channels, ...more], weight) => more.length === 0 && [channels, out].join() === weight.join(),
    compute: (x, values, [out, channels]) => tf.matMul(x, tf.tensor2d(values, [out!, channels!]).transpose()),
  },
};

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

/** What a window sees at each of its places: [images, rows, columns, channels, places within the window]. */
function patchesOf(x: tf.Tensor4D, [rows, columns]: [number, number], node: NodeDef) {
  const strides = numbers(node, "strides").slice(1, 3) as [number, number];
  const dilations = (numbers(node, "dilations").slice(1, 3).length === 2 ? numbers(node, "dilations").slice(1, 3) : [1, 1]) as [number, number]; // prettier-ignore
  const [images, height, width, channels] = x.shape;
  const spans = [(rows - 1) * dilations[0] + 1, (columns - 1) * dilations[1] + 1] as const;
  const sides = [height, width].map((size, i) => paddingOf(node, i, size, spans[i]!, strides[i]!)) as [Sides, Sides];
  const padded = x.pad([[0, 0], ...sides, [0, 0]]);
  const places = [height, width].map(
    (size, i) => Math.floor((size + sides[i]![0] + sides[i]![1] - spans[i]!) / strides[i]!) + 1,
  ) as [number, number];
  const shifted: tf.Tensor[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [top, left] = [row * dilations[0], column * dilations[1]];
      const [bottom, right] = [top + (places[0] - 1) * strides[0] + 1, left + (places[1] - 1) * strides[1] + 1];
      shifted.push(tf.stridedSlice(padded, [0, top, left, 0], [images, bottom, right, channels], [1, ...strides, 1]));
    }
  }
  return { patches: tf.stack(shifted, 4), shape: [images, ...places] };
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
