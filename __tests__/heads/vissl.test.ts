import * as tf from "@tensorflow/tfjs";

import { readNpy } from "../../lib/features/npy-file.js";
import { createHeadBank } from "../../lib/heads/bank.js";
import type { HeadKind, HeadWeights } from "../../lib/heads/head.js";
import { describeOnBackends } from "../backends.js";
import { golden, goldenPath } from "../golden.js";

interface Expected {
  losses: number[];
  lr: number;
  lr_after_3_steps: number;
  momentum: number;
  weight_decay: number;
}

async function read(name: string): Promise<{ shape: number[]; data: Float32Array }> {
  const { shape, data } = await readNpy({ file: goldenPath(`vissl/heads/${name}.npy`) });
  return { shape, data: Float32Array.from(data as ArrayLike<number | bigint>, Number) };
}

/** PyTorch holds [classes, width]. */
async function transposed(name: string): Promise<Float32Array> {
  const { shape, data } = await read(name);
  const [classes, width] = shape as [number, number];
  return data.map((_, i) => data[(i % classes) * width + Math.floor(i / classes)]!);
}

async function parameters(head: string, moment: "initial" | "final", kind: HeadKind): Promise<HeadWeights> {
  const linear = `${head}_${moment}_${kind === "fc" ? "clf_0" : "clf_clf_0"}`;
  const norm = `${head}_${moment}_channel_bn`;
  return {
    weight: await transposed(`${linear}_weight`),
    bias: (await read(`${linear}_bias`)).data,
    batchNorm:
      kind === "fc"
        ? undefined
        : {
            gamma: (await read(`${norm}_weight`)).data,
            beta: (await read(`${norm}_bias`)).data,
            mean: (await read(`${norm}_running_mean`)).data,
            variance: (await read(`${norm}_running_var`)).data,
          },
  };
}

describeOnBackends("VISSL's own heads", () => {
  // Six steps of SGD, the rate a tenth from the fourth on, then one batch in evaluation form.
  test.each<[string, HeadKind]>([
    ["mlp", "fc"],
    ["eval_mlp", "bn_fc"],
  ])("%s has its losses, weights, running statistics and scores", async (name, kind) => {
    const expected = golden<Record<string, Expected>>("vissl/heads/expected.json")[name]!;
    const x = await read(`${name}_x`);
    const y = await read(`${name}_y`);
    const [batches, batch, ...shape] = x.shape as [number, number, ...number[]];
    const width = shape.reduce((a, b) => a * b);
    const classes = 5;
    const start = await parameters(name, "initial", kind);
    const bank = createHeadBank({
      heads: [{ layer: "map", shape, kind }],
      trials: [{ lr: expected.lr, weightDecay: expected.weight_decay }],
      classes,
      seeds: [0],
      sgd: { momentum: expected.momentum, nesterov: true },
      regularizeBias: true,
      initial: () => start,
    });
    const features = (b: number) =>
      tf.tensor2d(x.data.slice(b * batch * width, (b + 1) * batch * width), [batch, width]);
    for (let b = 0; b < batches - 1; b++) {
      const map = features(b);
      const labels = Int32Array.from(y.data.slice(b * batch, (b + 1) * batch));
      expect((await bank.losses({ map }, labels))[0]![0]![0]).toBeCloseTo(expected.losses[b]!, 4);
      bank.step({ map }, labels, b < 3 ? 1 : expected.lr_after_3_steps / expected.lr);
      map.dispose();
    }
    const wanted = await parameters(name, "final", kind);
    const found = await bank.weights({ seed: 0, head: 0, trial: 0 });
    const pairs = (["weight", "bias"] as const).map((key) => [found[key], wanted[key]] as const);
    const norms = (["gamma", "beta", "mean", "variance"] as const).flatMap((key) =>
      wanted.batchNorm ? [[found.batchNorm![key], wanted.batchNorm[key]] as const] : [],
    );
    for (const [actual, exact] of [...pairs, ...norms]) {
      exact.forEach((value, i) => expect(Math.abs(actual[i]! - value)).toBeLessThan(1e-4));
    }
    const last = features(batches - 1);
    const logits = (await bank.logits({ map: last }))[0]![0]![0]!;
    const { data: exact } = await read(`${name}_eval_logits`);
    exact.forEach((value, i) => expect(Math.abs(logits[i]! - value)).toBeLessThan(1e-4));
    last.dispose();
    bank.dispose();
  });
});
