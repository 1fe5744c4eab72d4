import { bytes, entry, float, integer, message } from "./protobuf.js";

/**
 * TensorFlow's GraphDef from the topology of a TensorFlow.js GraphModel: the same graph in another notation
 * (protobuf's JSON mapping, weights in files of their own), but for the fused operations that the converter to
 * TensorFlow.js makes, which are taken apart again here; TensorFlow's own optimiser fuses for its own kernels.
 */

/** An attribute in protobuf's JSON mapping: one of these keys is there. 64-bit numbers may be texts. */
export interface JsonAttribute {
  s?: string | number[];
  i?: string | number;
  f?: number | string;
  b?: boolean;
  type?: string | number;
  shape?: JsonShape;
  tensor?: unknown;
  list?: {
    s?: (string | number[])[];
    i?: (string | number)[];
    f?: (number | string)[];
    b?: boolean[];
    type?: (string | number)[];
    shape?: JsonShape[];
    tensor?: unknown[];
    func?: unknown[];
  };
  func?: unknown;
}

export interface JsonShape {
  dim?: { size?: string | number }[];
  unknownRank?: boolean;
}

export interface JsonNode {
  name: string;
  op: string;
  input?: string[];
  attr?: Record<string, JsonAttribute>;
}

/** A weight as it stands in TensorFlow.js: `data` holds `shape`'s product of numbers. */
export interface Weight {
  shape: readonly number[];
  dtype: string;
  data: Float32Array | Int32Array | Uint8Array;
}

/** A weight in a file of its own, its numbers one behind the other, that TensorFlow maps into memory. */
export interface MappedWeight {
  shape: readonly number[];
  dtype: "float32" | "bfloat16" | "float16";
  /** Absolute path. */
  file: string;
}

/** A graph that TensorFlow itself cannot run as it stands; the op-by-op path may. */
export class UnsupportedGraph extends Error {}

/** Protobuf numbers of the types that occur. */
const dataTypes: Record<string, number> = {
  DT_FLOAT: 1,
  DT_DOUBLE: 2,
  DT_INT32: 3,
  DT_UINT8: 4,
  DT_INT16: 5,
  DT_INT8: 6,
  DT_STRING: 7,
  DT_COMPLEX64: 8,
  DT_INT64: 9,
  DT_BOOL: 10,
  DT_BFLOAT16: 14,
  DT_UINT16: 17,
  DT_HALF: 19,
  DT_RESOURCE: 20,
};

/**
 * The part of a graph that its outputs need, as plain operations, each behind those that it reads.
 *
 * @param options.outputs tensors that are wanted, as `node` or `node:1`.
 * @throws UnsupportedGraph where the graph has loops, operations of TensorFlow.js alone, or not exactly one input.
 */
export function plainNodes({ nodes, outputs }: { nodes: JsonNode[]; outputs: string[] }): JsonNode[] {
  const needed = ancestors(nodes, outputs);
  const inputs = needed.filter(({ op }) => op === "Placeholder");
  if (inputs.length !== 1) throw new UnsupportedGraph(`it has ${inputs.length} inputs`);
  return needed.flatMap((node) => unfuse({ ...node, input: dataInputs(node) }));
}

/**
 * Writes a graph.
 *
 * @param options.nodes plain operations, as {@link plainNodes} gives them.
 * @param options.weight the value of each Const node, by the node's name.
 * @returns the GraphDef message.
 * @throws UnsupportedGraph where the graph has functions or constants without a value.
 */
export function graphDef(options: {
  nodes: JsonNode[];
  weight: (name: string) => Weight | MappedWeight | undefined;
}): Buffer {
  const { nodes, weight } = options;
  const written = nodes.map((node) => bytes(1, nodeDef(node, weight)));
  const versions = message(4, integer(1, 1882), integer(2, 12));
  return Buffer.concat([...written, versions]);
}

/** The nodes that the outputs depend on, each behind those that it reads. */
function ancestors(nodes: JsonNode[], outputs: string[]): JsonNode[] {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const sorted = new Set<JsonNode>();
  const above = new Set<string>();
  // Not by recursion: a graph may be deeper than the stack.
  const open = outputs.map(nodeOf);
  while (open.length > 0) {
    const name = open.at(-1)!;
    const node = byName.get(name);
    if (!node) throw new UnsupportedGraph(`it has no node ${name}`);
    const missing = dataInputs(node).map(nodeOf).filter((input) => !sorted.has(byName.get(input)!)); // prettier-ignore
    if (missing.length === 0 || sorted.has(node)) {
      sorted.add(node);
      above.delete(open.pop()!);
      continue;
    }
    if (above.has(name)) throw new UnsupportedGraph(`it has a loop through ${name}`);
    above.add(name);
    open.push(...missing);
  }
  return [...sorted];
}

/** Inputs that carry values; control inputs (`^name`) only order side effects, which inference has none of. */
function dataInputs(node: JsonNode): string[] {
  return (node.input ?? []).filter((input) => !input.startsWith("^"));
}

function nodeOf(tensor: string): string {
  return tensor.split(":")[0]!;
}

const plainOp: Record<string, string> = {
  _FusedConv2D: "Conv2D",
  FusedDepthwiseConv2dNative: "DepthwiseConv2dNative",
  _FusedMatMul: "MatMul",
};

/** Attributes that the plain operations have; the fused ones carry more. */
const plainAttributes: Record<string, string[]> = {
  Conv2D: ["T", "strides", "padding", "explicit_paddings", "data_format", "dilations", "use_cudnn_on_gpu"],
  DepthwiseConv2dNative: ["T", "strides", "padding", "explicit_paddings", "data_format", "dilations"],
  MatMul: ["T", "transpose_a", "transpose_b"],
};

const activations = ["Relu", "Relu6", "Elu", "LeakyRelu", "Sigmoid", "Tanh"];

/** A fused node as the chain of plain ones that it stands for; the last keeps its name. */
function unfuse(node: JsonNode): JsonNode[] {
  const op = plainOp[node.op];
  if (op === undefined) {
    if (node.op === "Prelu" || node.op.startsWith("_Fused")) throw new UnsupportedGraph(`TensorFlow has no ${node.op}`);
    return [node];
  }
  const fused = (node.attr?.fused_ops?.list?.s ?? []).map((text) => textOf(text).toString("utf8"));
  const [x, filter, ...args] = dataInputs(node);
  const type = node.attr?.T ?? { type: "DT_FLOAT" };
  const kept = Object.entries(node.attr ?? {}).filter(([name]) => plainAttributes[op]!.includes(name));
  const chain: JsonNode[] = [
    { name: node.name, op, input: [x!, filter!], attr: { ...Object.fromEntries(kept), T: type } },
  ];
  for (const name of fused) {
    const attr: Record<string, JsonAttribute> = { T: type };
    const input = [""];
    if (name === "BiasAdd") {
      input.push(args.shift()!);
      if (node.attr?.data_format) attr.data_format = node.attr.data_format;
    } else if (name === "FusedBatchNorm") {
      input.push(...args.splice(0, 4));
      Object.assign(attr, { U: type, is_training: { b: false }, epsilon: node.attr?.epsilon ?? { f: 1e-4 } });
      if (node.attr?.data_format) attr.data_format = node.attr.data_format;
    } else if (activations.includes(name)) {
      if (name === "LeakyRelu") attr.alpha = node.attr?.leakyrelu_alpha ?? { f: 0.2 };
    } else {
      throw new UnsupportedGraph(`TensorFlow has no fused ${name}`);
    }
    chain.push({ name: node.name, op: name === "FusedBatchNorm" ? "FusedBatchNormV3" : name, input, attr });
  }
  return chain.map((link, position) => ({
    ...link,
    name: position === chain.length - 1 ? node.name : `${node.name}/unfused_${position}`,
    input: position === 0 ? link.input : [`${node.name}/unfused_${position - 1}`, ...link.input!.slice(1)],
  }));
}

function nodeDef(node: JsonNode, weightOf: Parameters<typeof graphDef>[0]["weight"]): Buffer {
  const weight = node.op === "Const" ? weightOf(node.name) : undefined;
  if (node.op === "Const" && !weight) throw new UnsupportedGraph(`the constant ${node.name} has no value`);
  if (weight && "file" in weight) return mappedConstant(node.name, weight);
  const attributes = Object.entries(node.attr ?? {})
    // What shape inference noted down; TensorFlow does it again.
    .filter(([name]) => !name.startsWith("_"))
    .map(([name, value]) => {
      if (weight && name === "value") return entry(5, name, message(8, tensorProto(weight, node.attr?.dtype?.type)));
      return entry(5, name, attribute(value, `${node.name} (${node.op}), attribute ${name}`));
    });
  const inputs = (node.input ?? []).map((input) => bytes(3, input));
  return Buffer.concat([bytes(1, node.name), bytes(2, node.op), ...inputs, ...attributes]);
}

const mappedTypes = { float32: "DT_FLOAT", bfloat16: "DT_BFLOAT16", float16: "DT_HALF" };

function mappedConstant(name: string, { shape, dtype, file }: MappedWeight): Buffer {
  return Buffer.concat([
    bytes(1, name),
    bytes(2, "ImmutableConst"),
    entry(5, "dtype", integer(6, dataType(mappedTypes[dtype]))),
    entry(5, "shape", message(7, shapeProto({ dim: shape.map((size) => ({ size })) }))),
    entry(5, "memory_region_name", bytes(2, file)),
  ]);
}

/** AttrValue. */
function attribute(value: JsonAttribute, where: string): Buffer {
  if (value.s !== undefined) return bytes(2, textOf(value.s));
  if (value.i !== undefined) return integer(3, BigInt(value.i));
  if (value.f !== undefined) return float(4, Number(value.f));
  if (value.b !== undefined) return integer(5, value.b);
  if (value.type !== undefined) return integer(6, dataType(value.type));
  if (value.shape !== undefined) return message(7, shapeProto(value.shape));
  if (value.list !== undefined) {
    const { s = [], i = [], f = [], b = [], type = [], shape = [], tensor = [], func = [] } = value.list;
    if (tensor.length > 0 || func.length > 0) throw new UnsupportedGraph(`${where} lists tensors or functions`);
    return message(
      1,
      ...s.map((text) => bytes(2, textOf(text))),
      ...i.map((number) => integer(3, BigInt(number))),
      ...f.map((number) => float(4, Number(number))),
      ...b.map((flag) => integer(5, flag)),
      ...type.map((name) => integer(6, dataType(name))),
      ...shape.map((one) => message(7, shapeProto(one))),
    );
  }
  if (value.func !== undefined) throw new UnsupportedGraph(`${where} is a function`);
  throw new UnsupportedGraph(`${where} is of an unknown kind`);
}

/** Bytes are base64 in JSON; old converters wrote lists of character codes. */
function textOf(text: string | number[]): Buffer {
  return typeof text === "string" ? Buffer.from(text, "base64") : Buffer.from(text);
}

export function dataType(name: string | number): number {
  const number = typeof name === "number" ? name : dataTypes[name];
  if (number === undefined) throw new UnsupportedGraph(`the type ${name} is unknown`);
  return number;
}

export function shapeProto({ dim = [], unknownRank = false }: JsonShape): Buffer {
  if (unknownRank) return integer(3, true);
  return Buffer.concat(dim.map(({ size = 0 }) => message(2, integer(1, BigInt(size)))));
}

/** TensorProto; a weight is kept as 32-bit numbers in TensorFlow.js, whatever the graph declares. */
function tensorProto({ shape, data, dtype }: Weight, declared: string | number | undefined): Buffer {
  const type = dataType(declared ?? { float32: 1, int32: 3, bool: 10 }[dtype] ?? dtype);
  return Buffer.concat([
    integer(1, type),
    message(2, shapeProto({ dim: shape.map((size) => ({ size })) })),
    bytes(4, contentAs(type, data)),
  ]);
}

function contentAs(type: number, data: Weight["data"]): Uint8Array {
  switch (type) {
    case dataTypes.DT_FLOAT:
      return raw(Float32Array.from(data));
    case dataTypes.DT_DOUBLE:
      return raw(Float64Array.from(data));
    case dataTypes.DT_INT32:
      return raw(Int32Array.from(data));
    case dataTypes.DT_INT64:
      return raw(BigInt64Array.from(data, BigInt));
    case dataTypes.DT_BOOL:
    case dataTypes.DT_UINT8:
      return Uint8Array.from(data);
    default:
      throw new UnsupportedGraph(`a constant has the type number ${type}`);
  }
}

function raw(data: Float32Array | Float64Array | Int32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
