import * as tf from "@tensorflow/tfjs";

import type { TensorData, TensorEntry } from "../../lib/checkpoints/tensor.js";
import { foldBatchNorm } from "../../lib/convert/batch-norm.js";
import { CheckpointWeights } from "../../lib/convert/checkpoint-weights.js";
import { normalisedConvolution } from "../../lib/convert/convolution.js";
import { GraphBuilder } from "../../lib/convert/graph-builder.js";
import { groupedConv2d } from "../../lib/convert/grouped-convolution.js";
import { proveConversion } from "../../lib/convert/proof.js";
import { pytorchPath } from "../../lib/convert/pytorch-path.js";
import { convolutionKernel, linearMatrix } from "../../lib/convert/weight.js";
import { random } from "../../lib/random.js";
import { describeOnBackends } from "../backends.js";

const stream = random(0, "tensors of a small network");
const shapes: Record<string, number[]> = {
  "conv.weight": [8, 3, 3, 3],
  "depthwise.weight": [8, 1, 5, 5],
  "grouped.weight": [12, 2, 3, 3],
  "fc.weight": [4, 8],
  ...Object.fromEntries(
    ["bn1", "bn2"].flatMap((name) =>
      ["weight", "bias", "running_mean", "running_var"].map((part) => [`${name}.${part}`, [8]] as const),
    ),
  ),
};
const tensors = tensorsOf(shapes);
/** Of a convolution in two groups, each of which is a part of its own. */
const wide = tensorsOf({ "wide.weight": [64, 3, 1, 1], "grouped.weight": [64, 32, 3, 3] });

function tensorsOf(given: Record<string, number[]>): Map<string, TensorEntry> {
  return new Map(
    Object.entries(given).map(([name, shape]) => {
      const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => stream.normal());
      if (name.endsWith("running_var")) values.forEach((value, i) => (values[i] = Math.abs(value) + 0.1));
      return [name, { shape, dtype: "float32", read: (): Promise<TensorData> => Promise.resolve(values.slice()) }];
    }),
  );
}

function network(): GraphBuilder {
  const graph = new GraphBuilder({ height: 21, width: 16 });
  const weights = new CheckpointWeights({ file: "small.pth", tensors }, "small");
  const first = { name: "first", kernel: "conv.weight", norm: { name: "bn1", epsilon: 1e-5 }, channels: 8, size: 3 };
  const x = normalisedConvolution(graph, weights, graph.input, { ...first, stride: 2, padding: 1, activation: "relu" });
  graph.tap("first", x);
  const second = { name: "second", kernel: "depthwise.weight", norm: { name: "bn2", epsilon: 1e-3 }, channels: 8 };
  const y = normalisedConvolution(graph, weights, x, { ...second, size: 5, padding: "same", depthwise: true });
  graph.tap("second", y);
  const mean = graph.globalAveragePool("mean", y);
  graph.tap("logits", graph.matMul("fc", mean, linearMatrix(weights.take("fc.weight", [4, 8]))));
  return graph;
}

describeOnBackends("proveConversion", () => {
  test("computes every layer from the checkpoint's own tensors too, and both agree", async () => {
    const { folding } = await proveConversion({ graph: network(), precision: "float32" });
    expect(folding!.layers).toBe(3);
    expect(folding!.error).toBeLessThan(1e-5);
  });

  test.each(["first/conv/kernel", "first/bias_add/bias", "second/depthwise/kernel", "fc/matrix"])(
    "finds one wrong number in %s",
    async (name) => {
      const graph = network();
      const weight = graph.weights.get(name)!;
      const read = weight.read;
      weight.read = async () => {
        const values = await read();
        values[1]! += 0.5;
        return values;
      };
      await expect(proveConversion({ graph, precision: "float32" })).rejects.toThrow(
        /^Expected the converted network to agree to 0\.001 with the checkpoint's own tensors but tap \w+ differs by/,
      );
    },
  );

  test("numbers that are not finite are no features", async () => {
    const graph = network();
    graph.weights.get("fc/matrix")!.read = () => Promise.resolve(new Float32Array(32).fill(Infinity));
    await expect(proveConversion({ graph, precision: "float32" })).rejects.toThrow(
      "Expected finite features at tap logits",
    );
  });
});

/** Channels in four groups, of which the graph computes several at once. */
function networkInGroups(): GraphBuilder {
  const graph = new GraphBuilder({ height: 9, width: 12 });
  const weights = new CheckpointWeights({ file: "small.pth", tensors }, "small");
  const first = { name: "first", kernel: "conv.weight", norm: { name: "bn1", epsilon: 1e-5 }, channels: 8, size: 3 };
  const x = normalisedConvolution(graph, weights, graph.input, { ...first, padding: 1 });
  const kernel = weights.take("grouped.weight", [12, 2, 3, 3]);
  graph.tap("grouped", groupedConv2d(graph, "grouped", x, kernel, { groups: 4, stride: 2, padding: 1 }));
  return graph;
}

describeOnBackends("proveConversion of a convolution in groups", () => {
  test("computes it group by group from the checkpoint's own tensor, and both agree", async () => {
    const { folding } = await proveConversion({ graph: networkInGroups(), precision: "float32" });
    expect(folding!.layers).toBe(2);
    expect(folding!.error).toBeLessThan(1e-5);
  });

  test.each<[string, (kernel: Float32Array) => Float32Array]>([
    // [rows, columns, channels in, channels out], as the graph has it.
    ["rows and columns changed", (kernel) => axesMoved(kernel, [3, 3, 8, 12], [1, 0, 2, 3])],
    ["the groups in the reverse order", (kernel) => kernel.slice().reverse()],
    ["numbers between the groups", (kernel) => kernel.map((value) => (value === 0 ? 0.1 : value))],
  ])("finds a wrong layout: %s", async (_, change) => {
    const graph = networkInGroups();
    const weight = graph.weights.get("grouped/part0/kernel")!;
    const read = weight.read;
    weight.read = async () => change((await read()) as Float32Array);
    await expect(proveConversion({ graph, precision: "float32" })).rejects.toThrow("tap grouped differs by");
  });

  test("finds channels that went to the wrong part", async () => {
    const graph = new GraphBuilder({ height: 6, width: 6 });
    const weights = new CheckpointWeights({ file: "small.pth", tensors: wide }, "small");
    const x = graph.conv2d("wide", graph.input, convolutionKernel(weights.take("wide.weight", [64, 3, 1, 1])), { padding: 0 }); // prettier-ignore
    const kernel = weights.take("grouped.weight", [64, 32, 3, 3]);
    graph.tap("grouped", groupedConv2d(graph, "grouped", x, kernel, { groups: 2, padding: 1 }));
    expect((await proveConversion({ graph, precision: "float32" })).folding!.layers).toBe(2);
    const joined = graph.nodes.find(({ name }) => name === "grouped")!;
    joined.input = [joined.input![1]!, joined.input![0]!, joined.input![2]!];
    await expect(proveConversion({ graph, precision: "float32" })).rejects.toThrow("tap grouped differs by");
  });
});

function axesMoved(values: Float32Array, shape: number[], order: number[]): Float32Array {
  return tf.tidy(() => tf.tensor(values, shape).transpose(order).dataSync<"float32">());
}

test("a weight that is copied is still checked", async () => {
  const graph = new GraphBuilder({ height: 9, width: 12 });
  const weights = new CheckpointWeights({ file: "small.pth", tensors }, "small");
  const { kernel, bias } = foldBatchNorm({
    kernel: weights.take("conv.weight", [8, 3, 3, 3]),
    norm: weights.batchNorm("bn1", 8, 1e-5),
  });
  const copied = { ...convolutionKernel({ ...kernel }) };
  graph.tap("y", graph.biasAdd("bias", graph.conv2d("conv", graph.input, copied, { padding: 1 }), { ...bias }));
  const { layers, instead } = pytorchPath(graph);
  expect(layers).toBe(1);
  expect(graph.nodes.filter((node) => instead(node)).map(({ name }) => name)).toEqual(["conv", "bias"]);
});

test("a folded kernel whose bias is not there is computed as it stands", () => {
  const graph = network();
  graph.nodes.find(({ name }) => name === "first/bias_add")!.op = "AddV2";
  expect(pytorchPath(graph).layers).toBe(2);
});
