import * as tf from "@tensorflow/tfjs";
import fc from "fast-check";

import { random } from "../../lib/random.js";
import { ActiveRows } from "../../lib/svm/active-rows.js";
import { Column } from "../../lib/svm/column.js";
import type { Judgement } from "../../lib/svm/judgement.js";
import type { SvmLoss, SvmObjective, SvmProblem, SvmRows, SvmSolution } from "../../lib/svm/problem.js";
import { openSvmSolver } from "../../lib/svm/solver.js";
import { describeOnBackends } from "../backends.js";
import { golden } from "../golden.js";
import "../properties.js";
import type { PosedProblem } from "./optimum.js";
import { optimumOf, valueAt } from "./optimum.js";
import { labelled, solutions } from "./rows.js";

/** Made by bench/peers/golden_svm.py with LIBLINEAR, in double precision. */
const reference = golden<{
  optima: {
    data: string;
    loss: SvmLoss;
    cost: number;
    positiveWeight: number;
    objective: number;
    bias: number;
    weights: number[];
  }[];
}>("svm/liblinear.json");

const squaredHinge: SvmObjective = { loss: "squared_hinge", positiveWeight: 2 };

function madeRows(seed: number, count: number, width: number, scale: (row: number, column: number) => number): SvmRows {
  const stream = random(seed, "svm rows");
  const features = Float32Array.from(
    { length: count * width },
    (_, i) => scale(Math.floor(i / width), i % width) * stream.normal(),
  );
  const half = width * Math.floor(count / 2);
  return { count, width, blocks: [features.subarray(0, half), features.subarray(half)].filter((b) => b.length > 0) };
}

function madeProblem(seed: number, count: number, positives = 0.3, absent = 0): SvmProblem {
  const stream = random(seed, "svm sides");
  const sides = Int8Array.from({ length: count }, () =>
    stream.uniform() < absent ? 0 : stream.uniform() < positives ? 1 : -1,
  );
  sides[0] = 1;
  sides[1] = -1;
  return { sides };
}

async function solved(rows: SvmRows, problems: SvmProblem[], costs: number[], objective = squaredHinge) {
  const solver = await openSvmSolver({ rows, objective });
  try {
    return await solutions(solver, problems, costs);
  } finally {
    solver.dispose();
  }
}

/** That a solution is the optimum to its tolerance, and its gap no smaller than it is. */
function expectOptimum(problem: PosedProblem, solution: SvmSolution): void {
  const optimum = optimumOf(problem);
  const value = valueAt(problem, solution.weights, solution.bias);
  expect(solution.converged).toBe(true);
  expect(Math.abs(solution.objective / value - 1)).toBeLessThan(2e-6);
  expect(value / optimum.value - 1).toBeLessThan(solution.gap + 1e-6);
  expect(value / optimum.value - 1).toBeLessThan(2e-6);
  const distance = Math.hypot(...optimum.weights.map((w, j) => w - solution.weights[j]!), optimum.bias - solution.bias);
  expect(distance / Math.hypot(...optimum.weights, optimum.bias)).toBeLessThan(2e-3);
}

describeOnBackends("openSvmSolver", ({ device }) => {
  test.each(["squared_hinge", "hinge", "logistic"] as const)("finds LIBLINEAR's optima: %s", async (loss) => {
    // The hinge takes many more steps.
    for (const data of ["heart_scale", "digit 0", ...(loss === "hinge" ? [] : ["digit 8"])]) {
      const { rows, sides } = labelled(data);
      for (const positiveWeight of [1, 2]) {
        const wanted = reference.optima.filter(
          (optimum) => optimum.data === data && optimum.loss === loss && optimum.positiveWeight === positiveWeight,
        );
        const costs = wanted.map(({ cost }) => cost);
        const found = await solved(rows, [{ sides }], costs, { loss, positiveWeight });
        for (const [i, { objective, weights, bias }] of wanted.entries()) {
          const solution = found[i]!;
          expect(solution).toMatchObject({ cost: costs[i], converged: true });
          expect(Math.abs(solution.objective / objective - 1)).toBeLessThan(1e-6);
          const distance = Math.hypot(...weights.map((w, j) => w - solution.weights[j]!), bias - solution.bias);
          expect(distance / Math.hypot(...weights, bias)).toBeLessThan(loss === "hinge" ? 5e-3 : 1e-3);
        }
      }
    }
  });

  test.each(["squared_hinge", "logistic"] as const)(
    "what it says of a solution is so, at extreme costs and with features of very different sizes: %s",
    async (loss) => {
      const objective: SvmObjective = { loss, positiveWeight: 2 };
      const rows = madeRows(1, 60, 12, (_, column) => 10 ** ((column % 4) - 2));
      const { sides } = madeProblem(1, 60, 0.3, 0.2);
      const features = rows.blocks.flatMap((block) => [...block]);
      for (const solution of await solved(rows, [{ sides }], [1e-7, 1e-3, 1, 1e4], objective)) {
        const { cost, weights, bias, scores } = solution;
        expectOptimum({ rows, sides, objective, cost }, solution);
        scores.forEach((score, i) => {
          const own = features.slice(i * 12, (i + 1) * 12);
          const exact = own.reduce((sum, feature, j) => sum + feature * weights[j]!, bias);
          expect(Math.abs(score - exact)).toBeLessThan(1e-5 * Math.hypot(...own, 1) * Math.hypot(...weights, bias));
        });
      }
    },
  );

  test("rows of zeros, equal rows, constant features, one row a side", async () => {
    const once = madeRows(2, 40, 6, (row) => (row < 4 ? 0 : 1)).blocks.flatMap((block) => [...block]);
    const features = Float32Array.from([...once, ...once], (value, i) => (i % 6 === 5 ? 1 : value));
    const rows: SvmRows = { count: 80, width: 6, blocks: [features] };
    const pair: SvmProblem = { sides: new Int8Array(80) };
    pair.sides[5] = 1;
    pair.sides[70] = -1;
    const single: SvmProblem = { sides: new Int8Array(80).fill(-1) };
    single.sides[11] = 1;
    const problems = [pair, single, madeProblem(2, 80)];
    for (const loss of ["squared_hinge", "logistic"] as const) {
      const objective: SvmObjective = { loss, positiveWeight: 2 };
      for (const solution of await solved(rows, problems, [0.1, 10], objective)) {
        expectOptimum({ rows, ...problems[solution.problem]!, objective, cost: solution.cost }, solution);
      }
    }
  });

  test("solutions of random problems are optima", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2, max: 40 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: -3, max: 3 }),
        fc.integer(),
        async (count, width, power, seed) => {
          const rows = madeRows(seed, count, width, () => 1);
          const { sides } = madeProblem(seed, count);
          const cost = 10 ** power;
          const [solution] = await solved(rows, [{ sides }], [cost]);
          expectOptimum({ rows, sides, objective: squaredHinge, cost }, solution!);
        },
      ),
      { numRuns: device === "native" ? 12 : 4 },
    );
  });

  test("over active rows, by costs that jump far or hardly, the optima are those over all rows", async () => {
    // More features than the preconditioner has directions, and rows that repeat others.
    const once = madeRows(7, 180, 150, () => 0.3).blocks.flatMap((block) => [...block]);
    const blocks = [Float32Array.from([...once, ...once.slice(0, 20 * 150)])];
    const rows: SvmRows = { count: 200, width: 150, blocks };
    const problems = [madeProblem(7, 200), madeProblem(8, 200, 0.1, 0.3)];
    const pay = jest.spyOn(Column.prototype, "activeRowsPay");
    const divide = jest.spyOn(ActiveRows.prototype, "divide");
    const costs = [1e-7, 0.1, 1, 1.5, 30];
    pay.mockReturnValue(false);
    const overAll = await solved(rows, problems, costs);
    expect(divide).not.toHaveBeenCalled();
    pay.mockReturnValue(true);
    // The highest cost, all at once, is more than the preconditioner can do.
    const overActive = [...(await solved(rows, problems, costs)), ...(await solved(rows, problems, [1e4]))];
    expect(divide).toHaveBeenCalled();
    for (const [i, { problem, cost, converged, objective, weights, bias }] of overActive.entries()) {
      expect(converged).toBe(true);
      if (i < overAll.length) expect(Math.abs(objective / overAll[i]!.objective - 1)).toBeLessThan(2e-6);
      const value = valueAt({ rows, ...problems[problem]!, objective: squaredHinge, cost }, weights, bias);
      expect(Math.abs(objective / value - 1)).toBeLessThan(2e-6);
    }
    pay.mockRestore();
    divide.mockRestore();
  });

  test("what is judged later and is not good enough is taken up again, to the same optimum", async () => {
    // Rows of a width that has zeros behind it in memory, and more of them not active than are scored one by one.
    const rows = madeRows(9, 520, 512, () => 0.1);
    const problems = [madeProblem(9, 520, 0.1), madeProblem(10, 520, 0.1, 0.2)];
    const costs = [0.01, 1, 100];
    const pay = jest.spyOn(Column.prototype, "activeRowsPay").mockImplementation(function (this: Column) {
      // What conjugate gradients reach at the first cost has coefficients on all rows.
      return this.cost > 0;
    });
    const outside = jest.spyOn(ActiveRows.prototype, "outside");
    const undisturbed = await solved(rows, problems, costs);
    expect(outside.mock.results.some(({ value }) => value !== undefined)).toBe(true);
    const again = jest.spyOn(Column.prototype, "beginAgain");
    const judgement = Reflect.get(Column.prototype, "judgement") as (this: Column, options: unknown) => Judgement;
    const doubted = new Set<number>();
    const doubting = jest.spyOn(Column.prototype, "judgement").mockImplementation(function (this: Column, options) {
      const own = judgement.call(this, options);
      const first = this.index === 0 && !doubted.has(options.candidate.cost);
      doubted.add(options.candidate.cost);
      return first ? { ...own, converged: false } : own;
    });
    const found = await solved(rows, problems, costs);
    for (const spy of [pay, outside, doubting]) spy.mockRestore();
    expect(again).toHaveBeenCalled();
    again.mockRestore();
    for (const solutions of [undisturbed, found]) {
      expect(solutions.map(({ problem, cost }) => [problem, cost])).toEqual(
        [0, 1].flatMap((problem) => costs.map((cost) => [problem, cost])),
      );
      for (const [i, { converged, gap, objective }] of solutions.entries()) {
        expect(converged && gap <= 1e-6).toBe(true);
        expect(Math.abs(objective / undisturbed[i]!.objective - 1)).toBeLessThan(2e-6);
      }
      const { cost, objective, weights, bias } = solutions[2]!;
      const value = valueAt({ rows, ...problems[0]!, objective: squaredHinge, cost }, weights, bias);
      expect(Math.abs(objective / value - 1)).toBeLessThan(2e-6);
    }
  });

  test("many problems at once are each as alone, and the same in every run", async () => {
    const rows = madeRows(3, 50, 30, () => 1);
    const problems = [0, 1, 2].map((seed) => madeProblem(seed, 50, 0.4, 0.3));
    const costs = [0.01, 1, 100];
    const together = await solved(rows, problems, costs);
    expect(await solved(rows, problems, costs)).toEqual(together);
    for (const [i, problem] of problems.entries()) {
      for (const [j, alone] of (await solved(rows, [problem], costs)).entries()) {
        expect(together[3 * i + j]!.objective / alone.objective).toBeCloseTo(1, 5);
      }
    }
  });

  test("through the Gram matrix the optimum is the same", async () => {
    const rows = madeRows(4, 20, 400, () => 0.1);
    const problem = madeProblem(4, 20);
    const [few] = await solved(rows, [problem], [1]);
    // For so many problems the matrix pays.
    const many = await solved(rows, Array<SvmProblem>(60).fill(problem), [1]);
    for (const solution of many) {
      expect(solution.converged).toBe(true);
      expect(solution.objective / few!.objective).toBeCloseTo(1, 5);
    }
  });

  test("stops between steps, tells how far it is, and leaves no tensors", async () => {
    const before = tf.memory().numTensors;
    const rows = madeRows(5, 30, 10, () => 1);
    const problems = [madeProblem(5, 30), madeProblem(6, 30)];
    const solver = await openSvmSolver({ rows, objective: squaredHinge });
    const solve = (signal: AbortSignal, told: number[]) =>
      solver.solve({ problems, costs: [1, 2], signal, onSolution: () => {}, onProgress: (n) => told.push(n) });
    const told: number[] = [];
    await solve(new AbortController().signal, told);
    expect(told).toEqual([1, 2, 3, 4]);
    const kept = tf.memory().numTensors;
    await expect(solve(AbortSignal.abort(new Error("enough")), [])).rejects.toThrow("enough");
    expect(tf.memory().numTensors).toBe(kept);
    solver.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("says which row is not finite", async () => {
    const rows: SvmRows = { count: 2, width: 2, blocks: [Float32Array.of(1, 2, NaN, 0)] };
    await expect(openSvmSolver({ rows, objective: squaredHinge })).rejects.toThrow(
      'Expected finite features of sensible size for row 2 but received "a length of NaN"',
    );
  });
});
