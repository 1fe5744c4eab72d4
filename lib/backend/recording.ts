import * as tf from "@tensorflow/tfjs";

import type { NativeBackend, OperationAttribute } from "../optim/native-operations.js";
import { nativeBackend } from "../optim/native-operations.js";
import type { JsonAttribute, JsonNode, Weight } from "./graph-def.js";
import { UnsupportedGraph } from "./graph-def.js";

/** The operations that a computation ran, as nodes of a graph. */
export interface Recording {
  nodes: JsonNode[];
  /** The values of its Const nodes: what the computation made of numbers. */
  weights: Map<string, Weight>;
  /** In the graph, what the computation returned. */
  outputs: string[];
}

/**
 * Runs a computation once, operation by operation, and writes down what native TensorFlow executed: the same
 * computation as a graph. It must run the same operations on whatever the inputs hold; numbers that it takes from
 * elsewhere become constants.
 *
 * @param options.prefix of the nodes' names.
 * @param options.inputs tensors that other nodes give in the graph, by these nodes' names.
 * @param options.compute runs in a tidy; its results are disposed.
 * @throws UnsupportedGraph where native TensorFlow is not the backend.
 */
export function record(options: {
  prefix: string;
  inputs: Record<string, tf.Tensor>;
  compute: () => tf.Tensor[];
}): Recording {
  const { prefix, inputs, compute } = options;
  const backend = nativeBackend();
  if (!backend) throw new UnsupportedGraph("native TensorFlow is not the backend");
  const { binding } = backend;
  const nodes: JsonNode[] = [];
  const weights: Recording["weights"] = new Map();
  const names = new Map(Object.entries(inputs).map(([name, { dataId }]) => [dataId, name] as const));

  const nameOf = ({ dataId, shape, dtype }: tf.TensorInfo): string => {
    // tfjs-node has integers of 64 bits that are no tensors.
    if ((dataId as object | undefined) === undefined) throw new UnsupportedGraph("it reads an integer of 64 bits");
    const known = names.get(dataId);
    if (known !== undefined) return known;
    const name = `${prefix}/constant${weights.size}`;
    const type = dataTypeOf({ dtype });
    nodes.push({ name, op: "Const", attr: { dtype: { type }, value: { tensor: null } } });
    weights.set(name, { shape, dtype, data: backend.readSync(dataId).slice() });
    names.set(dataId, name);
    return name;
  };
  const write = (op: string, attributes: OperationAttribute[], read: tf.TensorInfo[], results: tf.Tensor[]) => {
    const name = `${prefix}/${nodes.length}`;
    const input = read.map(nameOf);
    const attr = Object.fromEntries(attributes.map((one) => [one.name, attribute(one, binding)]));
    leftOut[op]?.forEach((type, position) => (attr[type] ??= { type: dataTypeOf(read[position]!) }));
    nodes.push({ name, op, input, attr });
    results.forEach(({ dataId }, position) => names.set(dataId, position === 0 ? name : `${name}:${position}`));
  };

  const own = Object.getOwnPropertyDescriptors(backend);
  const one = backend.executeSingleOutput.bind(backend);
  const several = backend.executeMultipleOutputs.bind(backend);
  backend.executeSingleOutput = (op, attributes, read) => {
    const result = one(op, attributes, read);
    write(op, attributes, read, [result]);
    return result;
  };
  backend.executeMultipleOutputs = (op, attributes, read, count) => {
    const results = several(op, attributes, read, count);
    write(op, attributes, read, results);
    return results;
  };
  try {
    const outputs: string[] = [];
    tf.tidy(() => outputs.push(...compute().map(nameOf)));
    return { nodes, weights, outputs };
  } finally {
    for (const name of ["executeSingleOutput", "executeMultipleOutputs"] as const) {
      if (own[name]) Object.defineProperty(backend, name, own[name]);
      else Reflect.deleteProperty(backend, name);
    }
  }
}

/** Types of inputs that tfjs-node does not tell, for single operations find them out. */
const leftOut: Record<string, string[]> = { ExpandDims: ["T", "Tdim"] };

function dataTypeOf({ dtype }: Pick<tf.TensorInfo, "dtype">): string {
  const type = { float32: "DT_FLOAT", int32: "DT_INT32", bool: "DT_BOOL" }[dtype as string];
  if (type === undefined) throw new UnsupportedGraph(`a tensor has the type ${dtype}`);
  return type;
}

function attribute({ name, type, value }: OperationAttribute, binding: NativeBackend["binding"]): JsonAttribute {
  const list = Array.isArray(value);
  switch (type) {
    case binding.TF_ATTR_TYPE:
      return { type: value as number };
    case binding.TF_ATTR_BOOL:
      return { b: value as boolean };
    case binding.TF_ATTR_INT:
      return list ? { list: { i: value as number[] } } : { i: value as number };
    case binding.TF_ATTR_FLOAT:
      return list ? { list: { f: value as number[] } } : { f: value as number };
    case binding.TF_ATTR_STRING:
      return { s: Buffer.from(value as string).toString("base64") };
    case binding.TF_ATTR_SHAPE:
      return { shape: { dim: (value as number[]).map((size) => ({ size })) } };
    default:
      throw new UnsupportedGraph(`the attribute ${name} has the type number ${type}`);
  }
}
