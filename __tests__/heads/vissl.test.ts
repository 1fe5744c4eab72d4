import * as tf from "@tensorflow/tfjs";

import { createHeadBank } from "../../lib/heads/bank.js";
import type { HeadKind } from "../../lib/heads/head.js";
import { describeOnBackends } from "../backends.js";
import { readVissl, type VisslHead, visslClasses, visslTraining, visslWeights } from "./vissl-heads.js";

describeOnBackends("VISSL's own heads", () => {
  // Six steps of SGD, the rate a tenth from the fourth on, then one batch in evaluation form.
  test.each<[VisslHead, HeadKind]>([
    ["mlp", "fc"],
    ["eval_mlp", "bn_fc"],
  ])("%s has its losses, weights, running statistics and scores", async (name, kind) => {
    const expected = visslTraining(name);
    const x = await readVissl(`${name}_x`);
    const y = await readVissl(`${name}_y`);
    const [batches, batch, ...shape] = x.shape as [number, number, ...number[]];
    const width = shape.reduce((a, b) => a * b);
    const classes = visslClasses;
    const start = await visslWeights(name, "initial");
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
    const wanted = await visslWeights(name, "final");
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
    const { data: exact } = await readVissl(`${name}_eval_logits`);
    exact.forEach((value, i) => expect(Math.abs(logits[i]! - value)).toBeLessThan(1e-4));
    last.dispose();
    bank.dispose();
  });
});
