import * as tf from "@tensorflow/tfjs";

import { createHeadBank } from "../../lib/heads/bank.js";
import { headProblems } from "../../lib/heads/full-batch.js";
import type { HeadWeights } from "../../lib/heads/head.js";
import { minimise } from "../../lib/optim/lbfgs.js";
import { fullBatchObjective } from "../../lib/training/full-batch-objective.js";
import { describeOnBackends } from "../backends.js";
import { headOn, jobOf, reference, smallPart, trialOf } from "./full-batch-data.js";

/** PyTorch's matrices are [out, in]. */
function transposed(matrix: number[][]): Float32Array {
  return Float32Array.from(matrix[0]!.flatMap((_, column) => matrix.map((row) => row[column]!)));
}

function startOf([first, firstBias, last, lastBias]: typeof reference.mlp.start): HeadWeights {
  return {
    weight: transposed(last),
    bias: Float32Array.from(lastBias),
    hidden: [{ weight: transposed(first), bias: Float32Array.from(firstBias) }],
  };
}

describeOnBackends("the full-batch objective", () => {
  test("an MLP goes torch.optim.LBFGS's way, iteration by iteration", async () => {
    const before = tf.memory().numTensors;
    const { start, runs } = reference.mlp;
    const part = await smallPart();
    const spec = headOn([5], { hidden: [{ width: 4, batchNorm: false, relu: true, dropout: 0 }] });
    const trials = runs.map(({ weightDecay, lr }) => trialOf(weightDecay, { lr }));
    const job = jobOf([{ spec, trials }], { seeds: [0, 1], regularised: { bias: true, norm: false } });
    const bank = createHeadBank({ ...job, initial: () => startOf(start) });
    const problems = headProblems(bank.parts[0]!.blocks[0]!.block, 2);
    const objective = await fullBatchObjective({ job, part, spec, problems });
    const x0 = problems.read();
    const losses: number[][] = [];
    const { x } = await minimise({
      start: x0,
      evaluate: (at) => objective.evaluate(at),
      history: 5,
      lineSearch: "strong_wolfe",
      lr: problems.lr,
      maxIterations: 8,
      maxEvaluations: 1000,
      onIteration: async ({ problems: states, x: at }) => {
        const penalties = problems.penalty(at);
        const read = await penalties.data();
        losses.push(states.map(({ loss }, k) => loss - read[k]!));
        penalties.dispose();
      },
    });
    losses.forEach((own, iteration) => {
      own.forEach((loss, k) => expect(loss).toBeCloseTo(runs[k % 2]!.losses[iteration]!, 4));
    });
    // What was written comes back.
    problems.write(x);
    const again = problems.read();
    expect(await again.array()).toEqual(await x.array());
    tf.dispose([x, x0, again]);
    problems.dispose();
    objective.dispose();
    bank.dispose();
    await part.source.close();
    expect(tf.memory().numTensors).toBe(before);
  });
});
