import * as tf from "@tensorflow/tfjs";

import { random } from "../../lib/random.js";
import { ActiveRows } from "../../lib/svm/active-rows.js";
import { describeOnBackends } from "../backends.js";

const count = 60;

/** X·Xᵀ of rows of which the last ten repeat the first. */
function gramMatrix(): Float32Array {
  const stream = random(0, "gram");
  const once = Array.from({ length: count - 10 }, () => Array.from({ length: 20 }, () => stream.normal()));
  const rows = [...once, ...once.slice(0, 10)];
  return Float32Array.from(rows.flatMap((a) => rows.map((b) => a.reduce((sum, x, k) => sum + x * b[k]!, 0))));
}

describeOnBackends("ActiveRows", () => {
  const gram = gramMatrix();
  const stream = random(1, "residual");
  const residual = Float64Array.from({ length: count }, () => stream.normal());
  const curvaturesOf = (isActive: (row: number) => boolean, cost = 3) =>
    Float64Array.from({ length: count }, (_, row) => (isActive(row) ? (row % 2 === 0 ? 2 : 4) * cost : 0));

  /** That (I + D·K)·z = r, row by row. */
  function expectDivided(curvatures: Float64Array, quotient: Float32Array): void {
    for (let i = 0; i < count; i++) {
      let score = 0;
      for (let j = 0; j < count; j++) score += (gram[i * count + j]! + 1) * quotient[j]!;
      const scale = Math.max(1, curvatures[i]!);
      expect(Math.abs(quotient[i]! + curvatures[i]! * score - residual[i]!) / scale).toBeLessThan(1e-3);
    }
  }

  test("divides by the Hessian, also with rows that have come and gone since the factor was made", async () => {
    const before = tf.memory().numTensors;
    const activeRows = new ActiveRows(gram, 60);
    for (const isActive of [
      (row: number) => row < 40,
      (row: number) => row < 44,
      (row: number) => row > 2 && row < 40,
      (row: number) => row > 2 && row < 44,
      (row: number) => row > 30,
      () => true,
    ]) {
      const curvatures = curvaturesOf(isActive);
      activeRows.adapt(curvatures);
      expect(activeRows.outside(residual)).toBeUndefined();
      expectDivided(curvatures, await activeRows.divide(residual));
    }
    const dearer = curvaturesOf(() => true, 30);
    activeRows.adapt(dearer);
    activeRows.outside(residual);
    expectDivided(dearer, await activeRows.divide(residual));
    activeRows.forget();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("where no row is active, the Hessian is the identity", async () => {
    const activeRows = new ActiveRows(gram, 60);
    activeRows.adapt(new Float64Array(count));
    activeRows.outside(residual);
    expect(await activeRows.divide(residual)).toEqual(Float32Array.from(residual));
  });

  test("rows that repeat others and hardly any curvature left over", async () => {
    const activeRows = new ActiveRows(gram, 60);
    const curvatures = curvaturesOf(() => true, 1e7);
    activeRows.adapt(curvatures);
    activeRows.outside(residual);
    const quotient = await activeRows.divide(residual);
    expect(quotient.every(Number.isFinite)).toBe(true);
    activeRows.forget();
  });
});
