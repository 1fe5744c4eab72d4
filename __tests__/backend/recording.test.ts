import * as tf from "@tensorflow/tfjs";

import { graphDef, UnsupportedGraph } from "../../lib/backend/graph-def.js";
import { loadedNative } from "../../lib/backend/native.js";
import { record } from "../../lib/backend/recording.js";
import { openGraph } from "../../lib/backend/saved-model.js";
import { describeOnBackends, describeOnNative } from "../backends.js";

/** Many kinds of operations, and of attributes. */
function compute(x: tf.Tensor2D, y: tf.Tensor2D): tf.Tensor[] {
  const product = tf.matMul(x, y, false, true);
  const [first, second] = tf.split(tf.softmax(product), 2, 1);
  const padded = tf.pad2d(first as tf.Tensor2D, [[0, 0], [1, 2]], 0.5); // prettier-ignore
  const picked = tf.gather(x, tf.tensor1d([2, 0], "int32"));
  const normalised = tf.div(x, tf.maximum(tf.sqrt(tf.sum(tf.square(x), 1, true)), 1e-12));
  const chosen = tf.where(tf.greater(second!, 0.1), second!, tf.zerosLike(second!));
  return [padded, picked, normalised, chosen, tf.transpose(tf.tile(x.expandDims(0), [2, 1, 1]), [2, 0, 1]), x.clone()];
}

const inputs = () => [tf.randomNormal<tf.Rank.R2>([3, 4], 0, 1, "float32", 1), tf.randomNormal<tf.Rank.R2>([6, 4], 0, 1, "float32", 2)] as const; // prettier-ignore

describeOnNative("a recorded computation", () => {
  test("gives on other inputs what it gives operation by operation, and leaves no tensor", async () => {
    const [x, y] = inputs();
    const before = tf.memory().numTensors;
    const { nodes, weights, outputs } = record({ prefix: "all", inputs: { x, y }, compute: () => compute(x, y) });
    expect(tf.memory().numTensors).toBe(before);
    expect(new Set(nodes.map(({ name }) => name)).size).toBe(nodes.length);

    const placeholder = (name: string) => ({
      name,
      op: "Placeholder",
      attr: { dtype: { type: "DT_FLOAT" }, shape: { shape: { unknownRank: true } } },
    });
    const graph = graphDef({
      nodes: [placeholder("x"), placeholder("y"), ...nodes],
      weight: (name) => weights.get(name),
    });
    const fed = ["x", "y"].map((name) => ({ name, type: "DT_FLOAT" }));
    const last = { inputs: [fed[0]!], outputs: [outputs[1]!] };
    const signatures = { all: { inputs: fed, outputs: outputs.slice(0, -1) }, last };
    const session = await openGraph({ native: loadedNative()!, graph, signatures });
    const others = { x: tf.neg(x), y: tf.mul(y, 2) };
    const wanted = compute(others.x, others.y as tf.Tensor2D);
    for (const [i, found] of session.run("all", others).entries()) {
      expect(found.shape).toEqual(wanted[i]!.shape);
      const apart = tf.max(tf.abs(tf.sub(found, wanted[i]!)));
      expect((await apart.data())[0]).toBeLessThan(1e-6);
    }
    // What is only handed on is the input itself.
    expect(outputs.at(-1)).toBe("x");
    const [picked] = session.run("last", { x: others.x });
    expect(await picked!.data()).toEqual(await wanted[1]!.data());
    session.dispose();
  });

  test("records nothing of what runs afterwards, nor where the computation fails", () => {
    const [x] = inputs();
    const failing = () => {
      tf.add(x, 1);
      throw new Error("half-way");
    };
    const before = tf.memory().numTensors;
    expect(() => record({ prefix: "failing", inputs: { x }, compute: failing })).toThrow("half-way");
    expect(tf.memory().numTensors).toBe(before);
    const { nodes } = record({ prefix: "one", inputs: { x }, compute: () => [tf.neg(x)] });
    tf.square(x).dispose();
    expect(nodes.map(({ op }) => op)).toEqual(["Neg"]);
  });

  test("a graph that TensorFlow does not know is refused", async () => {
    const graph = graphDef({ nodes: [{ name: "odd", op: "NoSuchOperation" }], weight: () => undefined });
    const opening = openGraph({
      native: loadedNative()!,
      graph,
      signatures: { one: { inputs: [], outputs: ["odd"] } },
    });
    await expect(opening).rejects.toThrow(UnsupportedGraph);
    await expect(opening).rejects.toThrow(/TensorFlow refuses it: .*NoSuchOperation/);
  });
});

describeOnBackends("recording", ({ device }) => {
  test("is of native TensorFlow alone", () => {
    const [x] = inputs();
    const recording = () => record({ prefix: "any", inputs: { x }, compute: () => [tf.neg(x)] });
    if (device === "native") expect(recording().nodes).toHaveLength(1);
    else expect(recording).toThrow(UnsupportedGraph);
  });
});
