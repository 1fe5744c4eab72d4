import * as tf from "@tensorflow/tfjs";

import { UserError } from "../../lib/errors.js";
import type { MinimiseOptions, MinimiserState, Problem } from "../../lib/optim/lbfgs.js";
import { minimise } from "../../lib/optim/lbfgs.js";
import { describeOnBackends } from "../backends.js";
import { golden } from "../golden.js";

/** Made by bench/peers/golden_optim.py with torch.optim.LBFGS, in double precision. */
const reference = golden<{
  points: number[];
  signs: number[];
  penalties: number[];
  starts: number[][];
  runs: (Pick<MinimiseOptions, "lineSearch" | "history" | "maxIterations" | "lr"> & {
    problem: "logistic" | "rosenbrock";
    results: { x: number[]; loss: number; iterations: number; evaluations: number }[];
  })[];
}>("optim/lbfgs.json");

type Functions = Pick<MinimiseOptions, "start" | "evaluate">;

async function answer(loss: tf.Tensor, gradient: tf.Tensor2D) {
  const values = await loss.data();
  loss.dispose();
  return { loss: values, gradient };
}

/** Logistic regression along a path of penalties. */
function logistic(penalties = reference.penalties): Functions {
  const count = reference.signs.length;
  const evaluate: MinimiseOptions["evaluate"] = (x) => {
    const answers = tf.tidy(() => {
      const points = tf.tensor2d(reference.points, [count, 5]);
      const signs = tf.tensor2d(reference.signs, [1, count]);
      const penalty = tf.tensor2d(penalties, [penalties.length, 1]);
      const margin = tf.mul(tf.matMul(x, tf.transpose(points)), signs);
      const decayed = tf.mul(penalty, x);
      const squares = tf.mul(tf.sum(tf.mul(decayed, x), 1), 0.5);
      const error = tf.mul<tf.Tensor2D>(tf.mul(tf.sigmoid(tf.neg(margin)), signs), -1 / count);
      return [
        tf.add(tf.mean(tf.softplus(tf.neg(margin)), 1), squares),
        tf.add<tf.Tensor2D>(tf.matMul(error, points), decayed),
      ] as [tf.Tensor, tf.Tensor2D];
    });
    return answer(...answers);
  };
  return { start: tf.zeros([penalties.length, 5]), evaluate };
}

function rosenbrock(starts = reference.starts): Functions {
  const evaluate: MinimiseOptions["evaluate"] = (x) => {
    const answers = tf.tidy(() => {
      const [a, b] = tf.split(x, 2, 1) as [tf.Tensor2D, tf.Tensor2D];
      const valley = tf.sub(b, tf.square(a));
      const rest = tf.sub(1, a);
      const alongA = tf.sub(tf.mul(tf.mul(a, valley), -400), tf.mul(rest, 2));
      return [
        tf.add(tf.square(rest), tf.mul(tf.square(valley), 100)).flatten(),
        tf.concat2d([alongA as tf.Tensor2D, tf.mul<tf.Tensor2D>(valley, 200)], 1),
      ] as [tf.Tensor, tf.Tensor2D];
    });
    return answer(...answers);
  };
  return { start: tf.tensor2d(starts), evaluate };
}

async function solve(functions: Functions, options: Omit<MinimiseOptions, keyof Functions>) {
  const { x, problems } = await minimise({ ...functions, ...options });
  const rows = await x.array();
  tf.dispose([x, functions.start]);
  return { rows, problems };
}

const wolfe = { lineSearch: "strong_wolfe", history: 10, maxIterations: 60 } as const;

describeOnBackends("L-BFGS", () => {
  test.each(reference.runs)(
    "equals PyTorch's: $problem, $lineSearch, history $history, $maxIterations iterations, lr $lr",
    async ({ problem, results, ...options }) => {
      const { rows, problems } = await solve(problem === "logistic" ? logistic() : rosenbrock(), options);
      results.forEach((expected, k) => {
        const own = problems[k]!;
        // In single precision the last digits move, and where the valley is flat, with them the point.
        expect(Math.abs(own.loss - expected.loss)).toBeLessThan(1e-6 + 1e-3 * expected.loss);
        const far = Math.max(...expected.x.map((value, i) => Math.abs(rows[k]![i]! - value)));
        expect(far).toBeLessThan(2e-3);
        if (options.maxIterations > 10) {
          expect(own.converged).toBe(true);
          expect(own.gradientNorm).toBeLessThan(1e-3);
          return;
        }
        expect([own.iterations, Math.abs(own.evaluations - expected.evaluations)]).toEqual([
          expected.iterations,
          options.lineSearch === "none" && own.iterations === options.maxIterations ? 1 : 0,
        ]);
      });
    },
  );

  test.each([
    ["logistic regression", (k?: number) => logistic(k === undefined ? undefined : [reference.penalties[k]!])],
    ["Rosenbrock's valley", (k?: number) => rosenbrock(k === undefined ? undefined : [reference.starts[k]!])],
  ])("problems at once are solved as each alone: %s", async (_, make) => {
    const options = { ...wolfe, history: 3 };
    const together = await solve(make(), options);
    for (let k = 0; k < 4; k++) {
      const alone = await solve(make(k), options);
      together.rows[k]!.forEach((value, i) => expect(value).toBeCloseTo(alone.rows[0]![i]!, 3));
      const { iterations, evaluations } = together.problems[k]!;
      expect(Math.abs(iterations - alone.problems[0]!.iterations)).toBeLessThanOrEqual(2);
      expect(evaluations).toBeGreaterThanOrEqual(iterations);
    }
  });

  test("a problem that overflows stops, and changes no bit of the others", async () => {
    const one: [number, number] = [-1.2, 1];
    const calm = await solve(rosenbrock([one, [0.5, -0.5], one]), wolfe);
    const wild = await solve(rosenbrock([one, [1e30, 1], one]), wolfe);
    expect(wild.problems[1]).toMatchObject({ stopped: "not finite", converged: false });
    expect([wild.rows[0], wild.rows[2]]).toEqual([calm.rows[0], calm.rows[2]]);
    expect([wild.problems[0], wild.problems[2]]).toEqual([calm.problems[0], calm.problems[2]]);
  });

  test("a problem that has ended is not asked any more", async () => {
    const { start, evaluate } = rosenbrock([[1, 1], [-1.2, 1]]); // prettier-ignore
    const asked: boolean[][] = [];
    const counting: MinimiseOptions["evaluate"] = (x, active) => {
      asked.push([...active]);
      return evaluate(x, active);
    };
    const { problems } = await solve({ start, evaluate: counting }, wolfe);
    expect(problems[0]).toMatchObject({ stopped: "gradient", iterations: 0, evaluations: 1, loss: 0 });
    expect(asked.slice(1).every(([first]) => !first)).toBe(true);
    expect(asked.filter(([, second]) => second).length).toBe(problems[1]!.evaluations);
  });

  test("a run taken up after any iteration ends in the same bits", async () => {
    const options = { ...wolfe, history: 3 };
    const states: MinimiserState[] = [];
    const whole = await solve(rosenbrock(), {
      ...options,
      onIteration: async ({ state }) => void states.push(await state()),
    });
    for (const state of [states[0]!, states[7]!, states.at(-1)!]) {
      const saved = JSON.parse(JSON.stringify({ ...state, arrays: undefined })) as MinimiserState;
      expect(await solve(rosenbrock(), { ...options, from: { ...saved, arrays: state.arrays } })).toEqual(whole);
    }
  });

  test("limits hold, and are told", async () => {
    const { problems } = await solve(rosenbrock([[-1.2, 1]]), { ...wolfe, maxIterations: 50, maxEvaluations: 9 });
    expect(problems[0]).toMatchObject({ stopped: "evaluations", converged: false });
    expect(problems[0]!.evaluations).toBeLessThanOrEqual(9 + 1);
    const short = await solve(rosenbrock([[-1.2, 1]]), { ...wolfe, maxIterations: 5, maxEvaluations: 50 });
    expect(short.problems[0]).toMatchObject({ stopped: "iterations", iterations: 5 });
  });

  test("ends where a step promises little", async () => {
    const options = { ...logistic(), history: 5, lineSearch: "strong_wolfe", maxIterations: 100 } as const;
    const tight = await minimise(options);
    const early = await minimise({ ...options, toleranceDecrease: (loss) => loss / 1000 });
    early.problems.forEach((problem, k) => {
      expect(problem).toMatchObject({ stopped: "decrease", converged: true });
      expect(problem.decrease).toBeLessThanOrEqual(problem.loss / 1000);
      expect(problem.iterations).toBeLessThan(tight.problems[k]!.iterations);
      expect(problem.loss / tight.problems[k]!.loss - 1).toBeLessThan(1e-2);
    });
    tf.dispose([options.start, tight.x, early.x]);
  });

  test("begins with the step that is asked for: of a round function, into its middle", async () => {
    const evaluate: MinimiseOptions["evaluate"] = (x) =>
      answer(tf.tidy(() => tf.mul(tf.sum(tf.square(x), 1), 0.5)), x.clone()); // prettier-ignore
    const options = { start: tf.fill([1, 5], 100), evaluate, history: 5, lineSearch: "strong_wolfe", maxIterations: 20 } as const; // prettier-ignore
    const found = await minimise({ ...options, start: options.start as tf.Tensor2D, firstStep: 1 });
    expect(found.problems[0]).toMatchObject({ loss: 0, iterations: 1, evaluations: 2 });
    tf.dispose([options.start, found.x]);
  });

  test("no tensor is left, nor where the function fails", async () => {
    const before = tf.memory().numTensors;
    await solve(logistic(), { ...wolfe, history: 2 });
    expect(tf.memory().numTensors).toBe(before);
    const { start, evaluate } = logistic();
    for (const last of [0, 3]) {
      let calls = 0;
      const failing: MinimiseOptions["evaluate"] = (x, active) =>
        calls++ === last ? Promise.reject(new Error("stopped")) : evaluate(x, active);
      await expect(minimise({ start, evaluate: failing, ...wolfe })).rejects.toThrow("stopped");
    }
    start.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("numbers out of range and states of other problems are refused", async () => {
    const functions = rosenbrock();
    const refused = async (options: Partial<MinimiseOptions>, message: string) => {
      const error: unknown = await minimise({ ...functions, ...wolfe, ...options }).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(UserError);
      expect((error as UserError).message).toContain(message);
    };
    await refused({ history: 0 }, "Expected a whole number of at least 1 for history but received 0");
    await refused({ maxIterations: 1.5 }, "for maxIterations but received 1.5");
    await refused({ lr: 0 }, "Expected a number above 0 for lr");
    await refused({ toleranceChange: -1 }, "Expected a number of at least 0 for toleranceChange");
    const problem: Problem = { loss: 0, gradientNorm: 1, iterations: 1, evaluations: 1, converged: false, scale: 1 };
    const from: MinimiserState = { arrays: {}, problems: [problem], curvatures: [] };
    await refused({ from }, "Expected 4 problems for the saved minimiser but received 1");
    const four = { ...from, problems: [problem, problem, problem, problem] };
    await refused({ from: four }, "Expected an array of shape [4,2] for x of the saved minimiser but received nothing");
    await refused(
      { from: { ...four, curvatures: new Array<number[]>(11).fill([1, 1, 1, 1]) } },
      "at most 10 remembered",
    );
    functions.start.dispose();
  });
});
