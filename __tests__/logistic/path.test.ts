import * as tf from "@tensorflow/tfjs";

import { UserError } from "../../lib/errors.js";
import { memoryRows } from "../../lib/logistic/memory-rows.js";
import { type LogisticPathOptions, openLogisticPath } from "../../lib/logistic/path.js";
import type { LogisticSolution } from "../../lib/logistic/problem.js";
import { LinearSvm } from "../../lib/svm/linear-svm.js";
import { describeOnBackends } from "../backends.js";
import { golden } from "../golden.js";
import { classes, digits, width } from "./digits.js";

interface Case {
  rows: string;
  penalty: number;
  bias: "free" | "regularised";
  objective: number;
  norm: number;
  /** Of six rows, less their mean. */
  scores: number[][];
  accuracy: number;
}

const { cases } = golden<{ cases: Case[] }>("logistic/digits.json");
const { features, labels } = digits();
const part = (takesPart: (row: number) => boolean) => Uint8Array.from(labels, (_, row) => (takesPart(row) ? 1 : 0));
const parts = {
  all: part(() => true),
  "without every third": part((i) => i % 3 > 0),
  "first half": part((i) => i < 449),
};
const penalties = [1e-2, 1e-3];

/** All problems along the path of penalties: `[penalty][problem]`. */
async function solved(options: Partial<LogisticPathOptions> = {}, path = penalties): Promise<LogisticSolution[][]> {
  const rows = memoryRows({ features, width });
  const opened = await openLogisticPath({ rows, labels, classes, tolerance: 1e-6, ...options });
  try {
    const found: LogisticSolution[][] = [];
    for (const penalty of path) found.push(await opened.solve(penalty));
    return found;
  } finally {
    opened.dispose();
    rows.dispose();
  }
}

async function scoresOf(solution: LogisticSolution, rows: Float32Array): Promise<number[][]> {
  const scores = await new LinearSvm(solution).decisionFunction({ rows });
  return Array.from({ length: rows.length / width }, (_, row) => {
    const own = [...scores.subarray(row * classes, (row + 1) * classes)];
    const mean = own.reduce((a, b) => a + b) / classes;
    return own.map((score) => score - mean);
  });
}

function expectAbout(found: number[][], wanted: number[][], difference: number): void {
  found.forEach((row, i) =>
    row.forEach((value, j) => expect(Math.abs(value - wanted[i]![j]!)).toBeLessThan(difference)),
  );
}

describeOnBackends("softmax regression", () => {
  test.each(["free", "regularised"] as const)("finds scikit-learn's optima, bias %s", async (bias) => {
    const before = tf.memory().numTensors;
    const names = bias === "free" ? (Object.keys(parts) as (keyof typeof parts)[]) : (["all"] as const);
    const found = await solved({ parts: names.map((name) => parts[name]), regularizeBias: bias === "regularised" });
    for (const [p, penalty] of penalties.entries()) {
      for (const [k, name] of names.entries()) {
        const own = found[p]![k]!;
        const wanted = cases.find((one) => one.rows === name && one.penalty === penalty && one.bias === bias)!;
        expect(own).toMatchObject({ problem: k, penalty, converged: true });
        expect(own.objective / wanted.objective - 1).toBeGreaterThan(-1e-5);
        expect(own.objective / wanted.objective - 1).toBeLessThan(3e-5);
        if (bias === "free") {
          const norm = Math.hypot(...own.weights);
          expect(Math.abs(norm / wanted.norm - 1)).toBeLessThan(0.01);
        }
        expectAbout(await scoresOf(own, features.subarray(0, 6 * width)), wanted.scores, 0.2);
      }
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  // What follows needs no more than these rows.
  const few = 300;
  const some = { features: features.slice(0, few * width), labels: labels.slice(0, few) };
  const fewRows = async (
    options: Partial<LogisticPathOptions> = {},
    path = [1e-2, 1e-3],
    { features, labels } = some,
  ) => {
    const rows = memoryRows({ features, width });
    return solved({ rows, labels, tolerance: 1e-5, ...options }, path).finally(() => rows.dispose());
  };
  const expectSame = (a: LogisticSolution, b: LogisticSolution) => {
    expect([a.converged, b.converged]).toEqual([true, true]);
    expect(Math.abs(a.objective / b.objective - 1)).toBeLessThan(3e-4);
  };

  test("problems side by side come out as each alone", async () => {
    const third = Uint8Array.from({ length: few }, (_, row) => (row % 3 === 0 ? 1 : 0));
    const together = await fewRows({ parts: [third, undefined] });
    const alone = [await fewRows({ parts: [third] }), await fewRows()];
    together.forEach((ofPenalty, p) => ofPenalty.forEach((own, k) => expectSame(own, alone[k]![p]![0]!)));
  });

  test("a path ends where a start from 0 does, in fewer passes", async () => {
    const [[cold]] = (await fewRows({}, [1e-3])) as [[LogisticSolution]];
    const [, [warm]] = (await fewRows({}, [2e-3, 1e-3])) as [unknown, [LogisticSolution]];
    expectSame(warm, cold);
    expect(warm.evaluations).toBeLessThan(cold.evaluations);
  });

  test("every row twice is the same problem", async () => {
    const twice = { features: Float32Array.of(...some.features, ...some.features), labels: Int32Array.of(...some.labels, ...some.labels) }; // prettier-ignore
    const [[once]] = (await fewRows({}, [1e-2])) as [[LogisticSolution]];
    const [[again]] = (await fewRows({}, [1e-2], twice)) as [[LogisticSolution]];
    expectSame(again, once);
  });

  test("gives the same bits again", async () => {
    const [first, second] = [await fewRows({}, [1e-2]), await fewRows({}, [1e-2])];
    expect(second).toEqual(first);
  });

  test("a problem that is moved to where another has come goes on from there", async () => {
    const rows = memoryRows({ ...some, width });
    const third = Uint8Array.from({ length: few }, (_, row) => (row % 3 > 0 ? 1 : 0));
    const path = await openLogisticPath({ ...some, rows, classes, parts: [third, undefined, undefined] });
    const [fold] = await path.solve(1e-3, [0]);
    path.move(1, fold!);
    const [moved, cold] = await path.solve(1e-3, [1, 2]);
    path.dispose();
    rows.dispose();
    expect(moved!.evaluations).toBeLessThan(cold!.evaluations);
    expect(Math.abs(moved!.objective / cold!.objective - 1)).toBeLessThan(2e-3);
  });

  test("a class that a fold lacks is told to be unlikely there", async () => {
    const lacking = Uint8Array.from(some.labels, (label) => (label === 3 ? 0 : 1));
    const [[own]] = (await fewRows({ parts: [lacking], tolerance: 1e-4 }, [1e-3])) as [[LogisticSolution]];
    expect(own.converged).toBe(true);
    const scores = await scoresOf(own, some.features);
    const best = scores.map((ofRow) => ofRow.indexOf(Math.max(...ofRow)));
    expect(best).not.toContain(3);
    expect(best.filter((c, row) => c === some.labels[row]).length / few).toBeGreaterThan(0.85);
  });

  test("features of great size far from 0, and a constant one, are no obstacle", async () => {
    const scaled = some.features.map((value, i) => (i % width === 0 ? 7 : 1000 * value + 500));
    // A thousandth of the weights, which cost a millionth: as if at the penalty of 1e-3.
    const [[own]] = (await fewRows({ tolerance: 1e-6 }, [1e3], { ...some, features: scaled })) as [[LogisticSolution]];
    const [[wanted]] = (await fewRows({ tolerance: 1e-6 }, [1e-3])) as [[LogisticSolution]];
    expect(Math.abs(own.objective / wanted.objective - 1)).toBeLessThan(1e-3);
  });
});

describeOnBackends("what softmax regression cannot use", () => {
  test.each<[string, Partial<LogisticPathOptions>, string]>([
    ["one class", { classes: 1 }, "Expected at least two for the classes but received 1"],
    ["too few labels", { labels: [0, 1] }, "Expected 898 labels, one a row for the labels but received 2"],
    ["an unknown class", { classes: 9 }, "Expected a class in 0 … 8, or -1 for the label of row"],
    ["a short part", { parts: [new Uint8Array(3)] }, "Expected 898 numbers, one a row for problem 1 but received 3"],
    [
      "an empty part",
      { parts: [undefined, part(() => false)] },
      "Expected at least one row with a class for problem 2",
    ],
    ["no tolerance", { tolerance: 0 }, "Expected a number above 0 for the tolerance but received 0"],
  ])("%s", async (_, options, message) => {
    const failed = solved(options);
    await expect(failed).rejects.toThrow(UserError);
    await expect(failed).rejects.toThrow(message);
  });

  test("features that are not numbers, or a penalty of 0", async () => {
    const before = tf.memory().numTensors;
    const rows = memoryRows({ features: features.map((value, i) => (i === 70 ? NaN : value)), width });
    await expect(solved({ rows })).rejects.toThrow("Expected finite features of sensible size");
    rows.dispose();
    await expect(solved({}, [0])).rejects.toThrow("Expected a number above 0 for a penalty but received 0");
    expect(() => memoryRows({ features, width: 63 })).toThrow("Expected a multiple of 63 (features of a row)");
    expect(tf.memory().numTensors).toBe(before);
  });
});
