import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

import type { SvmProblem, SvmRows, SvmSolution, SvmSolver } from "../../lib/svm/problem.js";
import { goldenPath } from "../golden.js";

export interface Labelled {
  rows: SvmRows;
  sides: Int8Array;
}

/** LIBLINEAR's example (270 × 13), and digits of scikit-learn (898 × 64) against the rest. */
export function labelled(name: string): Labelled {
  return name === "heart_scale" ? heartScale() : digits(Number(name.split(" ")[1]));
}

function heartScale(): Labelled {
  const lines = readFileSync(goldenPath("svm/heart_scale"), "utf8").trim().split("\n");
  const features = new Float32Array(lines.length * 13);
  const sides = Int8Array.from(lines, (line, row) => {
    const [side, ...values] = line.trim().split(/\s+/);
    for (const value of values) {
      const [index, number] = value.split(":").map(Number);
      features[row * 13 + index! - 1] = number!;
    }
    return Number(side);
  });
  return { rows: { count: lines.length, width: 13, blocks: [features] }, sides };
}

function digits(digit: number): Labelled {
  const bytes = gunzipSync(readFileSync(goldenPath("training/digits.bin.gz")));
  const count = 898;
  const features = Float32Array.from({ length: count * 64 }, (_, i) => bytes[Math.floor(i / 64) * 65 + (i % 64)]! / 16);
  const sides = Int8Array.from({ length: count }, (_, row) => (bytes[row * 65 + 64] === digit ? 1 : -1));
  return { rows: { count, width: 64, blocks: [features] }, sides };
}

export async function solutions(solver: SvmSolver, problems: SvmProblem[], costs: number[]): Promise<SvmSolution[]> {
  const found: SvmSolution[] = [];
  await solver.solve({ problems, costs, onSolution: (solution) => found.push(solution) });
  return found.sort((a, b) => a.problem - b.problem || a.cost - b.cost);
}
