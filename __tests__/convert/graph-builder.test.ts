import * as tf from "@tensorflow/tfjs";

import { foldBatchNorm } from "../../lib/convert/batch-norm.js";
import { GraphBuilder } from "../../lib/convert/graph-builder.js";
import type { GraphTensor } from "../../lib/convert/graph-builder.js";
import { graphModelJson } from "../../lib/convert/graph-model.js";
import { convolutionKernel, depthwiseKernel, linearMatrix } from "../../lib/convert/weight.js";
import type { FloatWeight } from "../../lib/convert/weight.js";
import { describeOnBackends } from "../backends.js";
import { golden } from "../golden.js";

interface StoredWeight {
  shape: number[];
  values: number[];
}

interface Case {
  name: string;
  side: [height: number, width: number];
  operation: string;
  input: number[];
  window: { stride: number; padding: "same" | number; size: number };
  kernel: StoredWeight;
  bias: StoredWeight;
  norm: { scale: StoredWeight; shift: StoredWeight; mean: StoredWeight; variance: StoredWeight; epsilon: number };
  shape: number[];
  expected: number[];
}

function weight({ shape, values }: StoredWeight): FloatWeight {
  return { shape, dtype: "float32", read: () => Promise.resolve(Float32Array.from(values)) };
}

function folded({ kernel, bias, norm }: Case) {
  return foldBatchNorm({
    kernel: weight(kernel),
    bias: weight(bias),
    norm: {
      scale: weight(norm.scale),
      shift: weight(norm.shift),
      mean: weight(norm.mean),
      variance: weight(norm.variance),
      epsilon: norm.epsilon,
    },
  });
}

const build: Record<string, (graph: GraphBuilder, one: Case) => GraphTensor> = {
  conv2d: (graph, { kernel, window }) => graph.conv2d("y", graph.input, convolutionKernel(weight(kernel)), window),
  depthwise: (graph, { kernel, window }) =>
    graph.depthwiseConv2d("y", graph.input, depthwiseKernel(weight(kernel), 3), window),
  normalised: (graph, one) => {
    const { kernel, bias } = folded(one);
    const x = graph.conv2d("conv", graph.input, convolutionKernel(kernel), one.window);
    return graph.relu6("y", graph.biasAdd("bias", x, bias));
  },
  "normalised-depthwise": (graph, one) => {
    const { kernel, bias } = folded(one);
    const x = graph.depthwiseConv2d("conv", graph.input, depthwiseKernel(kernel, 3), one.window);
    return graph.relu6("y", graph.biasAdd("bias", x, bias));
  },
  "max-pool": (graph, { window }) => graph.maxPool("y", graph.input, window),
  "average-pool": (graph, { window }) => graph.averagePool("y", graph.input, window),
  linear: (graph, { kernel, bias }) => {
    const mean = graph.globalAveragePool("mean", graph.input);
    return graph.biasAdd("y", graph.matMul("product", mean, linearMatrix(weight(kernel))), weight(bias));
  },
};

async function load(graph: GraphBuilder): Promise<tf.GraphModel> {
  const { modelTopology, weightsManifest } = graphModelJson(graph);
  const values = await Promise.all([...graph.weights.values()].map((one) => one.read()));
  return tf.loadGraphModel({
    load: async () => ({
      format: "graph-model",
      modelTopology,
      weightSpecs: weightsManifest[0]!.weights,
      weightData: values.map(
        (value) => new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice().buffer,
      ),
    }),
  });
}

describeOnBackends("a graph", ({ tolerance }) => {
  // PyTorch 2's values: __tests__/golden/convert/make.py.
  test.each(golden<Case[]>("convert/operations.json").map((one) => [one.name, one] as const))(
    "%s equals PyTorch",
    async (_, one) => {
      const [height, width] = one.side;
      const graph = new GraphBuilder({ height, width });
      const y = build[one.operation]!(graph, one);
      graph.tap("y", y);
      expect(y.shape).toEqual(one.shape);
      const model = await load(graph);
      const x = tf.tensor4d(one.input, [1, height, width, 3]);
      const output = model.execute({ images: x }, "y") as tf.Tensor;
      expect(output.shape).toEqual([1, ...one.shape]);
      const values = await output.data();
      const largest = Math.max(...one.expected.map(Math.abs));
      const furthest = Math.max(...one.expected.map((value, i) => Math.abs(value - values[i]!)));
      expect(furthest / largest).toBeLessThan(tolerance);
      tf.dispose([x, output]);
      model.dispose();
    },
  );
});

describe("GraphBuilder", () => {
  test("a padding that is TensorFlow's own is written as such", () => {
    const graph = new GraphBuilder({ height: 9, width: 9 });
    const kernel = weight({ shape: [3, 3, 3, 1], values: new Array<number>(27).fill(1) });
    graph.conv2d("odd", graph.input, kernel, { stride: 2, padding: 1 });
    graph.conv2d("none", graph.input, kernel, { padding: 0 });
    const paddingOf = (name: string) => {
      const { s } = graph.nodes.find((node) => node.name === name)!.attr.padding as { s: string };
      return Buffer.from(s, "base64").toString();
    };
    expect([paddingOf("odd"), paddingOf("none")]).toEqual(["SAME", "VALID"]);
  });

  test("what does not fit together is a defect of the architecture", () => {
    const graph = new GraphBuilder({ height: 4, width: 4 });
    const bias = weight({ shape: [2], values: [1, 2] });
    expect(() => graph.biasAdd("bias", graph.input, bias)).toThrow("takes 2 channels");
    graph.relu("twice", graph.input);
    expect(() => graph.relu("twice", graph.input)).toThrow("two nodes");
    const half = graph.maxPool("half", graph.input, { size: 2, stride: 2, padding: 0 });
    expect(() => graph.add("sum", graph.input, half)).toThrow("adds [4,4,3] and [2,2,3]");
  });
});
