import { openProcessSolver } from "../../lib/protocols/svm/process-solver.js";
import { random } from "../../lib/random.js";
import type { SvmObjective, SvmProblem, SvmRows } from "../../lib/svm/problem.js";
import { openSvmSolver } from "../../lib/svm/solver.js";
import { prepareBackend } from "../../lib/backend/backend.js";
import { noNative } from "../backends.js";
import { solutions } from "../svm/rows.js";

const device = noNative ? "wasm" : "native";
const objective: SvmObjective = { loss: "squared_hinge", positiveWeight: 2 };
const stream = random(0, "rows of another process");
const rows: SvmRows = { count: 40, width: 6, blocks: [Float32Array.from({ length: 240 }, () => stream.normal())] };
const problems: SvmProblem[] = [2, 3].map((every) => ({
  sides: Int8Array.from({ length: 40 }, (_, row) => (row % every === 0 ? 1 : -1)),
}));

describe("a solver in another process", () => {
  beforeAll(() => prepareBackend({ device }));

  test("solves as one here does, tells how far it is, stops, and passes errors on", async () => {
    const [here, there] = [
      await openSvmSolver({ rows, objective }),
      await openProcessSolver({ rows, objective, device, threads: 1 }),
    ];
    try {
      const expected = await solutions(here, problems, [0.1, 10]);
      const found = await solutions(there, problems, [0.1, 10]);
      for (const [i, { scores, weights, objective: value, ...told }] of found.entries()) {
        expect(told).toMatchObject({ problem: expected[i]!.problem, cost: expected[i]!.cost, converged: true });
        expect(value / expected[i]!.objective).toBeCloseTo(1, 5);
        expect(scores).toHaveLength(40);
        expect(weights).toHaveLength(6);
      }

      const told: number[] = [];
      const solve = (signal?: AbortSignal, onSolution = () => {}) =>
        there.solve({ problems, costs: [1], signal, onSolution, onProgress: (solved) => told.push(solved) });
      await solve();
      expect(told).toEqual([1, 2]);
      await expect(solve(AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
      const full = () => {
        throw new Error("the disk is full");
      };
      await expect(solve(undefined, full)).rejects.toThrow("the disk is full");
      await solve();
    } finally {
      here.dispose();
      there.dispose();
    }
    const wrong = { ...rows, blocks: [rows.blocks[0]!.map((value, i) => (i === 7 ? NaN : value))] };
    await expect(openProcessSolver({ rows: wrong, objective, device, threads: 1 })).rejects.toThrow(
      "Expected finite features of sensible size for row 2",
    );
  });
});
