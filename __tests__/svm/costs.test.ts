import { UserError } from "../../lib/errors.js";
import { pythonFloat } from "../../lib/python-float.js";
import { svmCosts } from "../../lib/svm/costs.js";

test("costs are a list, and behind it the powers of a base", () => {
  expect(svmCosts({ costs: [2, 0.1] })).toEqual([2, 0.1]);
  expect(svmCosts({ costs: [0.1], costBase: 0.5, costPowers: [2, 5] })).toEqual([0.1, 0.25, 0.125, 0.0625]);
  expect(svmCosts({ costs: [], costBase: 10, costPowers: [-2, 1] })).toEqual([0.01, 0.1, 1]);
});

test.each([
  [{ costs: [] }, "Expected at least one for the costs but received []"],
  [{ costs: [1, 0] }, "Expected numbers above 0 for the costs but received 0"],
  [{ costs: [-1] }, "Expected numbers above 0 for the costs but received -1"],
  [{ costs: [NaN] }, "Expected numbers above 0 for the costs but received null"],
  [{ costs: [1, 2, 1] }, "Expected each cost once but received 1.0 twice"],
  [{ costs: [1], costBase: 10, costPowers: [0, 2] }, "Expected each cost once but received 1.0 twice"],
  [{ costs: [1], costBase: 0, costPowers: [0, 2] }, "Expected a number above 0 for --cost-base but received 0"],
  [{ costs: [1], costBase: 2 }, "Expected two rising whole numbers for --cost-powers but received []"],
  [{ costs: [1], costBase: 2, costPowers: [4, 4] }, "Expected two rising whole numbers for --cost-powers"],
])("%j is refused", (options, sentence) => {
  expect(() => svmCosts(options)).toThrow(UserError);
  expect(() => svmCosts(options)).toThrow(sentence);
});

// By CPython 3.11: str(float(x)).
test.each([
  [2, "2.0"],
  [1000, "1000.0"],
  [0.01, "0.01"],
  [0.1 + 0.2, "0.30000000000000004"],
  [1e-4, "0.0001"],
  [1e-5, "1e-05"],
  [2.5e-7, "2.5e-07"],
  [1.5e-6, "1.5e-06"],
  [1e15, "1000000000000000.0"],
  [1e16, "1e+16"],
  [1.25e22, "1.25e+22"],
  [1e-100, "1e-100"],
])("%f is written as Python writes it", (cost, text) => {
  expect(pythonFloat(cost)).toBe(text);
});
