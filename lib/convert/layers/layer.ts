import type * as tf from "@tensorflow/tfjs";
import { z } from "zod";

import { UserError } from "../../errors.js";
import { elementwise, scalar } from "../elementwise.js";
import type { GraphBuilder, GraphTensor } from "../graph-builder.js";
import { concatenate, padWithZeros, reshape, slice, transpose } from "../rearrange.js";
import { constant, type FloatWeight } from "../weight.js";
import { activate } from "./activation.js";

/** One layer of Keras's, about to be written into a graph. */
export interface LayerCall {
  graph: GraphBuilder;
  /** Of what it writes. */
  name: string;
  layer: tf.layers.Layer;
  inputs: readonly GraphTensor[];
}

type Writer = (call: LayerCall) => GraphTensor;

/** Nothing of these is left when a network is not trained. */
const inference = ["InputLayer", "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout"];

const writers: Record<string, Writer> = {
  ...Object.fromEntries(inference.map((name) => [name, ({ inputs }: LayerCall) => inputs[0]!])),
  Conv2D: (call) =>
    convolution(call, ([x], [kernel]) => call.graph.conv2d(`${call.name}/conv`, x!, kernel!, windowOf(call))),
  DepthwiseConv2D: (call) =>
    convolution(call, ([x], [kernel]) =>
      call.graph.depthwiseConv2d(`${call.name}/depthwise`, x!, kernel!, windowOf(call)),
    ),
  SeparableConv2D: (call) =>
    convolution(call, ([x], [depthwise, pointwise]) => {
      const apart = call.graph.depthwiseConv2d(`${call.name}/depthwise`, x!, depthwise!, windowOf(call));
      return call.graph.conv2d(`${call.name}/pointwise`, apart, pointwise!, { padding: 0 });
    }),
  Dense: dense,
  BatchNormalization: batchNormalization,
  Activation: (call) => activated(call, call.inputs[0]!),
  ReLU: relu,
  LeakyReLU: (call) => {
    const { alpha } = configOf(call, z.object({ alpha: z.number() }));
    return unary(call, "LeakyRelu", { alpha: { f: alpha } });
  },
  ELU: (call) => {
    if (configOf(call, z.object({ alpha: z.number() })).alpha !== 1) throw unsupported(call, "an alpha other than 1");
    return unary(call, "Elu");
  },
  Softmax: (call) => {
    const { axis } = configOf(call, z.object({ axis: z.number() }));
    if (axis !== -1 && axis !== call.inputs[0]!.shape.length) throw unsupported(call, `the axis ${axis}`);
    return unary(call, "Softmax");
  },
  Add: (call) => merged(call, "AddV2"),
  Multiply: (call) => merged(call, "Mul"),
  Maximum: (call) => merged(call, "Maximum"),
  Minimum: (call) => merged(call, "Minimum"),
  Average: (call) =>
    elementwise(call.graph, `${call.name}/mean`, "Mul", merged(call, "AddV2"), scalar(1 / call.inputs.length)),
  Concatenate: (call) => {
    const { axis } = configOf(call, z.object({ axis: z.number() }));
    if (axis !== -1 && axis !== call.inputs[0]!.shape.length) throw unsupported(call, `the axis ${axis}`);
    return concatenate(call.graph, call.name, call.inputs, call.inputs[0]!.shape.length - 1);
  },
  MaxPooling2D: (call) => call.graph.maxPool(call.name, call.inputs[0]!, poolOf(call)),
  AveragePooling2D: (call) => call.graph.averagePool(call.name, call.inputs[0]!, poolOf(call)),
  GlobalAveragePooling2D: (call) => (channelsLast(call), call.graph.globalAveragePool(call.name, call.inputs[0]!)),
  GlobalMaxPooling2D: globalMaxPool,
  ZeroPadding2D: (call) => {
    const { padding } = configOf(call, z.object({ padding: z.tuple([edges, edges]) }));
    return padWithZeros(call.graph, call.name, call.inputs[0]!, [...padding, [0, 0]]);
  },
  Cropping2D: (call) => {
    const { cropping } = configOf(call, z.object({ cropping: z.tuple([edges, edges]) }));
    const [height, width] = call.inputs[0]!.shape as [number, number];
    const [[top, bottom], [left, right]] = cropping;
    const size = [height - top - bottom, width - left - right];
    return slice(call.graph, call.name, call.inputs[0]!, { begin: [top, left], size });
  },
  UpSampling2D: enlarged,
  Flatten: (call) => {
    channelsLast(call);
    const { shape } = call.inputs[0]!;
    return reshape(call.graph, call.name, call.inputs[0]!, [shape.reduce((product, size) => product * size, 1)]);
  },
  Reshape: (call) => reshape(call.graph, call.name, call.inputs[0]!, outputShape(call)),
  Permute: (call) => {
    const { dims } = configOf(call, z.object({ dims: z.array(z.number()) }));
    return transpose(call.graph, call.name, call.inputs[0]!, dims.map((axis) => axis - 1)); // prettier-ignore
  },
  Rescaling: (call) => {
    const { scale, offset } = configOf(call, z.object({ scale: z.number(), offset: z.number() }));
    const scaled = elementwise(call.graph, `${call.name}/scaled`, "Mul", call.inputs[0]!, scalar(scale));
    return elementwise(call.graph, call.name, "AddV2", scaled, scalar(offset));
  },
};

/**
 * Writes a layer.
 *
 * @throws UserError where the layer, or how it is set, is none that is known.
 */
export function writeLayer(call: LayerCall): GraphTensor {
  const write = writers[call.layer.getClassName()];
  if (write) return write(call);
  throw new UserError(
    `Expected layers that can be written as a graph but ${call.layer.name} is a ${call.layer.getClassName()}`,
    { hint: `Known are ${Object.keys(writers).join(", ")}, and models within a model.` },
  );
}

const edges = z.tuple([z.number(), z.number()]);
const pair = z.tuple([z.number(), z.number()]);

function configOf<T>({ layer }: LayerCall, schema: z.ZodType<T>): T {
  return schema.parse(layer.getConfig());
}

function unsupported({ layer }: LayerCall, what: string): UserError {
  return new UserError(`Expected a layer that can be written as a graph but ${layer.name} (${layer.getClassName()}) has ${what}`); // prettier-ignore
}

/** The layer's trained tensors, in Keras's order. */
function weightsOf({ layer }: LayerCall): FloatWeight[] {
  return layer.getWeights().map((tensor) => ({
    shape: tensor.shape,
    dtype: "float32",
    read: async () => Float32Array.from(await tensor.data()),
  }));
}

function channelsLast(call: LayerCall): void {
  const { dataFormat } = configOf(call, z.object({ dataFormat: z.string().nullish() }));
  if (dataFormat === "channelsFirst") throw unsupported(call, "its channels first");
}

function windowOf(call: LayerCall) {
  channelsLast(call);
  const schema = z.object({ strides: pair, padding: z.enum(["same", "valid"]), dilationRate: z.array(z.number()).nullish() }); // prettier-ignore
  const { strides, padding, dilationRate } = configOf(call, schema);
  if (dilationRate?.some((rate) => rate !== 1)) throw unsupported(call, `a dilation of ${dilationRate.join("x")}`);
  return { stride: strides, padding: padding === "same" ? ("same" as const) : 0 };
}

function poolOf(call: LayerCall) {
  return { ...windowOf(call), size: configOf(call, z.object({ poolSize: pair })).poolSize };
}

/** With the bias, which is the last of its weights, and the activation. */
function convolution(
  call: LayerCall,
  write: (inputs: readonly GraphTensor[], weights: FloatWeight[]) => GraphTensor,
): GraphTensor {
  const { useBias } = configOf(call, z.object({ useBias: z.boolean() }));
  const weights = weightsOf(call);
  const bias = useBias ? weights.pop() : undefined;
  const x = write(call.inputs, weights);
  return activated(call, bias ? call.graph.biasAdd(`${call.name}/bias_add`, x, bias) : x);
}

function activated(call: LayerCall, x: GraphTensor): GraphTensor {
  const { activation } = configOf(call, z.object({ activation: z.string() }));
  const result = activate(call.graph, `${call.name}/${activation}`, x, activation);
  if (result) return result;
  throw unsupported(call, `the activation ${activation}`);
}

/** Of maps and tokens, at each place. */
function dense(call: LayerCall): GraphTensor {
  const { graph, name } = call;
  return convolution(call, ([x], [kernel]) => {
    const { shape } = x!;
    if (shape.length === 1) return graph.matMul(`${name}/mat_mul`, x!, kernel!);
    const [channels, out] = kernel!.shape as [number, number];
    const map = shape.length === 3 ? x! : reshape(graph, `${name}/map`, x!, [shape[0]!, 1, channels]);
    const product = graph.conv2d(`${name}/conv`, map, { ...kernel!, shape: [1, 1, channels, out] }, { padding: 0 });
    return shape.length === 3 ? product : reshape(graph, `${name}/tokens`, product, [...shape.slice(0, -1), out]);
  });
}

/** As a factor and a term for each channel, in double precision. */
function batchNormalization(call: LayerCall): GraphTensor {
  const { graph, name } = call;
  const x = call.inputs[0]!;
  const schema = z.object({ axis: z.number(), epsilon: z.number(), center: z.boolean(), scale: z.boolean() });
  const { axis, epsilon, center, scale } = configOf(call, schema);
  if (axis !== -1 && axis !== x.shape.length) throw unsupported(call, `the axis ${axis}`);
  const weights = weightsOf(call);
  const gamma = scale ? weights.shift() : undefined;
  const beta = center ? weights.shift() : undefined;
  const [mean, variance] = weights as [FloatWeight, FloatWeight];
  const factors = async () => {
    const own = await gamma?.read();
    return Float64Array.from(await variance.read(), (value, i) => (own?.[i] ?? 1) / Math.sqrt(value + epsilon));
  };
  const factor: FloatWeight = { ...mean, read: async () => Float32Array.from(await factors()) };
  const term: FloatWeight = {
    ...mean,
    read: async () => {
      const [means, shift, scaling] = [await mean.read(), await beta?.read(), await factors()];
      return means.map((value, i) => (shift?.[i] ?? 0) - value * scaling[i]!);
    },
  };
  return elementwise(graph, `${name}/shifted`, "AddV2", elementwise(graph, `${name}/scaled`, "Mul", x, factor), term);
}

function relu(call: LayerCall): GraphTensor {
  const { maxValue } = configOf(call, z.object({ maxValue: z.number().nullish() }));
  if (maxValue === 6) return call.graph.relu6(call.name, call.inputs[0]!);
  const positive = call.graph.relu(`${call.name}/relu`, call.inputs[0]!);
  if (maxValue === undefined || maxValue === null) return positive;
  const inputs = [positive, scalar(maxValue)];
  return call.graph.operation({ name: call.name, op: "Minimum", inputs, shape: positive.shape });
}

function unary({ graph, name, inputs }: LayerCall, op: string, attr?: Record<string, unknown>): GraphTensor {
  return graph.operation({ name, op, inputs: [inputs[0]!], shape: inputs[0]!.shape, attr });
}

/** Of two or more; sizes of 1 are spread, as in a gate of channels. */
function merged({ graph, name, inputs }: LayerCall, op: string): GraphTensor {
  return inputs.reduce((left, right, i) => {
    const shape = left.shape.map((size, axis) => Math.max(size, right.shape[axis]!));
    return graph.operation({ name: i === 1 ? name : `${name}/${i}`, op, inputs: [left, right], shape });
  });
}

function globalMaxPool(call: LayerCall): GraphTensor {
  channelsLast(call);
  const [x] = call.inputs as [GraphTensor];
  const attr = { Tidx: { type: "DT_INT32" }, keep_dims: { b: false } };
  const inputs = [x, constant([1, 2], "int32")];
  return call.graph.operation({ name: call.name, op: "Max", inputs, shape: x.shape.slice(2), attr });
}

function enlarged(call: LayerCall): GraphTensor {
  channelsLast(call);
  const { size, interpolation } = configOf(call, z.object({ size: pair, interpolation: z.string().nullish() }));
  const [height, width, channels] = call.inputs[0]!.shape as [number, number, number];
  const sides = [height * size[0], width * size[1]];
  return call.graph.operation({
    name: call.name,
    op: interpolation === "bilinear" ? "ResizeBilinear" : "ResizeNearestNeighbor",
    inputs: [call.inputs[0]!, constant(sides, "int32")],
    shape: [...sides, channels],
    attr: { align_corners: { b: false }, half_pixel_centers: { b: false } },
  });
}

function outputShape({ layer, inputs }: LayerCall): number[] {
  const shape = layer.computeOutputShape([null, ...inputs[0]!.shape]) as (number | null)[];
  return shape.slice(1) as number[];
}
