/** The largest difference of equally many values, relative to the largest of `right`. */
export function relativeGap(left: ArrayLike<number>, right: ArrayLike<number>): number {
  expect(left.length).toBe(right.length);
  const largest = (values: ArrayLike<number>) =>
    Array.from(values, Math.abs).reduce((most, one) => Math.max(most, one), 0);
  return largest(Array.from(left, (value, i) => value - right[i]!)) / largest(right);
}
