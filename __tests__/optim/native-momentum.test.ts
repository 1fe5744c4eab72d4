import * as tf from "@tensorflow/tfjs";

import { nativeMomentum } from "../../lib/optim/native-momentum.js";
import { random } from "../../lib/random.js";
import { describeOnNative } from "../backends.js";

const shape: [number, number, number] = [1, 300, 250];
const size = 300 * 250;
const factor = 0.9;

function numbers(purpose: string): Float32Array {
  const stream = random(0, purpose);
  return Float32Array.from({ length: size }, () => stream.normal());
}

describeOnNative("momentum in place", () => {
  const [w, p, g] = ["value", "momentum", "gradient"].map(numbers) as [Float32Array, Float32Array, Float32Array];
  const perColumn = Array.from({ length: 250 }, (_, column) => -0.001 * column);
  test.each([
    ["no decay", undefined, () => 0],
    ["one decay", [-0.01], () => -0.01],
    ["a decay a column", perColumn, (i: number) => perColumn[i % 250]!],
  ] as const)("is Nesterov's step with %s, and leaves what others hold as it was", (_, decays, decayOf) => {
    const before = tf.memory().numTensors;
    const [value, momentum, scaledGradient] = [w, p, g].map((data) => tf.tensor(data, shape)) as [
      tf.Tensor,
      tf.Tensor,
      tf.Tensor,
    ];
    const held = [value, momentum, scaledGradient].map((tensor) => tensor.clone());
    const scaledDecay = decays && tf.tensor3d([...decays], [1, 1, decays.length]);
    const after = nativeMomentum({ value, momentum, scaledGradient, scaledDecay, factor, nesterov: true })!;
    const [values, momenta] = [after.value.dataSync(), after.momentum.dataSync()];
    let worst = 0;
    for (let i = 0; i < size; i++) {
      const q = g[i]! + decayOf(i) * w[i]!;
      const next = factor * p[i]! + q;
      worst = Math.max(worst, Math.abs(momenta[i]! - next), Math.abs(values[i]! - (w[i]! + q + factor * next)));
    }
    expect(worst).toBeLessThan(1e-5);
    for (const [i, data] of [w, p, g].entries()) {
      expect(held[i]!.dataSync().every((number, at) => number === data[at])).toBe(true);
    }
    tf.dispose([held, after.value, after.momentum, scaledDecay ?? []]);
    if (!scaledGradient.isDisposed) scaledGradient.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});
