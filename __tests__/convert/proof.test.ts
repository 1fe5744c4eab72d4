import type { TensorData, TensorEntry } from "../../lib/checkpoints/tensor.js";
import { CheckpointWeights } from "../../lib/convert/checkpoint-weights.js";
import { normalisedConvolution } from "../../lib/convert/convolution.js";
import { GraphBuilder } from "../../lib/convert/graph-builder.js";
import { proveConversion } from "../../lib/convert/proof.js";
import { pytorchPath } from "../../lib/convert/pytorch-path.js";
import { linearMatrix } from "../../lib/convert/weight.js";
import { random } from "../../lib/random.js";
import { describeOnBackends } from "../backends.js";

const stream = random(0, "tensors of a small network");
const shapes: Record<string, number[]> = {
  "conv.weight": [8, 3, 3, 3],
  "depthwise.weight": [8, 1, 5, 5],
  "fc.weight": [4, 8],
  ...Object.fromEntries(
    ["bn1", "bn2"].flatMap((name) =>
      ["weight", "bias", "running_mean", "running_var"].map((part) => [`${name}.${part}`, [8]] as const),
    ),
  ),
};
const tensors = new Map<string, TensorEntry>(
  Object.entries(shapes).map(([name, shape]) => {
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => stream.normal());
    if (name.endsWith("running_var")) values.forEach((value, i) => (values[i] = Math.abs(value) + 0.1));
    return [name, { shape, dtype: "float32", read: (): Promise<TensorData> => Promise.resolve(values.slice()) }];
  }),
);

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

test("a folded kernel whose bias is not there is computed as it stands", () => {
  const graph = network();
  graph.nodes.find(({ name }) => name === "first/bias_add")!.op = "AddV2";
  expect(pytorchPath(graph).layers).toBe(2);
});
