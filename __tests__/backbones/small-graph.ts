import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { random } from "../../lib/random.js";

interface Node {
  name: string;
  op: string;
  input?: string[];
  attr?: Record<string, unknown>;
}

export interface SmallGraphOptions {
  /** Of the placeholder: −1 for any. */
  batch?: number;
  size?: number;
  /** Whether the graph reshapes to one image on its way, whatever the placeholder promises. */
  singleImages?: boolean;
  /** Nodes behind the classifier. */
  more?: Node[];
  /** Bytes of the first of two weight files; one file where undefined. */
  splitAt?: number;
}

/**
 * A residual network of 3 convolutions, written by hand as a GraphModel:
 * stem (8×8×4), block_1 with a residual sum, block_2 of stride 2 (4×4×6), mean, classifier of 5.
 *
 * @returns its folder.
 */
export function writeSmallGraph({
  batch = -1,
  size = 8,
  singleImages = false,
  more = [],
  splitAt,
}: SmallGraphOptions = {}): string {
  const stream = random(7, "small graph");
  const weights: { name: string; shape: number[]; dtype: string; data: number[] }[] = [];
  const constant = (name: string, shape: number[], fill?: number[]): Node => {
    const data = fill ?? Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => stream.normal());
    weights.push({ name, shape, dtype: fill ? "int32" : "float32", data });
    const type = fill ? "DT_INT32" : "DT_FLOAT";
    const tensorShape = { dim: shape.map((dimension) => ({ size: String(dimension) })) };
    return { name, op: "Const", attr: { dtype: { type }, value: { tensor: { dtype: type, tensorShape } } } };
  };
  const text = (value: string) => ({ s: Buffer.from(value).toString("base64") });
  const type = { T: { type: "DT_FLOAT" } };
  const conv = (name: string, input: string, shape: number[], stride: number): Node[] => [
    constant(`${name}/weights`, shape),
    {
      name: `${name}/Conv2D`,
      op: "Conv2D",
      input: [input, `${name}/weights`],
      attr: {
        ...type,
        strides: { list: { i: ["1", String(stride), String(stride), "1"] } },
        dilations: { list: { i: ["1", "1", "1", "1"] } },
        padding: text("SAME"),
        data_format: text("NHWC"),
      },
    },
  ];
  const sizes = [batch, size, size, 3].map((dimension) => ({ size: String(dimension) }));
  const nodes: Node[] = [
    { name: "image", op: "Placeholder", attr: { dtype: { type: "DT_FLOAT" }, shape: { shape: { dim: sizes } } } },
    ...conv("net/stem", "image", [3, 3, 3, 4], 1),
    { name: "net/stem/Relu", op: "Relu", input: ["net/stem/Conv2D"], attr: type },
    ...conv("net/block_1/conv", "net/stem/Relu", [3, 3, 4, 4], 1),
    { name: "net/block_1/add", op: "AddV2", input: ["net/block_1/conv/Conv2D", "net/stem/Relu"], attr: type },
    constant("net/block_1/single/shape", [4], [1, 8, 8, 4]),
    { name: "net/block_1/single", op: "Reshape", input: ["net/block_1/add", "net/block_1/single/shape"], attr: type },
    ...conv("net/block_2/conv", singleImages ? "net/block_1/single" : "net/block_1/add", [3, 3, 4, 6], 2),
    { name: "net/block_2/Relu", op: "Relu", input: ["net/block_2/conv/Conv2D"], attr: type },
    constant("net/pool/axes", [2], [1, 2]),
    {
      name: "net/pool/Mean",
      op: "Mean",
      input: ["net/block_2/Relu", "net/pool/axes"],
      attr: { ...type, Tidx: { type: "DT_INT32" }, keep_dims: { b: false } },
    },
    constant("net/classifier/weights", [6, 5]),
    {
      name: "net/classifier/MatMul",
      op: "MatMul",
      input: ["net/pool/Mean", "net/classifier/weights"],
      attr: { ...type, transpose_a: { b: false }, transpose_b: { b: false } },
    },
    ...more,
  ];
  const bytes = Buffer.concat(
    weights.map(({ dtype, data }) =>
      Buffer.from((dtype === "int32" ? Int32Array.from(data) : Float32Array.from(data)).buffer),
    ),
  );
  const shards = splitAt === undefined ? [bytes] : [bytes.subarray(0, splitAt), bytes.subarray(splitAt)];
  const dir = temporaryFolder();
  shards.forEach((shard, i) => writeFileSync(path.join(dir, `weights${i}.bin`), shard));
  const specs = weights.map(({ name, shape, dtype }) => ({ name, shape, dtype }));
  const weightsManifest = [{ paths: shards.map((_, i) => `weights${i}.bin`), weights: specs }];
  const model = { format: "graph-model", modelTopology: { node: nodes }, weightsManifest };
  writeFileSync(path.join(dir, "model.json"), JSON.stringify(model));
  return dir;
}

const made: string[] = [];

/** A folder that is gone when the tests of this file are over. */
export function temporaryFolder(): string {
  const dir = mkdtempSync(path.join(os.tmpdir(), "backbones-"));
  made.push(dir);
  return dir;
}

afterAll(() => made.forEach((dir) => rmSync(dir, { recursive: true, force: true })));
