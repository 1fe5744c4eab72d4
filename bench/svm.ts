/**
 * All SVMs of VOC07's protocol on made features (see relu-features.ts), beside scikit-learn's LinearSVC as VISSL calls
 * it:
 *
 *     node dist/bench/svm.js [--width 2048] [--classes 20] [--costs 0.01,0.1,...] [--device native] [--python python3]
 *                            [--sample 2 | --all]
 *
 * Ours solves every class × cost × (3 folds + all rows). The peer solves `--sample` of the problems at each cost, drawn
 * at random, and is scaled to all of them; `--all` has it solve them all. Times are those of the processor, which other
 * work on the machine disturbs least: LinearSVC has one thread, and all cores would be kept busy by as many of them.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { prepareBackend } from "../lib/backend/backend.js";
import { bytes } from "../lib/progress.js";
import { openSolvers } from "../lib/protocols/svm/solvers.js";
import { problemsAtOnce } from "../lib/protocols/svm/unit.js";
import { random } from "../lib/random.js";
import type { SvmProblem, SvmSolution } from "../lib/svm/problem.js";
import { forgetPeak, peakOf, processesOf, processorSeconds } from "./memory.js";
import { openPeer } from "./peer.js";
import { reluFeatures } from "./relu-features.js";

const count = 5011;
const folds = 3;
const visslCosts = "0.01,0.1,1,2,5,10,15,20,50,100,1000";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      width: { type: "string", default: "2048" },
      classes: { type: "string", default: "20" },
      costs: { type: "string", default: visslCosts },
      device: { type: "string", default: "native" },
      python: { type: "string", default: "python3" },
      sample: { type: "string", default: "2" },
      all: { type: "boolean", default: false },
    },
  });
  const width = Number(values.width);
  const classes = Number(values.classes);
  const costs = values.costs.split(",").map(Number);
  await prepareBackend({ device: values.device as "native" | "wasm" });
  const made = await reluFeatures({ count, width, classes });
  const asked = Array.from({ length: classes * (folds + 1) }, (_, i) => ({
    class: Math.floor(i / (folds + 1)),
    fold: i % (folds + 1) === folds ? null : i % (folds + 1),
  }));
  const problems: SvmProblem[] = asked.map(({ class: c, fold }) => ({
    sides: Int8Array.from({ length: count }, (_, row) => (row % folds === fold ? 0 : made.targets[row * classes + c]!)),
  }));
  console.log(
    `${count} × ${width}, ${problems.length} problems × ${costs.length} costs; load ${os.loadavg()[0]!.toFixed(1)}`,
  );

  forgetPeak();
  const began = performance.now();
  const before = processorSeconds();
  const found = new Map<string, SvmSolution>();
  const units = Array.from({ length: Math.ceil(problems.length / problemsAtOnce) }, (_, i) => i * problemsAtOnce);
  const solvers = await openSolvers({
    rows: { count, width, blocks: [made.features] },
    objective: { loss: "squared_hinge", positiveWeight: 2 },
    units: units.length,
    left: units.length,
    problems: problems.length * costs.length,
  });
  const children = processesOf("solver-process.js");
  const left = [...units];
  await Promise.all(
    solvers.map(async (solver) => {
      for (let begin = left.shift(); begin !== undefined; begin = left.shift()) {
        const first = begin;
        await solver.solve({
          problems: problems.slice(first, first + problemsAtOnce),
          costs,
          onSolution: (solution) => void found.set(`${first + solution.problem} ${solution.cost}`, solution),
        });
      }
    }),
  );
  const wall = (performance.now() - began) / 1000;
  const cpu = processorSeconds() - before;
  const peak = children.reduce((sum, pid) => sum + peakOf(pid), peakOf());
  solvers.forEach((solver) => solver.dispose());
  const all = [...found.values()];
  console.log(
    `ours: ${cpu.toFixed(1)} s of processor time, ${wall.toFixed(1)} s in ${solvers.length} processes; ` +
      `peak memory ${bytes(peak)}, this one's with it; ` +
      `${all.filter(({ converged }) => converged).length} of ${all.length} converged, ` +
      `largest gap ${Math.max(...all.map(({ gap }) => gap)).toExponential(1)}`,
  );

  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "svm-"));
  try {
    const files = [path.join(folder, "features.f32"), path.join(folder, "targets.i8")];
    fs.writeFileSync(files[0]!, made.features);
    fs.writeFileSync(files[1]!, made.targets);
    const sizes = [count, width, classes].map(String);
    const peer = openPeer({ python: values.python, script: "svm.py", args: [...files, ...sizes] });
    console.log(await peer.next());
    const stream = random(0, "sample of problems");
    let whole = 0;
    for (const cost of costs) {
      const order = [...stream.permutation(problems.length)];
      const sample = values.all ? order : order.slice(0, Number(values.sample));
      let seconds = 0;
      const excess: number[] = [];
      for (const problem of sample) {
        const question = { ...asked[problem]!, cost, tolerance: 1e-4, maxIterations: 2000 };
        const answer = JSON.parse(await peer.ask(JSON.stringify(question))) as { cpu: number; objective: number };
        seconds += answer.cpu;
        excess.push(answer.objective / found.get(`${problem} ${cost}`)!.objective - 1);
      }
      whole += (seconds / sample.length) * problems.length;
      console.log(
        `cost ${cost}: LinearSVC ${(seconds / sample.length).toFixed(2)} s a problem (${sample.length} measured), ` +
          `its objective above ours by ${excess.map((e) => e.toExponential(1)).join(", ")} of it`,
      );
    }
    peer.end();
    console.log(`LinearSVC, all ${problems.length * costs.length}: ${whole.toFixed(0)} s of processor time`);
    console.log(`ratio of processor times: ${(whole / cpu).toFixed(1)}`);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

void main();
