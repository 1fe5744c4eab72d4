import { normaliseRows } from "../../lib/svm/normalise.js";

test("rows are divided by their length and 1e-5, in single precision; rows of zeros are counted and stay", () => {
  const rows = Float32Array.of(3, 4, 0, 0, 1e-5, 0, -0.1, 0.2);
  expect(normaliseRows(rows, 2)).toBe(1);
  // NumPy: x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-5), of float32, which adds up squares in single precision.
  const expected = [0.5999988, 0.7999984, 0, 0, 0.5, 0, -0.4471936, 0.8943872];
  rows.forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(2 ** -23));
});
