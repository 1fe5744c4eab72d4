import * as tf from "@tensorflow/tfjs";

import { applyPooling } from "../../lib/backbones/apply-pooling.js";
import { requestLayer, type LayerRequest } from "../../lib/backbones/layers.js";
import { parsePooling } from "../../lib/backbones/pooling.js";
import { continueGraph } from "../../lib/classifiers/classifier-graph.js";
import type { HeadFunction } from "../../lib/classifiers/head-nodes.js";
import { GraphBuilder, placeholder } from "../../lib/convert/graph-builder.js";
import { weightBytesOf } from "../../lib/convert/graph-model.js";
import type { DenseLayer } from "../../lib/heads/evaluated.js";
import { random } from "../../lib/random.js";
import { describeOnBackends } from "../backends.js";

function numbers(purpose: string, length: number): Float32Array {
  const stream = random(0, purpose);
  return Float32Array.from({ length }, () => 2 * stream.uniform() - 1);
}

function dense(from: number, to: number, relu: boolean): DenseLayer {
  return { weight: numbers(`weight ${from}`, from * to), bias: numbers(`bias ${from}`, to), relu };
}

/** A layer of a backbone that gives its input as it is, under the input's own name. */
function layerOf(shape: number[], pooling: string): LayerRequest {
  const kind = ({ 1: "vector", 2: "tokens", 3: "map" } as const)[shape.length as 1 | 2 | 3];
  return requestLayer({ name: "tap", node: "input", kind, shape, pooling: "identity" }, parsePooling(pooling));
}

async function load(graph: GraphBuilder): Promise<tf.GraphModel> {
  const bytes = await Promise.all([...graph.weights].map(([name, weight]) => weightBytesOf(name, weight)));
  return tf.loadGraphModel(
    tf.io.fromMemory({
      format: "graph-model",
      modelTopology: { node: graph.nodes, library: {}, versions: { producer: 1087 } },
      weightSpecs: [...graph.weights].map(([name, { shape, dtype }]) => ({ name, shape: [...shape], dtype })),
      weightData: new Uint8Array(Buffer.concat(bytes)).buffer,
    }),
  );
}

/** Logits and probabilities for two images by the graph, and the logits as the program computes them elsewhere. */
async function both(layers: LayerRequest[], head: HeadFunction) {
  const { shape } = layers[0]!.tap;
  const graph = new GraphBuilder(placeholder("input", shape));
  const outputs = continueGraph({ graph, layers, head });
  const model = await load(graph);
  const images = tf.tensor(numbers("images", 2 * shape.reduce((a, b) => a * b)), [2, ...shape]);
  try {
    return tf.tidy(() => {
      const [logits, probabilities] = model.execute(images, [outputs.logits, outputs.probabilities]) as tf.Tensor[];
      const pooled = layers.map(({ pooling }) => applyPooling({ pooling, features: images }).reshape([2, -1]));
      let x = tf.concat(pooled, 1);
      if (head.normalized) x = x.div(tf.norm(x, 2, 1, true));
      for (const { weight, bias, relu } of head.dense) {
        x = x.matMul(tf.tensor2d(weight, [weight.length / bias.length, bias.length])).add(bias);
        if (relu) x = x.relu();
      }
      const due = head.activation === "softmax" ? tf.softmax(x) : tf.sigmoid(x);
      return [
        [logits!, x],
        [probabilities!, due],
      ].map((pair) => pair.map((tensor) => Array.from(tensor.dataSync())));
    });
  } finally {
    images.dispose();
    model.dispose();
  }
}

function expectEqual([found, due]: number[][]): void {
  expect(found).toHaveLength(due!.length);
  found!.forEach((value, i) => expect(Math.abs(value - due![i]!)).toBeLessThan(1e-4));
}

describeOnBackends("the graph of a classifier", () => {
  test.each([
    [[5, 7, 3], "identity"],
    [[5, 7, 3], "avg"],
    [[5, 7, 3], "max"],
    [[5, 7, 3], "avg_pool(3x2,2x1,1)"],
    [[5, 7, 3], "max_pool(3,2,1)"],
    [[5, 7, 3], "adaptive_avg(2x3)"],
    [[5, 7, 3], "adaptive_max(3x2)"],
    [[6, 4], "identity"],
    [[6, 4], "avg"],
    [[6, 4], "cls"],
    [[6, 4], "patch_avg"],
    [[6, 4], "patch_avg(3)"],
    [[9], "identity"],
    [[9], "adaptive_avg(2x2)"],
    [[9], "max_pool(1,1,0)"],
  ])("pools %j by %s as evaluation does", async (shape, pooling) => {
    const before = tf.memory().numTensors;
    const layer = layerOf(shape, pooling);
    const head: HeadFunction = { normalized: false, dense: [dense(layer.width, 4, false)], activation: "softmax" };
    (await both([layer], head)).forEach(expectEqual);
    expect(tf.memory().numTensors).toBe(before);
  });

  test("joins several layers, normalises, passes hidden layers, and ends in sigmoids", async () => {
    const layers = [layerOf([5, 7, 3], "adaptive_avg(2x2)"), layerOf([5, 7, 3], "max")];
    const hidden = [dense(15, 8, true), dense(8, 5, false), dense(5, 6, true)];
    const head: HeadFunction = { normalized: true, dense: [...hidden, dense(6, 4, false)], activation: "sigmoid" };
    (await both(layers, head)).forEach(expectEqual);
  });
});

test("names that the backbone uses itself are left to it", () => {
  const graph = new GraphBuilder(placeholder("input", [4]));
  graph.relu("logits", graph.relu("classifier/relu", graph.input));
  const head: HeadFunction = { normalized: false, dense: [dense(4, 2, false)], activation: "softmax" };
  const outputs = continueGraph({ graph, layers: [layerOf([4], "identity")], head });
  expect(outputs).toEqual({ logits: "classifier_/logits", probabilities: "probabilities" });
});
