import fc from "fast-check";

import { stratifiedSplit } from "../../lib/datasets/split.js";

const single = (labels: number[]) => ({ kind: "single", labels: Int32Array.from(labels) }) as const;
const count = (labels: number[], rows: Uint32Array, label: number) =>
  rows.reduce((n, row) => n + Number(labels[row] === label), 0);

describe("stratifiedSplit", () => {
  test("gives each part its share of every class and of all, and each row once", () => {
    const labelled = fc.array(fc.nat(6), { minLength: 20, maxLength: 300 });
    fc.assert(
      fc.property(labelled, fc.integer({ min: 10, max: 90 }), fc.nat(), (labels, percent, seed) => {
        const share = percent / 100;
        const parts = stratifiedSplit({
          targets: single(labels),
          fractions: [share, 1 - share],
          seed,
          purpose: "test",
        });
        expect(parts.flatMap((rows) => Array.from(rows)).sort((a, b) => a - b)).toEqual([...labels.keys()]);
        for (const rows of parts) expect(Array.from(rows)).toEqual(Array.from(rows).sort((a, b) => a - b));
        const sizes = [...new Set(labels)].map((label) => labels.filter((other) => other === label).length);
        // A class whose share is less than an image may give the first part one by force; the next classes repay it.
        const forced = sizes.some((size) => size >= 2 && size * share < 1);
        for (const label of new Set(labels)) {
          const all = labels.filter((other) => other === label).length;
          const first = count(labels, parts[0]!, label);
          expect(Math.abs(first - all * share)).toBeLessThan(forced ? 2 : 1 + 1e-6);
          if (all >= 2) expect(first).toBeGreaterThanOrEqual(1);
        }
      }),
    );
  });

  test("is the same from the same seed, another from another seed or purpose", () => {
    const targets = single(Array.from({ length: 200 }, (_, i) => i % 5));
    const draw = (seed: number, purpose: string) =>
      stratifiedSplit({ targets, fractions: [0.8, 0.2], seed, purpose })[1]!.join();
    expect(draw(1, "a")).toBe(draw(1, "a"));
    expect(draw(1, "a")).not.toBe(draw(2, "a"));
    expect(draw(1, "a")).not.toBe(draw(1, "b"));
  });

  test("rounds many small classes evenly: a tenth of classes of four is a tenth of all", () => {
    const labels = Array.from({ length: 400 }, (_, i) => Math.floor(i / 4));
    const [, val] = stratifiedSplit({ targets: single(labels), fractions: [0.9, 0.1], seed: 0, purpose: "val" });
    expect(Math.abs(val!.length - 40)).toBeLessThanOrEqual(1);
  });

  test("may leave a rest that belongs to no part", () => {
    const targets = single(Array.from({ length: 1000 }, (_, i) => i % 10));
    const parts = stratifiedSplit({ targets, fractions: [0.01, 0.1], seed: 0, purpose: "low-shot" });
    expect(parts.map(({ length }) => length)).toEqual([10, 100]);
  });

  test("spreads each of several labels", () => {
    const classes = 5;
    const chance = [0.5, 0.3, 0.1, 0.05, 0.02];
    const labels = new Int8Array(1000 * classes);
    for (let i = 0; i < labels.length; i++) labels[i] = (i * 7919) % 1009 < 1009 * chance[i % classes]! ? 1 : -(i % 2);
    const targets = { kind: "multi", labels, classes } as const;
    const parts = stratifiedSplit({ targets, fractions: [0.7, 0.3], seed: 3, purpose: "val" });
    expect(parts[0]!.length + parts[1]!.length).toBe(1000);
    expect(Math.abs(parts[1]!.length - 300)).toBeLessThan(20);
    for (let label = 0; label < classes; label++) {
      const positives = (rows: Iterable<number>) =>
        [...rows].filter((row) => labels[row * classes + label] === 1).length;
      expect(Math.abs(positives(parts[1]!) - 0.3 * positives(Array(1000).keys()))).toBeLessThanOrEqual(2);
    }
  });

  test("says what is wrong", () => {
    const draw = (fractions: number[]) =>
      stratifiedSplit({ targets: single([0, 0, 1, 1]), fractions, seed: 0, purpose: "" });
    expect(() => draw([0.9, 0.2])).toThrow("a sum of at most 1 for a split but received [0.9,0.2]");
    expect(() => draw([1, 0])).toThrow("fractions above 0");
    expect(() => draw([])).toThrow("fractions above 0");
    expect(() => draw([0.95, 0.05])).toThrow("a part of 0.05 but received 4, which leaves it empty");
  });
});
