import { random } from "../lib/random.js";

describe("random", () => {
  test("a seed and a purpose give the same numbers, another purpose others", () => {
    expect([...random(1, "order", 0).permutation(10)]).toEqual([...random(1, "order", 0).permutation(10)]);
    expect([...random(1, "order", 0).permutation(10)]).not.toEqual([...random(1, "order", 1).permutation(10)]);
  });

  test("a permutation holds each position once", () => {
    expect([...random(3, "p").permutation(1000)].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 1000 }, (_, i) => i),
    );
  });

  test("normal numbers have mean 0 and variance 1", () => {
    const stream = random(5, "normal");
    const values = Array.from({ length: 20000 }, () => stream.normal());
    const mean = values.reduce((a, b) => a + b) / values.length;
    const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.03);
    expect(Math.abs(variance - 1)).toBeLessThan(0.04);
  });
});
