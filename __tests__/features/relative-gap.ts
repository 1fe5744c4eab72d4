/** The largest difference of equally many values, relative to the largest of `right`. */
export function relativeGap(left: Float32Array, right: Float32Array): number {
  expect(left.length).toBe(right.length);
  const largest = right.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return left.reduce((most, value, i) => Math.max(most, Math.abs(value - right[i]!)), 0) / largest;
}
