import type { FloatWeight, Weight } from "./weight.js";
import { constant } from "./weight.js";

/** A tensor within the graph: what a node gives for one image. */
export interface GraphTensor {
  node: string;
  /** Without the batch: [height, width, channels] of a map, [channels] of a vector. */
  shape: readonly number[];
}

/**
 * How a window slides over the edges of a map.
 *
 * - `same`: TensorFlow's; ⌈size / stride⌉ positions, and what is missing is added more at the bottom and right
 * - a number or [rows, columns]: PyTorch's; so many on each side
 */
export type Padding = "same" | number | readonly [rows: number, columns: number];

export interface Window {
  stride?: Size;
  padding: Padding;
}

/** For rows and columns alike, or apart. */
type Size = number | readonly [rows: number, columns: number];

export interface GraphTap {
  name: string;
  tensor: GraphTensor;
  pooling: string;
  /** Of tokens: how many stand before those of the patches. */
  prefixTokens?: number;
}

/** A convolution in groups, and the plain ones that compute it; see `grouped-convolution.ts`. */
export interface ConvolutionInGroups {
  input: GraphTensor;
  /** PyTorch's layout, [out, in / groups, rows, columns]. */
  kernel: FloatWeight;
  groups: number;
  /** Each of some of the groups, with the same window. */
  parts: readonly GraphTensor[];
}

/** A node as TensorFlow's GraphDef writes it in JSON. */
export interface NodeDef {
  name: string;
  op: string;
  input?: string[];
  attr: Record<string, unknown>;
}

/** A graph that is there, to be continued. */
export interface GraphStart {
  nodes: readonly NodeDef[];
  input: GraphTensor;
}

/**
 * A TensorFlow graph, built node by node: NHWC, float32, one input (of images, where none is given), any batch.
 *
 * Nodes are the plain operations (Conv2D, BiasAdd, Relu6, …), for those run on every backend, any of them can be
 * tapped, and TensorFlow fuses them itself where it runs them. Weights are promises: their numbers are read when the
 * model is written, one weight at a time.
 */
export class GraphBuilder {
  readonly nodes: NodeDef[];
  readonly taps: GraphTap[] = [];
  readonly input: GraphTensor;
  /** Those that were added here, by the name of their node. */
  readonly weights = new Map<string, Weight>();
  /** Shape of what each node gives for one image; weights are not in it. */
  readonly shapes = new Map<string, readonly number[]>();
  /** By the node of their result. */
  readonly grouped = new Map<string, ConvolutionInGroups>();
  private readonly names: Set<string>;

  constructor(start: { height: number; width: number } | GraphStart) {
    const { nodes, input } = "nodes" in start ? start : placeholder("images", [start.height, start.width, 3]);
    this.nodes = [...nodes];
    this.names = new Set(nodes.map(({ name }) => name));
    this.input = input;
    this.shapes.set(input.node, input.shape);
  }

  /** Makes a tensor of the graph a tap; without a pooling, a map is averaged and a vector taken as it is. */
  tap(
    name: string,
    tensor: GraphTensor,
    pooling = tensor.shape.length === 1 ? "identity" : "avg",
    prefixTokens?: number,
  ): void {
    this.taps.push({ name, tensor, pooling, prefixTokens });
  }

  /** @param kernel [rows, columns, channels in, channels out]. */
  conv2d(name: string, input: GraphTensor, kernel: Weight, window: Window): GraphTensor {
    const [rows, columns, channelsIn, channelsOut] = kernel.shape as [number, number, number, number];
    expectChannels(name, input, channelsIn);
    const { shape, attr } = slide(input, [rows, columns], window);
    const inputs = [input.node, this.weight(`${name}/kernel`, kernel)];
    return this.node(name, "Conv2D", inputs, [...shape, channelsOut], {
      ...attr,
      T: float,
      dilations: ints([1, 1, 1, 1]),
      use_cudnn_on_gpu: { b: true },
    });
  }

  /** @param kernel [rows, columns, channels, multiplier]; output channel c · multiplier + m reads channel c. */
  depthwiseConv2d(name: string, input: GraphTensor, kernel: Weight, window: Window): GraphTensor {
    const [rows, columns, channels, multiplier] = kernel.shape as [number, number, number, number];
    expectChannels(name, input, channels);
    const { shape, attr } = slide(input, [rows, columns], window);
    const inputs = [input.node, this.weight(`${name}/kernel`, kernel)];
    return this.node(name, "DepthwiseConv2dNative", inputs, [...shape, channels * multiplier], {
      ...attr,
      T: float,
      dilations: ints([1, 1, 1, 1]),
    });
  }

  biasAdd(name: string, input: GraphTensor, bias: Weight): GraphTensor {
    expectChannels(name, input, bias.shape[0]!);
    const inputs = [input.node, this.weight(`${name}/bias`, bias)];
    return this.node(name, "BiasAdd", inputs, input.shape, { T: float, data_format: text("NHWC") });
  }

  relu(name: string, input: GraphTensor): GraphTensor {
    return this.node(name, "Relu", [input.node], input.shape, { T: float });
  }

  relu6(name: string, input: GraphTensor): GraphTensor {
    return this.node(name, "Relu6", [input.node], input.shape, { T: float });
  }

  add(name: string, left: GraphTensor, right: GraphTensor): GraphTensor {
    if (left.shape.join() !== right.shape.join()) {
      throw new Error(`${name} adds [${left.shape.join()}] and [${right.shape.join()}]`);
    }
    return this.node(name, "AddV2", [left.node, right.node], left.shape, { T: float });
  }

  /** The padding never wins, as in PyTorch. */
  maxPool(name: string, input: GraphTensor, { size, ...window }: Window & { size: Size }): GraphTensor {
    return this.pool(name, "MaxPool", input, size, window, -3.4028234663852886e38);
  }

  /** The padding's zeros count in the mean, as in PyTorch; those of `same` do not, as in TensorFlow. */
  averagePool(name: string, input: GraphTensor, { size, ...window }: Window & { size: Size }): GraphTensor {
    return this.pool(name, "AvgPool", input, size, window, 0);
  }

  /** [height, width, channels] → [channels] */
  globalAveragePool(name: string, input: GraphTensor): GraphTensor {
    const axes = this.weight(`${name}/axes`, constant([1, 2], "int32"));
    return this.node(name, "Mean", [input.node, axes], input.shape.slice(2), {
      T: float,
      Tidx: { type: "DT_INT32" },
      keep_dims: { b: false },
    });
  }

  /** Of the last axis. @param matrix [channels in, channels out]: not as PyTorch keeps it, but as every backend is fast. */
  matMul(name: string, input: GraphTensor, matrix: Weight): GraphTensor {
    expectChannels(name, input, matrix.shape[0]!);
    const inputs = [input.node, this.weight(`${name}/matrix`, matrix)];
    const attr = { T: float, transpose_a: { b: false }, transpose_b: { b: false } };
    return this.node(name, "MatMul", inputs, [...input.shape.slice(0, -1), matrix.shape[1]!], attr);
  }

  /**
   * Any other operation.
   *
   * @param options.inputs a weight among them becomes a constant of the graph.
   * @param options.shape of what it gives for one image.
   * @param options.attr besides `T`, which is float32; all of them for an operation with `Tparams`.
   */
  operation(options: {
    name: string;
    op: string;
    inputs: readonly (GraphTensor | Weight)[];
    shape: readonly number[];
    attr?: NodeDef["attr"];
  }): GraphTensor {
    const { name, op, inputs, shape, attr } = options;
    const nodes = inputs.map((input, i) => ("node" in input ? input.node : this.weight(`${name}/input${i}`, input)));
    // Of operations on several types, each has a name of its own.
    const type = attr && "Tparams" in attr ? {} : { T: float };
    return this.node(name, op, nodes, shape, { ...type, ...attr });
  }

  private pool(name: string, op: string, input: GraphTensor, size: Size, window: Window, filler: number) {
    const { padding, stride } = window;
    const padded = padding === "same" || sides(padding).every((side) => side === 0);
    const source = padded ? input : this.pad(`${name}/pad`, input, sides(padding), filler);
    const { shape, attr } = slide(source, sides(size), { stride, padding: padding === "same" ? padding : 0 });
    return this.node(name, op, [source.node], [...shape, input.shape[2]!], {
      ...attr,
      T: float,
      ksize: ints([1, ...sides(size), 1]),
    });
  }

  private pad(name: string, input: GraphTensor, [rows, columns]: readonly [number, number], filler: number) {
    const [height, width, channels] = input.shape as [number, number, number];
    const amounts = constant([0, 0, rows, rows, columns, columns, 0, 0], "int32", [4, 2]);
    const inputs = [
      input.node,
      this.weight(`${name}/amounts`, amounts),
      this.weight(`${name}/filler`, constant([filler], "float32", [])),
    ];
    const shape = [height + 2 * rows, width + 2 * columns, channels];
    return this.node(name, "PadV2", inputs, shape, { T: float, Tpaddings: { type: "DT_INT32" } });
  }

  private weight(name: string, weight: Weight): string {
    const dtype = { type: weight.dtype === "int32" ? "DT_INT32" : "DT_FLOAT" };
    const tensorShape = { dim: weight.shape.map((size) => ({ size: String(size) })) };
    const value = { tensor: { dtype: dtype.type, tensorShape } };
    this.insert({ name, op: "Const", attr: { dtype, value } });
    this.weights.set(name, weight);
    return name;
  }

  private node(
    name: string,
    op: string,
    input: string[],
    shape: readonly number[],
    attr: NodeDef["attr"],
  ): GraphTensor {
    this.insert({ name, op, ...(input.length > 0 && { input }), attr });
    this.shapes.set(name, shape);
    return { node: name, shape };
  }

  private insert(node: NodeDef): void {
    if (this.names.has(node.name)) throw new Error(`two nodes of the graph are called ${node.name}`);
    this.names.add(node.name);
    this.nodes.push(node);
  }
}

/** The beginning of a graph: an input of any batch. */
export function placeholder(name: string, shape: readonly number[]): GraphStart {
  const dim = [-1, ...shape].map((size) => ({ size: String(size) }));
  const attr = { dtype: float, shape: { shape: { dim } } };
  return { nodes: [{ name, op: "Placeholder", attr }], input: { node: name, shape } };
}

/** The height and width that a sliding window leaves, and how TensorFlow is told of it. */
function slide(input: GraphTensor, kernel: readonly [number, number], { stride = 1, padding }: Window) {
  const size = input.shape.slice(0, 2);
  const strides = sides(stride);
  const common = { strides: ints([1, ...strides, 1]), data_format: text("NHWC") };
  const same = {
    shape: size.map((length, i) => Math.ceil(length / strides[i]!)),
    attr: { ...common, padding: text("SAME") },
  };
  if (padding === "same") return same;
  const added = sides(padding);
  const shape = size.map((length, i) => Math.floor((length + 2 * added[i]! - kernel[i]!) / strides[i]!) + 1);
  if (shape.some((length) => length < 1)) throw new Error(`a window of ${kernel.join("x")} is larger than its map`);
  if (added.every((side) => side === 0)) return { shape, attr: { ...common, padding: text("VALID") } };
  // Where TensorFlow would add the same, it is not told: some kernels know only its own paddings.
  const isSame = size.every((length, i) => {
    const missing = Math.max(0, (same.shape[i]! - 1) * strides[i]! + kernel[i]! - length);
    return missing === 2 * added[i]!;
  });
  if (isSame) return same;
  const explicit = [0, 0, added[0], added[0], added[1], added[1], 0, 0];
  return { shape, attr: { ...common, padding: text("EXPLICIT"), explicit_paddings: ints(explicit) } };
}

function sides(size: Size): readonly [number, number] {
  return typeof size === "number" ? [size, size] : size;
}

function expectChannels(name: string, { shape }: GraphTensor, channels: number): void {
  if (shape.at(-1) !== channels) throw new Error(`${name} takes ${channels} channels but is given [${shape.join()}]`);
}

const float = { type: "DT_FLOAT" };

function ints(values: readonly number[]) {
  return { list: { i: values.map(String) } };
}

/** Protobuf's JSON writes bytes in base64. */
function text(value: string) {
  return { s: Buffer.from(value).toString("base64") };
}
