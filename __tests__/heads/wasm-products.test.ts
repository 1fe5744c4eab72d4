import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../../lib/backend/backend.js";
import { createHeadBank } from "../../lib/heads/bank.js";
import type { HeadSpec } from "../../lib/heads/head.js";
import { initialWeights } from "../../lib/heads/head.js";
import type { InputForm } from "../../lib/heads/input.js";
import type { Optimizer } from "../../lib/optim/optimizer.js";

const shape = [4, 2, 2];
const classes = 3;
const hidden = [{ width: 6, batchNorm: true, relu: true, dropout: 0.5 }];

const heads = (["raw", "l2", "batch_norm", "batch_norm_plain"] satisfies InputForm[]).flatMap((input) =>
  [[], hidden].map((layers, i): HeadSpec => ({
    ...{ name: `${input}-${i}`, layer: "map", reads: ["map"], shape, input, hidden: layers, initial: "torch" },
  })),
);

/** Products that ran, and those of them that read an operand transposed. */
let products = { all: 0, transposed: 0 };

beforeAll(async () => {
  await prepareBackend({ device: "wasm" });
  for (const name of ["BatchMatMul", "_FusedMatMul"]) {
    const kernel = tf.getKernel(name, "wasm");
    const { kernelFunc } = kernel;
    tf.unregisterKernel(name, "wasm");
    tf.registerKernel({
      ...kernel,
      kernelFunc: (call) => {
        const { transposeA, transposeB } = call.attrs as { transposeA?: boolean; transposeB?: boolean };
        products.all++;
        if (transposeA || transposeB) products.transposed++;
        return kernelFunc(call);
      },
    });
  }
});

beforeEach(() => {
  products = { all: 0, transposed: 0 };
});

test("the count sees a transposed operand", () => {
  tf.tidy(() => tf.matMul(tf.ones([2, 3]), tf.ones([2, 3]), true));
  expect(products).toEqual({ all: 1, transposed: 1 });
});

const optimizers: Optimizer[] = [
  { kind: "sgd", momentum: 0.9, nesterov: true },
  { kind: "adamw", beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
  { kind: "lars", momentum: 0.9, nesterov: false, trust: 0.001, epsilon: 1e-8 },
];

// WebAssembly's product is ten times slower with a transposed operand.
test.each(heads)("on WebAssembly no product of $name has a transposed operand", async (spec) => {
  const trials = optimizers.flatMap((optimizer) =>
    [0.01, 0.1].map((lr) => ({ lr, weightDecay: 1e-4, optimizer, schedule: { kind: "constant" } as const })),
  );
  const bank = createHeadBank({
    heads: [{ spec, trials }],
    seeds: [0, 1],
    classes,
    loss: { kind: "cross_entropy", labelSmoothing: 0 },
    regularised: { bias: true, norm: true },
    initial: (head, seed) => initialWeights(head, classes, seed),
  });
  const features = { map: tf.randomNormal<tf.Rank.R2>([10, 16]) };
  const targets = [0, 1, 2, 0, 1];
  const moment = { epoch: 0, epochs: 1, step: 0, stepsPerEpoch: 2 };
  bank.step({ features, targets: [...targets, ...targets], moment });
  bank.step({ features, targets: [...targets, ...targets], moment: { ...moment, step: 1 } });
  const [losses] = await bank.losses({ features, targets: [...targets, ...targets] });
  await bank.logits({ features });
  expect(losses!.flat().every((loss) => isFinite(loss))).toBe(true);
  expect(products.all).toBeGreaterThanOrEqual(4);
  expect(products.transposed).toBe(0);
  bank.dispose();
  tf.dispose(features);
});
