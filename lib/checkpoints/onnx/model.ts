import { closeSync, fstatSync, openSync } from "node:fs";

import { UserError } from "../../errors.js";
import { asReadError } from "../../files.js";
import { ByteReader } from "../byte-reader.js";
import { damaged } from "../bytes.js";
import { fieldsOf, floatsOf, inner, integersOf, textOf } from "./message.js";
import type { Field } from "./message.js";
import { readTensor } from "./tensor.js";
import type { NamedTensor } from "./tensor.js";

/** A network in ONNX: its operations, each after those that it reads, and its weights, which stay in the file. */
export interface OnnxModel {
  file: string;
  /** Version of the operators of ONNX itself. */
  opset: number;
  /** The program that wrote it, e.g. `pytorch 2.5`. */
  producer: string;
  /** Without those that are weights. */
  inputs: OnnxInput[];
  outputs: string[];
  nodes: OnnxNode[];
  initializers: Map<string, NamedTensor>;
}

export interface OnnxInput {
  name: string;
  /** −1 where any size will do. */
  shape: number[];
  /** Of the values; 1 is float32 (TensorProto.DataType). */
  type: number;
}

export interface OnnxNode {
  /** The node's name; where it has none, that of its first output. */
  name: string;
  op: string;
  /** Empty for ONNX's own operators. */
  domain: string;
  /** Empty texts where an optional one is left out. */
  inputs: string[];
  outputs: string[];
  attributes: Map<string, OnnxAttribute>;
}

export interface OnnxAttribute {
  float?: number;
  integer?: number;
  text?: string;
  tensor?: NamedTensor;
  floats: number[];
  integers: number[];
}

const limits = { nodes: 1_000_000 };

/**
 * Reads an `.onnx` file: an own reader of the protocol buffer (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto),
 * for opset 9 and later. Nothing is executed; weights are left where they are, in this file or in files beside it.
 *
 * @throws UserError where the file is missing, is something else or not whole, or weights beside it are missing, too
 * short or outside its folder.
 */
export async function readOnnx({ file }: { file: string }): Promise<OnnxModel> {
  let descriptor: number;
  try {
    descriptor = openSync(file, "r");
  } catch (error) {
    throw asReadError(error, file, "an ONNX model");
  }
  try {
    const stat = fstatSync(descriptor);
    if (stat.isDirectory()) throw new UserError(`Expected a file for an ONNX model but ${file} is a folder`);
    return await readModel(ByteReader.ofFile(file, descriptor, stat.size), stat.size);
  } finally {
    closeSync(descriptor);
  }
}

/** Whether a file that begins with these bytes may be one: ModelProto begins with its version, 1 to 127. */
export function looksLikeOnnx(head: Uint8Array): boolean {
  return (
    head.length > 3 && head[0] === 0x08 && head[1]! > 0 && head[1]! < 0x80 && [0x12, 0x3a, 0x42].includes(head[2]!)
  );
}

async function readModel(reader: ByteReader, size: number): Promise<OnnxModel> {
  const { file } = reader;
  if (size === 0) throw notOnnx(file, "it is empty");
  if (reader.byte() !== 0x08) throw notOnnx(file, "it begins otherwise");
  reader.position = 0;
  let [producer, opset] = ["", 0];
  let graph: Omit<OnnxModel, "file" | "opset" | "producer"> | undefined;
  for (const field of fieldsOf(reader, size)) {
    switch (field.number) {
      case 2:
      case 3:
        producer = `${producer} ${textOf(reader, field)}`.trim();
        break;
      case 7:
        if (graph) throw damaged(file, "it holds two graphs");
        graph = await readGraph(reader, field);
        break;
      case 8:
        opset = Math.max(opset, ownOpset(reader, field));
    }
  }
  if (!graph) throw notOnnx(file, "it holds no graph");
  if (opset < 9) {
    throw new UserError(`Expected opset 9 or later for ${file} but received ${opset || "none"}`, {
      hint: "Export the network again with opset_version=17.",
    });
  }
  return { file, opset, producer, ...graph };
}

function notOnnx(file: string, finding: string): UserError {
  return new UserError(`Expected an ONNX model for ${file} but ${finding}`, {
    hint: "The download may have been refused, or the file may be of another format.",
  });
}

/** The version of an OperatorSetIdProto; 0 of operators that are not ONNX's own. */
function ownOpset(reader: ByteReader, field: Field): number {
  let [domain, version] = ["", 0];
  for (const part of inner(reader, field)) {
    if (part.number === 1) domain = textOf(reader, part);
    if (part.number === 2) version = part.value;
  }
  return domain === "" || domain === "ai.onnx" ? version : 0;
}

async function readGraph(reader: ByteReader, field: Field): Promise<Omit<OnnxModel, "file" | "opset" | "producer">> {
  const { file } = reader;
  const nodes: OnnxNode[] = [];
  const inputs: OnnxInput[] = [];
  const outputs: string[] = [];
  const initializers = new Map<string, NamedTensor>();
  for (const part of inner(reader, field)) {
    switch (part.number) {
      case 1:
        nodes.push(await readNode(reader, part));
        if (nodes.length > limits.nodes) throw damaged(file, `it holds more than ${limits.nodes} nodes`);
        break;
      case 5: {
        const tensor = await readTensor(reader, part);
        if (initializers.has(tensor.name)) throw damaged(file, `two tensors in it are called ${tensor.name}`);
        initializers.set(tensor.name, tensor);
        break;
      }
      case 11:
        inputs.push(readInput(reader, part));
        break;
      case 12:
        outputs.push(readInput(reader, part).name);
        break;
      case 15:
        throw new UserError(`Expected dense weights in ${file} but received sparse ones`);
    }
  }
  return { nodes, inputs: inputs.filter(({ name }) => !initializers.has(name)), outputs, initializers };
}

async function readNode(reader: ByteReader, field: Field): Promise<OnnxNode> {
  const node: OnnxNode = { name: "", op: "", domain: "", inputs: [], outputs: [], attributes: new Map() };
  for (const part of inner(reader, field)) {
    switch (part.number) {
      case 1:
        node.inputs.push(textOf(reader, part));
        break;
      case 2:
        node.outputs.push(textOf(reader, part));
        break;
      case 3:
        node.name = textOf(reader, part);
        break;
      case 4:
        node.op = textOf(reader, part);
        break;
      case 5: {
        const [name, attribute] = await readAttribute(reader, part);
        node.attributes.set(name, attribute);
        break;
      }
      case 7:
        node.domain = textOf(reader, part).replace(/^ai\.onnx$/, "");
    }
  }
  if (node.op === "" || node.outputs.length === 0)
    throw damaged(reader.file, `a node before byte ${reader.position} does nothing`);
  return { ...node, name: node.name || node.outputs[0]! };
}

async function readAttribute(reader: ByteReader, field: Field): Promise<[string, OnnxAttribute]> {
  let name = "";
  const attribute: OnnxAttribute = { floats: [], integers: [] };
  for (const part of inner(reader, field)) {
    switch (part.number) {
      case 1:
        name = textOf(reader, part);
        break;
      case 2:
        attribute.float = floatsOf(reader, part)[0];
        break;
      case 3:
        attribute.integer = part.value;
        break;
      case 4:
        attribute.text = textOf(reader, part);
        break;
      case 5:
        attribute.tensor = await readTensor(reader, part);
        break;
      case 7:
        attribute.floats.push(...floatsOf(reader, part));
        break;
      case 8:
        attribute.integers.push(...integersOf(reader, part));
    }
  }
  return [name, attribute];
}

/** ValueInfoProto: name (1) and type (2), in which tensor_type (1) holds elem_type (1) and shape (2). */
function readInput(reader: ByteReader, field: Field): OnnxInput {
  const input: OnnxInput = { name: "", shape: [], type: 0 };
  for (const part of inner(reader, field)) {
    if (part.number === 1) input.name = textOf(reader, part);
    if (part.number !== 2) continue;
    for (const kind of inner(reader, part)) {
      if (kind.number !== 1) continue;
      for (const tensor of inner(reader, kind)) {
        if (tensor.number === 1) input.type = tensor.value;
        if (tensor.number === 2) input.shape = [...inner(reader, tensor)].map((dim) => readDimension(reader, dim));
      }
    }
  }
  return input;
}

function readDimension(reader: ByteReader, field: Field): number {
  let size = -1;
  for (const part of inner(reader, field)) if (part.number === 1 && part.value > 0) size = part.value;
  return size;
}
