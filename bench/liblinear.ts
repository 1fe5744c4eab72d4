/**
 * One SVM of VOC07's size on made features (see relu-features.ts), beside LIBLINEAR's own program at equal accuracy:
 *
 *     node dist/bench/liblinear.js [--width 2048] [--class 6] [--costs 0.01,1,100] [--program liblinear-train]
 *                                  [--python python3]
 *
 * LIBLINEAR solves by its dual (-s 1) and its primal solver (-s 2), to one tolerance after the other, until its objective
 * is within a millionth of ours. Times are those of the processor, without the reading of its text and the start of
 * ours.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { prepareBackend } from "../lib/backend/backend.js";
import type { SvmSolution } from "../lib/svm/problem.js";
import { openSvmSolver } from "../lib/svm/solver.js";
import { processorSeconds } from "./memory.js";
import { openPeer } from "./peer.js";
import { reluFeatures } from "./relu-features.js";

const count = 5011;
const classes = 20;
const accuracy = 1e-6;
const leastTolerance = 1e-8;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      width: { type: "string", default: "2048" },
      class: { type: "string", default: "6" },
      costs: { type: "string", default: "0.01,1,100" },
      program: { type: "string", default: "liblinear-train" },
      python: { type: "string", default: "python3" },
    },
  });
  const width = Number(values.width);
  await prepareBackend({ device: "native" });
  const { features, targets: all } = await reluFeatures({ count, width, classes });
  const targets = all.filter((_, i) => i % classes === Number(values.class));
  const positives = targets.reduce((sum, side) => sum + (side > 0 ? 1 : 0), 0);
  console.log(`${count} × ${width}, one problem with ${positives} positives; load ${os.loadavg()[0]!.toFixed(1)}`);

  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "liblinear-"));
  try {
    const files = [path.join(folder, "features.f32"), path.join(folder, "targets.i8")] as const;
    fs.writeFileSync(files[0], features);
    fs.writeFileSync(files[1], targets);
    const args = [...files, String(count), String(width), values.program];
    const peer = openPeer({ python: values.python, script: "liblinear.py", args });
    console.log(`LIBLINEAR reads ${await peer.next()}`);
    const ask = async (question: object) => {
      return JSON.parse(await peer.ask(JSON.stringify(question))) as { cpu: number; objective: number };
    };
    for (const cost of values.costs.split(",").map(Number)) {
      const began = processorSeconds();
      const ours = await solve({ features, targets, width, cost });
      const cpu = processorSeconds() - began;
      console.log(`cost ${cost}: ours ${cpu.toFixed(2)} s, gap ${ours.gap.toExponential(1)}`);
      for (const solver of [1, 2]) {
        const reading = await ask({ solver, cost, tolerance: 1e30 });
        for (let tolerance = 0.1; tolerance >= leastTolerance; tolerance /= 10) {
          const found = await ask({ solver, cost, tolerance });
          const excess = found.objective / ours.objective - 1;
          const seconds = found.cpu - reading.cpu;
          console.log(
            `  -s ${solver} -e ${tolerance.toExponential(0)}: ${seconds.toFixed(2)} s (and ${reading.cpu.toFixed(1)} s of reading), ` +
              `objective above ours by ${excess.toExponential(1)} of it, ${(seconds / cpu).toFixed(1)} times as long`,
          );
          if (excess <= accuracy) break;
        }
      }
    }
    peer.end();
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

async function solve(options: {
  features: Float32Array;
  targets: Int8Array;
  width: number;
  cost: number;
}): Promise<SvmSolution> {
  const { features, targets, width, cost } = options;
  const found: SvmSolution[] = [];
  const solver = await openSvmSolver({
    rows: { count, width, blocks: [features] },
    objective: { loss: "squared_hinge", positiveWeight: 2 },
  });
  const onSolution = (solution: SvmSolution) => void found.push(solution);
  await solver.solve({ problems: [{ sides: targets }], costs: [cost], onSolution });
  solver.dispose();
  return found[0]!;
}

void main();
