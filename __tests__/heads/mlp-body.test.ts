import * as tf from "@tensorflow/tfjs";
import fc from "fast-check";

import type { HeadBody } from "../../lib/heads/body.js";
import type { HeadWeights, HiddenLayer } from "../../lib/heads/head.js";
import { lossError, lossTargets, lossValue } from "../../lib/heads/loss.js";
import { withOnes } from "../../lib/heads/training-input.js";
import { random } from "../../lib/random.js";
import { describeOnBackends } from "../backends.js";
import { type MlpCase, mlpGolden } from "./mlp-golden.js";
import { bodyOf, expectClose, expectSameHead, inputStage, sgdStepOf } from "./train-body.js";
import { readVissl, visslClasses, visslTraining, visslWeights } from "./vissl-heads.js";

const made = mlpGolden();
const [channels] = made.shape as [number];
const width = made.shape.reduce((a, b) => a * b);
const rowsOf = (rows: number[]) =>
  tf.tensor3d(
    rows.flatMap((row) => made.features.slice(row * width, (row + 1) * width)),
    [1, rows.length, width],
  );

function targetsOf({ targets }: MlpCase, rows: number[]): number[] {
  const size = (targets.length * width) / made.features.length;
  return rows.flatMap((row) => targets.slice(row * size, (row + 1) * size));
}

const crossEntropy = { kind: "cross_entropy", labelSmoothing: 0 } as const;
const full: HiddenLayer[] = [
  { width: 6, batchNorm: true, relu: true, dropout: 0.4 },
  { width: 5, batchNorm: false, relu: true, dropout: 0.25 },
];

/** Some head of the shape that `hidden` asks for. */
function someHead(seed: number, hidden: HiddenLayer[], options: { classes: number; inputNorm?: boolean }): HeadWeights {
  const stream = random(seed, "some head");
  const numbers = (length: number, around = 0) => Float32Array.from({ length }, () => around + 0.5 * stream.normal());
  const norm = (size: number) => ({
    gamma: numbers(size, 1),
    beta: numbers(size),
    mean: numbers(size),
    variance: numbers(size).map((x) => 0.5 + x * x),
  });
  const widths = [width, ...hidden.map((layer) => layer.width), options.classes];
  const linear = widths.slice(1).map((size, i) => ({ weight: numbers(widths[i]! * size), bias: numbers(size) }));
  return {
    ...linear.at(-1)!,
    ...(options.inputNorm && { batchNorm: norm(channels) }),
    ...(hidden.length > 0 && {
      hidden: hidden.map((layer, i) => ({ ...linear[i]!, ...(layer.batchNorm && { batchNorm: norm(layer.width) }) })),
    }),
  };
}

function someInput(seeds: number, batch: number): tf.Tensor3D {
  const stream = random(seeds, "some input", batch);
  const x = Float32Array.from({ length: seeds * batch * width }, () => stream.normal());
  return tf.tidy(() => withOnes(tf.tensor3d(x, [seeds, batch, width])));
}

describeOnBackends("MLP bodies", () => {
  test.each(made.cases)("equal PyTorch: $name", async (one) => {
    const { classes, lr, weightDecay, momentum } = made;
    const { form, hidden, loss, start } = one;
    const norm = start.batchNorm;
    const body = bodyOf({
      start: [form === "batch_norm" ? start : { ...start, batchNorm: undefined }],
      hidden,
      trials: 1,
      classes,
      dropoutSeeds: [0],
    });
    const rows = made.order[0]!;
    const stage = inputStage(form, channels, norm);
    const buffers = Object.values(body.buffers).map((tensor) => tensor.clone());
    const first = tf.tidy(() => {
      // The running statistics are put back below: this batch comes again as the first step.
      const input = inputStage(form, channels).prepare(rowsOf(rows), true);
      const output = body.forward({ input, training: true, step: 0 });
      const { logits } = output;
      const targets = lossTargets({ loss, targets: targetsOf(one, rows), seeds: 1, classes });
      const value = lossValue(logits, targets);
      const error = tf.div<tf.Tensor3D>(lossError(logits, targets), targets.divisors[0]!);
      return { logits, value, gradients: output.backward(error) };
    });
    const names = Object.keys(body.buffers);
    tf.dispose(names.map((name) => body.buffers[name]!));
    names.forEach((name, i) => (body.buffers[name] = buffers[i]!));

    expectClose(await first.logits.data(), one.first.logits, 1e-5);
    expectClose(await first.value.data(), [one.first.loss], 1e-5);
    for (const [i, { name }] of body.parameters.entries()) {
      expectClose(await first.gradients[i]!.data(), ofParameter(one.first.gradients, name), 1e-5);
    }
    for (const [step, batch] of made.order.entries()) {
      tf.tidy(() => {
        const input = stage.prepare(rowsOf(batch), true);
        const targets = targetsOf(one, batch);
        sgdStepOf(body, { input, loss, targets, seeds: 1, classes, lrs: [lr], weightDecay, momentum, step });
      });
    }
    expectSameHead(await stage.complete(await body.weights({ seed: 0, trial: 0 })), one.final, 2e-4);
    const scores = tf.tidy(() => {
      const input = stage.prepare(rowsOf([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), false);
      return body.forward({ input, training: false, step: 0 }).logits;
    });
    expectClose(await scores.data(), one.logits, 1e-3);
    tf.dispose([first, scores]);
    stage.dispose();
    body.dispose();
  });

  test.each(["mlp", "eval_mlp"] as const)("train VISSL's own %s as VISSL does", async (name) => {
    const wanted = visslTraining(name);
    const x = await readVissl(`${name}_x`);
    const y = await readVissl(`${name}_y`);
    const [batches, batch, C, H, W] = x.shape as [number, number, number, number, number];
    const start = await visslWeights(name, "initial");
    const body = bodyOf({ start: [start], hidden: [], trials: 1, classes: visslClasses, dropoutSeeds: [0] });
    const stage = inputStage(name === "mlp" ? "raw" : "batch_norm", C, start.batchNorm);
    const features = (b: number) => {
      const size = batch * C * H * W;
      return tf.tensor3d(x.data.slice(b * size, (b + 1) * size), [1, batch, C * H * W]);
    };
    for (let b = 0; b < batches - 1; b++) {
      const targets = y.data.slice(b * batch, (b + 1) * batch);
      const loss = tf.tidy(() => {
        const input = stage.prepare(features(b), true);
        const { logits } = body.forward({ input, training: true, step: b });
        const before = lossValue(logits, lossTargets({ loss: crossEntropy, targets, seeds: 1, classes: visslClasses }));
        sgdStepOf(body, {
          input,
          loss: crossEntropy,
          targets,
          seeds: 1,
          classes: visslClasses,
          lrs: [b < 3 ? wanted.lr : wanted.lr_after_3_steps],
          weightDecay: wanted.weight_decay,
          momentum: wanted.momentum,
          step: b,
        });
        return before;
      });
      expectClose(await loss.data(), [wanted.losses[b]!], 1e-5);
      loss.dispose();
    }
    const found = await stage.complete(await body.weights({ seed: 0, trial: 0 }));
    expectSameHead(found, withoutUndefined(await visslWeights(name, "final")), 1e-4);
    const scores = tf.tidy(
      () => body.forward({ input: stage.prepare(features(batches - 1), false), training: false, step: 0 }).logits,
    );
    expectClose(await scores.data(), (await readVissl(`${name}_eval_logits`)).data, 1e-4);
    scores.dispose();
    stage.dispose();
    body.dispose();
  });

  test("have the gradients that automatic differentiation finds", () => {
    const layer = fc.record({
      width: fc.integer({ min: 1, max: 7 }),
      batchNorm: fc.boolean(),
      relu: fc.boolean(),
      dropout: fc.constantFrom(0, 0.3),
    });
    const shape = {
      hidden: fc.array(layer, { maxLength: 3 }),
      trials: fc.integer({ min: 1, max: 3 }),
      seeds: fc.integer({ min: 1, max: 2 }),
      inputNorm: fc.boolean(),
      training: fc.boolean(),
      sharedInput: fc.boolean(),
    };
    fc.assert(
      fc.property(fc.record(shape), ({ hidden, trials, seeds, inputNorm, training, sharedInput }) => {
        const classes = 3;
        const start = Array.from({ length: seeds }, (_, seed) => someHead(seed, hidden, { classes, inputNorm }));
        const body = bodyOf({ start, hidden, trials, classes, dropoutSeeds: start.map((_, seed) => seed) });
        tf.tidy(() => {
          const input = someInput(sharedInput ? 1 : seeds, 6);
          const pull = tf.tensor3d(
            Float32Array.from({ length: seeds * 6 * trials * classes }, (_, i) => Math.sin(3 * i)),
            [seeds, 6, trials * classes],
          );
          const wanted = tf.grads((...values: tf.Tensor[]) => {
            body.parameters.forEach(({ parameter }, i) => (parameter.value = values[i]!));
            return body.forward({ input, training, step: 3 }).logits.mul(pull).sum();
          })(body.parameters.map(({ parameter }) => tf.keep(parameter.value.clone())));
          const found = body.forward({ input, training, step: 3 }).backward(pull);
          found.forEach((gradient, i) => {
            expect(gradient.shape).toEqual(body.parameters[i]!.parameter.value.shape);
            const scale = Math.max(1, ...wanted[i]!.abs().dataSync());
            expectClose(gradient.dataSync(), wanted[i]!.dataSync(), 1e-4 * scale);
          });
        });
        body.dispose();
      }),
      { numRuns: 15 },
    );
  });

  test("a trial and seed among others come out as alone", async () => {
    const classes = 4;
    const lrs = [0.02, 0.1, 0.05];
    const start = [5, 6].map((seed) => someHead(seed, full, { classes, inputNorm: true }));
    const input = someInput(2, 9);
    const labels = Array.from({ length: 18 }, (_, i) => (i * i) % classes);
    const common = { loss: crossEntropy, classes, weightDecay: 1e-3, momentum: 0.9 };
    const all = bodyOf({ start, hidden: full, trials: 3, classes, dropoutSeeds: [5, 6] });
    const alone = bodyOf({ start: [start[1]!], hidden: full, trials: 1, classes, dropoutSeeds: [6] });
    const own = input.slice([1, 0, 0], [1, -1, -1]);
    for (let step = 0; step < 12; step++) {
      sgdStepOf(all, { ...common, input, targets: labels, seeds: 2, lrs, step });
      sgdStepOf(alone, { ...common, input: own, targets: labels.slice(9), seeds: 1, lrs: [lrs[2]!], step });
    }
    const wanted = await alone.weights({ seed: 0, trial: 0 });
    expectSameHead(await all.weights({ seed: 1, trial: 2 }), wanted, 1e-5);
    const other = await all.weights({ seed: 1, trial: 1 });
    expect(Math.abs(other.weight[0]! - wanted.weight[0]!)).toBeGreaterThan(1e-4);
    const scores = (body: HeadBody) =>
      tf.tidy(() => body.forward({ input: own, training: false, step: 0 }).logits.dataSync());
    const together = scores(all);
    const picked = Array.from({ length: 9 * classes }, (_, i) => {
      const [row, c] = [Math.floor(i / classes), i % classes];
      return together[(9 + row) * 3 * classes + 2 * classes + c]!;
    });
    expectClose(picked, scores(alone), 1e-4);
    [all, alone].forEach((body) => body.dispose());
    tf.dispose([input, own]);
  });

  test("drop the share that was asked for, the same in equal steps and in every trial, and nothing in evaluation", () => {
    const hidden = [{ width: 400, batchNorm: false, relu: false, dropout: 0.3 }];
    const head = someHead(1, hidden, { classes: 400 });
    // The last layer copies the hidden one, which is 1 throughout.
    const copy = Float32Array.from({ length: 400 * 400 }, (_, i) => (Math.floor(i / 400) === i % 400 ? 1 : 0));
    const ones = { weight: new Float32Array(width * 400), bias: new Float32Array(400).fill(1) };
    const start = [{ ...head, weight: copy, bias: new Float32Array(400), hidden: [ones] }];
    const body = bodyOf({ start: [start[0]!, start[0]!], hidden, trials: 2, classes: 400, dropoutSeeds: [1, 2] });
    tf.tidy(() => {
      const input = someInput(2, 20);
      const run = (step: number, training = true) =>
        body.forward({ input, training, step }).logits.reshape<tf.Tensor4D>([2, 20, 2, 400]);
      const dropped = run(0);
      const values = dropped.dataSync();
      expect(new Set(Array.from(values, (value) => value.toFixed(4)))).toEqual(
        new Set(["0.0000", (1 / 0.7).toFixed(4)]),
      );
      expect(values.filter((value) => value === 0).length / values.length).toBeCloseTo(0.3, 1);
      const [first, second] = tf.unstack(dropped, 2);
      expect(first!.equal(second!).all().dataSync()[0]).toBe(1);
      expect(run(0).equal(dropped).all().dataSync()[0]).toBe(1);
      expect(run(1).equal(dropped).all().dataSync()[0]).toBe(0);
      const [seed1, seed2] = tf.unstack(dropped, 0);
      expect(seed1!.equal(seed2!).all().dataSync()[0]).toBe(0);
      expect(run(0, false).equal(1).all().dataSync()[0]).toBe(1);
    });
    body.dispose();
  });

  test("set a diverged trial to zero, and leave the others to the bit", async () => {
    const classes = 4;
    const hidden = full.map((layer) => ({ ...layer, batchNorm: true }));
    const start = [5, 6].map((seed) => someHead(seed, hidden, { classes, inputNorm: true }));
    const body = bodyOf({ start, hidden, trials: 2, classes, dropoutSeeds: [5, 6] });
    const input = someInput(2, 9);
    const targets = Array.from({ length: 18 }, (_, i) => i % classes);
    const common = { loss: crossEntropy, classes, weightDecay: 1e-3, momentum: 0.9, seeds: 2, input, targets };
    for (let step = 0; step < 4; step++) sgdStepOf(body, { ...common, lrs: [0.1, 1e30], step });
    const places = [0, 1].flatMap((seed) => [0, 1].map((trial) => ({ seed, trial })));
    const before = await Promise.all(places.map((place) => body.weights(place)));
    expect(before[3]!.weight.every(Number.isFinite)).toBe(false);
    body.zero({ seed: 1, trials: [false, true] });
    const after = await Promise.all(places.map((place) => body.weights(place)));
    for (const i of [0, 1, 2]) expect(after[i]).toEqual(before[i]);
    expect(after[3]!.hidden!.flatMap(({ weight }) => [...weight]).every((w) => w === 0)).toBe(true);
    expect(after[3]!.hidden![0]!.batchNorm!.variance.every((w) => w === 0)).toBe(true);
    tf.tidy(() => {
      const logits = body.forward({ input, training: false, step: 0 }).logits.reshape([2, 9, 2, classes]);
      expect([...logits.slice([1, 0, 1, 0], [1, 9, 1, classes]).dataSync()].every((z) => z === 0)).toBe(true);
    });
    sgdStepOf(body, { ...common, lrs: [0.1, 0], step: 4 });
    expect((await body.weights({ seed: 1, trial: 1 })).weight.every(Number.isFinite)).toBe(true);
    input.dispose();
    body.dispose();
  });

  test("tell each trial's own number and squared norm in the shape of a parameter", () => {
    const start = [1, 2].map((seed) => someHead(seed, full, { classes: 3, inputNorm: true }));
    const body = bodyOf({ start, hidden: full, trials: 2, classes: 3, dropoutSeeds: [1, 2] });
    tf.tidy(() => {
      for (const one of body.parameters) {
        const { parameter, kind, name } = one;
        const { shape } = parameter.value;
        const everywhere = (tensor: tf.Tensor) => tf.mul(tf.onesLike(parameter.value), tensor);
        const marks = everywhere(one.spread([3, 7]));
        expect(marks.shape).toEqual(shape);
        const isolated = tf.mul(parameter.value, tf.equal(marks, 7));
        const norms = one.squaredNorm(parameter.value);
        expect(norms.shape).toEqual(shape);
        const decayed = everywhere(one.spread([3, 7], true));
        if (kind === "norm") {
          expect(norms.abs().max().dataSync()[0]).toBe(0);
          expect([...decayed.dataSync()]).toEqual([...marks.dataSync()]);
          continue;
        }
        // Every trial starts from the seed's weights, so the norm of the second is that of the seed's matrix.
        const layer = start.map((head) => (name === "weight" ? head : head.hidden![Number(name[6])]!));
        const wanted = layer.map(({ weight }) => weight.reduce((sum, w) => sum + w * w, 0));
        const ofSecond = tf.mul(norms, tf.equal(marks, 7)).reshape([2, -1]);
        expectClose(ofSecond.max(1).dataSync(), wanted, 1e-3);
        const matrix = tf.mul(isolated, tf.notEqual(decayed, 0)).square().reshape([2, -1]).sum(1);
        expectClose(matrix.dataSync(), wanted, 1e-3);
      }
    });
    body.dispose();
  });

  test("leave no tensor behind", async () => {
    const before = tf.memory().numTensors;
    const classes = 4;
    const start = [5, 6].map((seed) => someHead(seed, full, { classes, inputNorm: true }));
    const body = bodyOf({ start, hidden: full, trials: 3, classes, dropoutSeeds: [5, 6] });
    const held = tf.memory().numTensors;
    const input = someInput(2, 9);
    const targets = new Int32Array(18);
    const common = { loss: crossEntropy, classes, weightDecay: 0, momentum: 0.9, seeds: 2, input, targets };
    for (let step = 0; step < 3; step++) sgdStepOf(body, { ...common, lrs: [0.1, 0.2, 0.3], step });
    tf.tidy(() => void body.forward({ input, training: false, step: 0 }));
    await body.weights({ seed: 1, trial: 2 });
    body.zero({ seed: 0, trials: [true, false, true] });
    input.dispose();
    expect(tf.memory().numTensors).toBe(held);
    body.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

/** A parameter's array in the weights of a head. */
function ofParameter(head: HeadWeights, name: string): number[] {
  const [, layer, key] = /^(?:hidden(\d+)\.)?(\w+)$/.exec(name)!;
  const { weight, bias, batchNorm } = layer === undefined ? head : head.hidden![Number(layer)]!;
  return key === "weight" ? [...weight, ...bias] : [...batchNorm![key as "gamma" | "beta"]];
}

function withoutUndefined(head: HeadWeights): HeadWeights {
  return Object.fromEntries(Object.entries(head).filter(([, value]) => value !== undefined)) as unknown as HeadWeights;
}
