import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { type JsonAttribute, type JsonNode, UnsupportedGraph } from "../../lib/backend/graph-def.js";
import { openNativeSession } from "../../lib/backend/native-session.js";
import { prepareBackend } from "../../lib/backend/backend.js";
import { sha256 } from "../../lib/files.js";
import { random } from "../../lib/random.js";
import { describeOnNative } from "../backends.js";

const float: JsonAttribute = { type: "DT_FLOAT" };
const text = (value: string): JsonAttribute => ({ s: Buffer.from(value).toString("base64") });
const numbers = (...values: number[]): JsonAttribute => ({ list: { i: values.map(String) } });

/** A small network with what converters write: plain and fused operations, quantised and integer constants. */
function smallGraph(): { nodes: JsonNode[]; weights: tf.io.WeightsManifestEntry[]; data: Buffer } {
  const nodes: JsonNode[] = [
    {
      name: "image",
      op: "Placeholder",
      attr: { dtype: float, shape: { shape: { dim: [{ size: "-1" }, { size: "9" }, { size: "9" }, { size: "3" }] } } },
    },
  ];
  const weights: tf.io.WeightsManifestEntry[] = [];
  const data: Buffer[] = [];
  const stream = random(1, "weights");
  const constant = (name: string, shape: number[], quantization?: "uint8" | "float16") => {
    const size = shape.reduce((a, b) => a * b, 1);
    nodes.push({
      name,
      op: "Const",
      attr: { dtype: float, value: { tensor: { dtype: "DT_FLOAT", tensorShape: {} } } },
    });
    if (quantization === "uint8") {
      weights.push({ name, shape, dtype: "float32", quantization: { dtype: "uint8", scale: 0.01, min: -1.28 } });
      data.push(Buffer.from(Uint8Array.from({ length: size }, () => stream.integer(256))));
    } else {
      weights.push({ name, shape, dtype: "float32" });
      data.push(Buffer.from(Float32Array.from({ length: size }, () => stream.normal() / 2).buffer));
    }
  };
  const integers = (name: string, type: "DT_INT32" | "DT_INT64", values: number[]) => {
    nodes.push({ name, op: "Const", attr: { dtype: { type }, value: { tensor: { dtype: type, tensorShape: {} } } } });
    weights.push({ name, shape: [values.length], dtype: "int32" });
    data.push(Buffer.from(Int32Array.from(values).buffer));
  };
  const conv = {
    T: float,
    strides: numbers(1, 2, 2, 1),
    padding: text("SAME"),
    data_format: text("NHWC"),
    dilations: numbers(1, 1, 1, 1),
  };
  const fused = (...names: string[]): JsonAttribute => ({ list: { s: names.map((name) => text(name).s!) } });

  constant("filter", [3, 3, 3, 8]);
  constant("bias", [8]);
  nodes.push({
    name: "fused",
    op: "_FusedConv2D",
    input: ["image", "filter", "bias"],
    attr: { ...conv, num_args: { i: "1" }, epsilon: { f: 0 }, fused_ops: fused("BiasAdd", "Relu6") },
  });
  constant("depthwise/filter", [3, 3, 8, 1], "uint8");
  constant("depthwise/bias", [8]);
  nodes.push({
    name: "depthwise",
    op: "FusedDepthwiseConv2dNative",
    input: ["fused", "depthwise/filter", "depthwise/bias", "^fused"],
    attr: { ...conv, strides: numbers(1, 1, 1, 1), num_args: { i: 1 }, fused_ops: fused("BiasAdd", "Elu") },
  });
  constant("plain/filter", [1, 1, 8, 4]);
  nodes.push({
    name: "plain",
    op: "Conv2D",
    input: ["depthwise", "plain/filter"],
    attr: { ...conv, _output_shapes: { list: { shape: [{ unknownRank: true }] } }, padding: text("VALID") },
  });
  for (const name of ["scale", "offset", "mean"]) constant(name, [4]);
  constant("variance", [4], "uint8");
  nodes.push({ name: "square", op: "Mul", input: ["variance", "variance"], attr: { T: float } });
  nodes.push({
    name: "norm",
    op: "FusedBatchNormV3",
    input: ["plain", "scale", "offset", "mean", "square"],
    attr: { T: float, U: float, epsilon: { f: 0.001 }, is_training: { b: false }, data_format: text("NHWC") },
  });
  nodes.push({ name: "leaky", op: "LeakyRelu", input: ["norm:0"], attr: { T: float, alpha: { f: 0.2 } } });
  integers("axes", "DT_INT32", [1, 2]);
  nodes.push({
    name: "pooled",
    op: "Mean",
    input: ["leaky", "axes"],
    attr: { T: float, Tidx: { type: "DT_INT32" }, keep_dims: { b: false } },
  });
  integers("shape", "DT_INT64", [-1, 2, 2]);
  nodes.push({
    name: "reshaped",
    op: "Reshape",
    input: ["pooled", "shape"],
    attr: { T: float, Tshape: { type: "DT_INT64" } },
  });
  constant("head", [4, 5]);
  constant("head/bias", [5]);
  nodes.push({
    name: "logits",
    op: "_FusedMatMul",
    input: ["pooled", "head", "head/bias"],
    attr: {
      T: float,
      transpose_a: { b: false },
      transpose_b: { b: false },
      num_args: { i: "1" },
      epsilon: { f: 0 },
      fused_ops: fused("BiasAdd"),
    },
  });
  nodes.push({ name: "unused", op: "SomethingUnknown", input: ["logits"] });
  return { nodes, weights, data: Buffer.concat(data) };
}

describeOnNative("the native session", ({ tolerance }) => {
  const outputs = ["logits", "fused", "depthwise:0", "leaky", "pooled", "reshaped"];
  let folder: string;
  let modelJson: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-test-"));
    modelJson = path.join(folder, "model.json");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const write = ({ nodes, weights, data }: ReturnType<typeof smallGraph>) => {
    // Two shards, cut in the middle of a number.
    writeFileSync(path.join(folder, "1.bin"), data.subarray(0, 1001));
    writeFileSync(path.join(folder, "2.bin"), data.subarray(1001));
    const weightsManifest = [{ paths: ["1.bin", "2.bin"], weights }];
    writeFileSync(
      modelJson,
      JSON.stringify({ format: "graph-model", modelTopology: { node: nodes }, weightsManifest }),
    );
  };
  const open = async ({ outputs: asked }: { outputs: string[] }) => {
    const parts = ["model.json", "1.bin", "2.bin"].map((name) => path.join(folder, name)).filter(existsSync);
    const digest = sha256(Buffer.concat(parts.map((file) => readFileSync(file))));
    return openNativeSession({ modelJson, digest, outputs: asked });
  };
  const eager = async (graph: ReturnType<typeof smallGraph>, input: tf.Tensor) => {
    const { nodes, weights, data } = graph;
    const model = await tf.loadGraphModel({
      load: async () => ({
        format: "graph-model",
        modelTopology: { node: nodes.filter(({ name }) => name !== "unused"), versions: {} },
        weightSpecs: weights,
        weightData: data.buffer.slice(data.byteOffset, data.byteOffset + data.length) as ArrayBuffer,
      }),
    });
    const results = model.execute({ image: input }, outputs) as tf.Tensor[];
    model.dispose();
    return results;
  };

  test("equals the execution op by op, for any batch, and leaves nothing in memory or on the disk", async () => {
    const graph = smallGraph();
    write(graph);
    const before = tf.memory().numTensors;
    const left = sessions();
    const session = await open({ outputs });
    expect(sessions()).toEqual(left);
    for (const batch of [1, 5]) {
      const input = tf.tensor(
        Float32Array.from({ length: batch * 243 }, (_, i) => Math.sin(i)),
        [batch, 9, 9, 3],
      );
      const expected = await eager(graph, input);
      const received = session.run(input);
      for (const [i, tensor] of received.entries()) {
        expect(tensor.shape).toEqual(expected[i]!.shape);
        const wanted = (await expected[i]!.data()) as Float32Array;
        const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        expect(largest).toBeGreaterThan(0.01);
        (await tensor.data()).forEach((value, j) => {
          if (Math.abs(value - wanted[j]!) > tolerance * largest) expect(value).toBe(wanted[j]);
        });
      }
      tf.dispose([input, expected, received]);
    }
    session.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
  const sessions = () => readdirSync(os.tmpdir()).filter((name) => name.startsWith("frozen-eval-session-"));

  test("an output may be asked for twice", async () => {
    write(smallGraph());
    const session = await open({ outputs: ["pooled", "pooled"] });
    const input = tf.ones([1, 9, 9, 3]);
    const [first, second] = session.run(input);
    first!.dispose();
    expect((await second!.data()).length).toBe(4);
    tf.dispose([input, second!]);
    session.dispose();
  });

  test.each<[string, (graph: ReturnType<typeof smallGraph>) => void, string[], RegExp]>([
    ["an unknown operation", () => {}, ["unused"], /TensorFlow refuses it: .*SomethingUnknown/],
    ["a node that is not there", () => {}, ["nowhere"], /it has no node nowhere/],
    [
      "an operation of TensorFlow.js alone",
      ({ nodes }) => (nodes.find(({ name }) => name === "leaky")!.op = "Prelu"),
      ["leaky"],
      /TensorFlow has no Prelu/,
    ],
    [
      "a function",
      ({ nodes }) => (nodes.find(({ name }) => name === "leaky")!.attr!.f = { func: { name: "f" } }),
      ["leaky"],
      /attribute f is a function/,
    ],
    [
      "a constant without value",
      ({ weights }) => (weights.find(({ name }) => name === "head")!.name = "else"),
      ["logits"],
      /the constant head has no value/,
    ],
    ["no input", () => {}, ["square"], /it has 0 inputs/],
  ])("refuses a graph with %s", async (_, change, asked, message) => {
    const graph = smallGraph();
    change(graph);
    write(graph);
    const before = tf.memory().numTensors;
    const opening = open({ outputs: asked });
    await expect(opening).rejects.toBeInstanceOf(UnsupportedGraph);
    await expect(opening).rejects.toThrow(message);
    expect(tf.memory().numTensors).toBe(before);
  });

  test("refuses what is no GraphModel, and another backend", async () => {
    writeFileSync(modelJson, "{}");
    await expect(open({ outputs })).rejects.toThrow("is no GraphModel");
    writeFileSync(modelJson, "{");
    await expect(open({ outputs })).rejects.toThrow("Expected JSON for a GraphModel");
    await prepareBackend({ device: "wasm" });
    write(smallGraph());
    await expect(open({ outputs })).rejects.toThrow("native TensorFlow is not the backend");
    await prepareBackend({ device: "native" });
    expect(readFileSync(modelJson, "utf8")).toContain("graph-model");
  });
});
