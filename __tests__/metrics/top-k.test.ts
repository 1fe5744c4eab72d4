import fc from "fast-check";

import { ranks, topKAccuracy } from "../../lib/metrics/top-k.js";

describe("ranks", () => {
  test("count the classes before the true one; equal scores go by index, as argmax does", () => {
    const scores = Float32Array.from([0.1, 0.7, 0.2, 0.5, 0.5, 0.5, 3, 2, 1]);
    expect([...ranks({ scores, labels: [2, 1, 2], classes: 3 })]).toEqual([1, 1, 2]);
    expect([...ranks({ scores, labels: [1, 0, 0], classes: 3 })]).toEqual([0, 0, 0]);
  });

  test("a row with a NaN ranks nothing", () => {
    expect([...ranks({ scores: Float32Array.from([NaN, NaN, NaN, 1, NaN, 0]), labels: [0, 0], classes: 3 })]).toEqual([
      2, 2,
    ]);
  });

  test("are the places of the labels in a sort by score", () => {
    const row = fc.array(fc.float({ noNaN: true }), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(row, fc.integer({ min: 0, max: 3 }), (scores, label) => {
        const exact = Float32Array.from(scores);
        const order = [0, 1, 2, 3].sort((a, b) => (exact[b] === exact[a] ? a - b : exact[b]! > exact[a]! ? 1 : -1));
        expect(ranks({ scores: exact, labels: [label], classes: 4 })[0]).toBe(order.indexOf(label));
      }),
    );
  });

  test("name what is wrong", () => {
    expect(() => ranks({ scores: new Float32Array(5), labels: [0, 1], classes: 3 })).toThrow(
      "Expected 2 × 3 scores for the ranking but received 5",
    );
  });
});

test("top-k accuracy is the share of ranks below k", () => {
  expect(topKAccuracy([0, 1, 4, 5], 1)).toBe(0.25);
  expect(topKAccuracy([0, 1, 4, 5], 5)).toBe(0.75);
  expect(topKAccuracy([], 1)).toBeNaN();
});
