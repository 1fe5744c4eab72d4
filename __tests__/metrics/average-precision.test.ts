import fc from "fast-check";

import { readNpy } from "../../lib/features/npy-file.js";
import {
  allPointsAveragePrecision,
  elevenPointAveragePrecision,
  meanAveragePrecision,
  precisionRecall,
  stepAveragePrecision,
} from "../../lib/metrics/average-precision.js";
import { golden, goldenPath } from "../golden.js";

type Value = number | "NaN";

interface Case {
  name: string;
  targets: number[];
  scores: number[];
  ap_vissl: Value;
  ap_sklearn: Value;
  ap_voc07_11pt: Value;
  /** The first of all ranks. */
  precision_vissl: number[];
  recall_vissl: number[];
}

function expectValue(actual: number, wanted: Value): void {
  if (wanted === "NaN") expect(actual).toBeNaN();
  else expect(Math.abs(actual - wanted)).toBeLessThan(1e-12);
}

async function read(name: string): Promise<Float64Array> {
  const { data } = await readNpy({ file: goldenPath(`ap/${name}.npy`) });
  return Float64Array.from(data as ArrayLike<number | bigint>, Number);
}

describe("average precision", () => {
  const cases = golden<Case[]>("ap/cases.json");

  test.each(cases)("equals VISSL's, scikit-learn's and VOC 2007's: $name", ({ targets, scores, ...wanted }) => {
    expectValue(allPointsAveragePrecision({ scores, targets }), wanted.ap_vissl);
    expectValue(stepAveragePrecision({ scores, targets }), wanted.ap_sklearn);
    expectValue(elevenPointAveragePrecision({ scores, targets }), wanted.ap_voc07_11pt);
  });

  test.each(cases.filter(({ targets }) => targets.includes(1)))(
    "its curve is VISSL's where a positive is found: $name",
    ({ targets, scores, precision_vissl, recall_vissl }) => {
      const { precision, recall } = precisionRecall({ scores, targets });
      const found = recall_vissl.flatMap((value, rank) => (value > (recall_vissl[rank - 1] ?? 0) ? [rank] : []));
      found.forEach((rank, hit) => {
        expect(recall[hit]).toBeCloseTo(recall_vissl[rank]!, 12);
        expect(precision[hit]).toBeCloseTo(precision_vissl[rank]!, 12);
      });
      expect(recall.at(-1)).toBe(1);
    },
  );

  test("its mean over classes is that of VISSL's meter", async () => {
    const { value } = golden<{ value: { mAP: Record<string, number>; AP: Record<string, number[]> } }>(
      "ap/meter_expected.json",
    );
    const targets = await read("meter_targets");
    for (const [head, name] of ["res4", "res5"].entries()) {
      const scores = await read(`meter_logits_${head}`);
      const { mean, perClass } = meanAveragePrecision({ scores, targets, classes: 7 });
      expect(Math.abs(100 * mean - value.mAP[name]!)).toBeLessThan(1e-4);
      value.AP[name]!.forEach((ap, c) => {
        if (ap === -1) expect(perClass[c]).toBeNaN();
        else expect(Math.abs(perClass[c]! - ap)).toBeLessThan(1e-6);
      });
    }
  });

  test("goes by the order of scores alone, is 1 where all positives lead, and never less than without interpolation", () => {
    const row = fc.record({ target: fc.constantFrom(-1, 0, 1), score: fc.integer({ min: -50, max: 50 }) });
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 40 }), (rows) => {
        const targets = rows.map(({ target }) => target);
        const scores = rows.map(({ score }) => score);
        fc.pre(targets.includes(1));
        const squeezed = scores.map((score) => 1 / (1 + Math.exp(-score / 20)));
        for (const ap of [allPointsAveragePrecision, elevenPointAveragePrecision, stepAveragePrecision]) {
          const value = ap({ scores, targets });
          expect(value).toBeGreaterThan(0);
          expect(value).toBeLessThanOrEqual(1);
          expect(ap({ scores: squeezed, targets })).toBe(value);
          expect(ap({ scores: targets, targets })).toBeCloseTo(1, 12);
        }
        const distinct = scores.map((score, i) => score + i / 100);
        expect(allPointsAveragePrecision({ scores: distinct, targets })).toBeGreaterThanOrEqual(
          stepAveragePrecision({ scores: distinct, targets }) - 1e-12,
        );
      }),
    );
  });

  test("a score that is not a number ranks last", () => {
    const targets = [1, 0, 0];
    expect(allPointsAveragePrecision({ scores: [NaN, 0.2, 0.1], targets })).toBeCloseTo(1 / 3, 12);
  });

  test("says what it cannot rank", () => {
    expect(() => allPointsAveragePrecision({ scores: [1], targets: [1, 0] })).toThrow(
      "Expected 2 scores for the average precision but received 1",
    );
    expect(() => stepAveragePrecision({ scores: [1, 2], targets: [1, -2] })).toThrow(
      "Expected 1, 0 or -1 for a target but received -2",
    );
    expect(() => meanAveragePrecision({ scores: [1, 2, 3], targets: [1, 0, 1], classes: 2 })).toThrow(
      "Expected 3 scores in rows of 2 for the average precision but received 3",
    );
    expect(meanAveragePrecision({ scores: [1, 2], targets: [0, -1], classes: 2 }).mean).toBeNaN();
  });
});
