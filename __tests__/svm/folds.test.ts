import fc from "fast-check";

import { UserError } from "../../lib/errors.js";
import { stratifiedFolds } from "../../lib/svm/folds.js";
import { golden } from "../golden.js";

interface GoldenFolds {
  k: number;
  labels: number[];
  test_fold: number[];
}

test("the folds are scikit-learn's", () => {
  const cases = golden<GoldenFolds[]>("svm/folds.json");
  expect(cases.length).toBeGreaterThan(3);
  for (const { k, labels, test_fold } of cases) {
    expect([...stratifiedFolds({ labels, folds: k })]).toEqual(test_fold);
  }
});

test("each fold has its share of every class, to one row, and the rows of a class are in runs", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -1, max: 3 }), { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 2, max: 7 }),
      (labels, folds) => {
        const found = stratifiedFolds({ labels, folds });
        for (const label of new Set(labels)) {
          const own = [...found].filter((_, row) => labels[row] === label);
          const counts = Array.from({ length: folds }, (_, fold) => own.filter((one) => one === fold).length);
          expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
          expect(own).toEqual([...own].sort((a, b) => a - b));
        }
      },
    ),
  );
});

test("fewer than two folds are refused", () => {
  expect(() => stratifiedFolds({ labels: [1, 0], folds: 1 })).toThrow(UserError);
});
