import * as tf from "@tensorflow/tfjs";

import { restore, store, storedBytes, type Precision } from "../../lib/convert/precision.js";
import { constant } from "../../lib/convert/weight.js";
import { random } from "../../lib/random.js";

const stream = random(0, "weights");
const normals = (length: number) => Array.from({ length }, () => 0.1 * stream.normal());
const inMemory = async (name: string, values: number[], shape: number[], precision: Precision) => {
  const weight = constant(values, "float32", shape);
  return store({ name, weight, values: await weight.read(), precision });
};

beforeAll(() => tf.setBackend("cpu"));

test.each(["float32", "float16", "uint8"] as const)(
  "TensorFlow.js reads %s as it is restored here",
  async (precision) => {
    const weight = constant(normals(300), "float32", [10, 30]);
    const stored = store({ name: "w", weight, values: await weight.read(), precision });
    expect(stored.bytes.length).toBe(storedBytes(weight, precision));
    const spec = {
      name: "w",
      shape: [10, 30],
      dtype: "float32" as const,
      ...(stored.quantization && { quantization: stored.quantization }),
    };
    const { w } = tf.io.decodeWeights(stored.bytes.slice().buffer, [spec]);
    const read = await w!.data();
    const restored = restore(stored);
    for (const [i, value] of restored.entries()) expect(read[i]).toBeCloseTo(value, 6);
    const exact = await weight.read();
    const step = stored.quantization?.scale ?? 1e-3;
    for (const [i, value] of exact.entries()) expect(Math.abs(restored[i]! - value)).toBeLessThanOrEqual(step * 0.501);
    w!.dispose();
  },
);

test("zero stays zero in 255 steps", async () => {
  const values = [-0.3, 0, 0.1, 0, 0.7, 0];
  const restored = restore(await inMemory("w", values, [2, 3], "uint8"));
  for (const i of [1, 3, 5]) expect(restored[i]).toBeCloseTo(0, 12);
});

test("a weight of one value in 255 steps is exact", async () => {
  expect([...restore(await inMemory("w", [0.5, 0.5, 0.5, 0.5], [2, 2], "uint8"))]).toEqual([0.5, 0.5, 0.5, 0.5]);
});

test("vectors are not cut into steps, and single numbers and integers are kept as they are", async () => {
  expect((await inMemory("bias", normals(8), [8], "uint8")).quantization).toBeUndefined();
  expect((await inMemory("filler", [-3e38], [], "float16")).quantization).toBeUndefined();
  const axes = constant([1, 2], "int32");
  expect(store({ name: "axes", weight: axes, values: await axes.read(), precision: "float16" }).bytes).toHaveLength(8);
});

test("a number beyond a half is told by name", async () => {
  await expect(inMemory("head/bias", [1, 70000], [2], "float16")).rejects.toThrow(
    "Expected weights within ±65504 for float16 but head/bias holds 70000",
  );
});
