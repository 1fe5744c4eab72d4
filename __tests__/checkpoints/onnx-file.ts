import { bytes, integer, message } from "../../lib/backend/protobuf.js";

export interface SmallNode {
  op: string;
  inputs: string[];
  outputs: string[];
  name?: string;
  domain?: string;
  integers?: Record<string, number | number[]>;
}

export interface SmallModel {
  nodes: SmallNode[];
  input?: number[];
  opset?: number;
  outputs?: string[];
  /** float32 tensors: numbers in this file, or entries of external data. */
  weights?: Record<string, { shape: number[]; values: number[] | Record<string, string> }>;
}

/** An `.onnx` file of a few nodes, as bytes; images are called `x`. */
export function onnxFile({
  nodes,
  input = [-1, 3, 4, 4],
  opset = 17,
  outputs = ["y"],
  weights = {},
}: SmallModel): Buffer {
  const dims = input.map((size) => message(1, ...(size < 0 ? [bytes(2, "N")] : [integer(1, size)])));
  const image = [bytes(1, "x"), message(2, message(1, integer(1, 1), message(2, ...dims)))];
  return Buffer.concat([
    integer(1, 8),
    bytes(2, "by hand"),
    message(
      7,
      ...nodes.map((node) => message(1, ...nodeFields(node))),
      bytes(2, "g"),
      ...Object.entries(weights).map(([name, { shape, values }]) => message(5, ...tensorFields(name, shape, values))),
      message(11, ...image),
      ...outputs.map((name) => message(12, bytes(1, name))),
    ),
    message(8, bytes(1, ""), integer(2, opset)),
  ]);
}

function nodeFields({ op, inputs, outputs, name = "", domain = "", integers = {} }: SmallNode): Buffer[] {
  return [
    ...inputs.map((one) => bytes(1, one)),
    ...outputs.map((one) => bytes(2, one)),
    bytes(3, name),
    bytes(4, op),
    ...Object.entries(integers).map(([key, value]) => {
      const list = Array.isArray(value);
      return message(5, bytes(1, key), ...(list ? value.map((one) => integer(8, one)) : [integer(3, value)]), integer(20, list ? 7 : 2)); // prettier-ignore
    }),
    bytes(7, domain),
  ];
}

function tensorFields(name: string, shape: number[], values: number[] | Record<string, string>): Buffer[] {
  const head = [...shape.map((size) => integer(1, size)), integer(2, 1), bytes(8, name)];
  if (Array.isArray(values)) return [...head, bytes(9, Buffer.from(Float32Array.from(values).buffer))];
  const entries = Object.entries(values).map(([key, value]) => message(13, bytes(1, key), bytes(2, value)));
  return [...head, ...entries, integer(14, 1)];
}
