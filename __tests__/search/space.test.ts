import fc from "fast-check";

import { UserError } from "../../lib/errors.js";
import { readNumbers } from "../../lib/search/range.js";
import { trialSettings } from "../../lib/search/setting.js";
import { optimizerOf, type SearchSpace, trialsOf } from "../../lib/search/space.js";

import "../properties.js";

const sgd = { kind: "sgd", momentum: 0.9, nesterov: true } as const;
const space: SearchSpace = {
  lr: [0.1, 0.01],
  weightDecay: [0, 1e-4, 5e-4],
  optimizer: [sgd],
  schedule: [{ kind: "constant" }],
  batchSize: [256],
};

function messageOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as UserError).message;
  }
  throw new Error("nothing was thrown");
}

describe("readNumbers", () => {
  test.each([
    ["0.1", [0.1]],
    ["0.1, 1e-2,.5", [0.1, 0.01, 0.5]],
    [
      ["0.1", "3"],
      [0.1, 3],
    ],
    [0.1, [0.1]],
    [
      [0.1, 0.2],
      [0.1, 0.2],
    ],
    ["log(1e-4,1)", { from: 1e-4, to: 1, scale: "log" }],
    [["log(1e-4,1)"], { from: 1e-4, to: 1, scale: "log" }],
    ["linear(0, .5)", { from: 0, to: 0.5, scale: "linear" }],
    ["log(1e-4..1, 7)", { from: 1e-4, to: 1, scale: "log", count: 7 }],
    [
      { from: 1, to: 2, scale: "linear" },
      { from: 1, to: 2, scale: "linear" },
    ],
  ])("reads %j", (text, numbers) => {
    expect(readNumbers(text, "--lr")).toEqual(numbers);
  });

  test.each([
    ["", "Expected at least one number for --lr but received []"],
    ["0.1,high", 'Expected numbers, or one range such as log(1e-4,1), for --lr but received "high"'],
    ["0.1,log(1,2)", "Expected log(from,to), linear(from,to) or either with a count for --lr"],
    ["ln(1,2)", "Expected log(from,to), linear(from,to) or either with a count for --lr"],
    ["log(1e-4)", "Expected log(from,to), linear(from,to) or either with a count for --lr"],
    ["log(0,1)", "Expected a lower end above 0 for the range of --lr but received 0"],
    ["log(-1,1)", "Expected a lower end above 0 for the range of --lr but received -1"],
    ["log(1,1e-4)", "Expected a lower end below the upper one for the range of --lr but received [1,0.0001]"],
    ["linear(1,1)", "Expected a lower end below the upper one for the range of --lr but received [1,1]"],
    ["log(1e-4,1,1)", "Expected a count of at least 2 for the range of --lr but received 1"],
    [{ from: 0, to: 1 }, "Expected log or linear for the scale of --lr but received nothing"],
    [{ from: 0, to: "1", scale: "linear" }, "Expected two numbers for the range of --lr"],
    [true, "Expected numbers or a range for --lr but received true"],
    [null, "Expected numbers or a range for --lr but received null"],
    [[NaN], "Expected numbers, or one range such as log(1e-4,1), for --lr but received null"],
  ])("refuses %j", (text, message) => {
    expect(messageOf(() => readNumbers(text, "--lr"))).toContain(message);
  });
});

describe("a grid", () => {
  test("is every combination, learning rate and weight decay last", () => {
    const { trials, notes } = trialsOf({ space, search: "grid", seed: 0 });
    expect(trials.map(({ lr, weightDecay }) => [lr, weightDecay])).toEqual([
      [0.1, 0],
      [0.1, 1e-4],
      [0.1, 5e-4],
      [0.01, 0],
      [0.01, 1e-4],
      [0.01, 5e-4],
    ]);
    expect(trials[0]).toEqual({
      lr: 0.1,
      weightDecay: 0,
      optimizer: sgd,
      schedule: { kind: "constant" },
      batchSize: 256,
    });
    expect(notes).toEqual([]);
  });

  test("takes points of ranges at round numbers", () => {
    const lr = { from: 1e-4, to: 1, scale: "log" as const, count: 5 };
    const weightDecay = { from: 0, to: 0.3, scale: "linear" as const, count: 4 };
    const { trials } = trialsOf({ space: { ...space, lr, weightDecay }, search: "grid", seed: 0 });
    expect([...new Set(trials.map((trial) => trial.lr))]).toEqual([1e-4, 1e-3, 1e-2, 1e-1, 1]);
    expect([...new Set(trials.map((trial) => trial.weightDecay))]).toEqual([0, 0.1, 0.2, 0.3]);
  });

  test("has as many trials as the product of its dimensions, none twice", () => {
    const values = <T>(value: fc.Arbitrary<T>) => fc.uniqueArray(value, { minLength: 1, maxLength: 3 });
    const batchSize = values(fc.integer({ min: 2, max: 512 }));
    const headWidth = fc.option(values(fc.integer({ min: 1, max: 2048 })), { nil: undefined });
    const lr = values(fc.double({ min: 1e-6, max: 10, noNaN: true }));
    fc.assert(
      fc.property(fc.record({ lr, weightDecay: lr, batchSize, headWidth }), (drawn) => {
        const { trials, notes } = trialsOf({ space: { ...space, ...drawn }, search: "grid", seed: 0 });
        const size = [drawn.lr, drawn.weightDecay, drawn.batchSize, drawn.headWidth ?? [0]];
        expect(trials).toHaveLength(size.reduce((product, { length }) => product * length, 1));
        expect(new Set(trials.map((trial) => JSON.stringify(trial))).size).toBe(trials.length);
        expect(notes).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });

  test("leaves out what an optimizer does not have, and says so", () => {
    const many: SearchSpace = {
      ...space,
      weightDecay: [0],
      lr: [0.1],
      optimizer: ["sgd", "adam", "lbfgs"],
      momentum: [0, 0.9],
      nesterov: true,
      batchSize: [64, 256],
    };
    const { trials, notes } = trialsOf({ space: many, search: "grid", seed: 0 });
    expect(trials.map(({ optimizer, batchSize }) => [optimizer, batchSize])).toEqual([
      [{ kind: "sgd", momentum: 0, nesterov: false }, 64],
      [{ kind: "sgd", momentum: 0, nesterov: false }, 256],
      [{ kind: "sgd", momentum: 0.9, nesterov: true }, 64],
      [{ kind: "sgd", momentum: 0.9, nesterov: true }, 256],
      [optimizerOf("adam"), 64],
      [optimizerOf("adam"), 256],
      [optimizerOf("lbfgs"), undefined],
    ]);
    expect(notes).toEqual(["5 of 12 combinations were the same as others, and are left out"]);
  });

  test("keeps an optimizer's own momentum where none is swept", () => {
    const { trials } = trialsOf({ space: { ...space, optimizer: [sgd, "lars"] }, search: "grid", seed: 0 });
    const momenta = trials.map(({ optimizer }) => ("momentum" in optimizer ? optimizer.momentum : undefined));
    expect(new Set(momenta)).toEqual(new Set([0.9]));
  });
});

describe("a random search", () => {
  const wide: SearchSpace = {
    ...space,
    lr: { from: 1e-4, to: 1, scale: "log" },
    weightDecay: [0, 1e-4],
    momentum: { from: 0.5, to: 0.9, scale: "linear" },
    batchSize: { from: 32, to: 512, scale: "log" },
  };

  test("starts with the draws of a smaller one, and depends on the seed", () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.integer({ min: 1, max: 20 }), (seed, count) => {
        const few = trialsOf({ space: wide, search: "random", count, seed }).trials;
        const many = trialsOf({ space: wide, search: "random", count: count + 10, seed }).trials;
        expect(many.slice(0, count)).toEqual(few);
        expect(trialsOf({ space: wide, search: "random", count, seed: seed + 1 }).trials).not.toEqual(few);
      }),
      { numRuns: 30 },
    );
  });

  test("leaves the draws of other dimensions as they are when one is added", () => {
    const rates = (searched: SearchSpace) =>
      trialsOf({ space: searched, search: "random", count: 9, seed: 3 }).trials.map(({ lr }) => lr);
    expect(rates({ ...wide, headWidth: [512, 1024] })).toEqual(rates(wide));
  });

  test("is uniform in the logarithm, in bounds, and whole where numbers are", () => {
    const { trials } = trialsOf({ space: wide, search: "random", count: 2000, seed: 1 });
    for (let decade = -4; decade < 0; decade++) {
      const share = trials.filter(({ lr }) => lr >= 10 ** decade && lr < 10 ** (decade + 1)).length / trials.length;
      expect(Math.abs(share - 1 / 4)).toBeLessThan(0.04);
    }
    const decayed = trials.filter(({ weightDecay }) => weightDecay > 0).length / trials.length;
    expect(Math.abs(decayed - 1 / 2)).toBeLessThan(0.05);
    for (const { batchSize, optimizer } of trials) {
      expect(Number.isInteger(batchSize) && batchSize! >= 32 && batchSize! <= 512).toBe(true);
      expect("momentum" in optimizer && optimizer.momentum >= 0.5 && optimizer.momentum <= 0.9).toBe(true);
    }
  });

  test("tells how many draws of a small space were repeated", () => {
    const { trials, notes } = trialsOf({ space, search: "random", count: 100, seed: 0 });
    expect(trials).toHaveLength(6);
    expect(notes).toEqual(["94 of 100 draws were the same as others, and are left out"]);
  });
});

describe("a space that cannot be searched", () => {
  const grid = (change: Partial<SearchSpace>) => () =>
    trialsOf({ space: { ...space, ...change }, search: "grid", seed: 0 });
  test.each<[string, () => unknown, string]>([
    ["no rate", grid({ lr: [] }), "Expected at least one number for --lr but received []"],
    ["no optimizer", grid({ optimizer: [] }), "Expected at least one for --optimizer but received []"],
    ["no schedule", grid({ schedule: [] }), "Expected at least one for --schedule but received []"],
    ["a rate of 0", grid({ lr: [0.1, 0] }), "Expected numbers above 0 for --lr but received 0"],
    [
      "a negative decay",
      grid({ weightDecay: [-1] }),
      "Expected numbers of at least 0 for --weight-decay but received -1",
    ],
    ["a momentum of 1", grid({ momentum: [1] }), "Expected numbers in [0, 1) for --momentum but received 1"],
    [
      "half an image",
      grid({ batchSize: [2.5] }),
      "Expected whole numbers of at least 2 for --batch-size but received 2.5",
    ],
    ["no width", grid({ headWidth: [0] }), "Expected whole numbers of at least 1 for --head-width but received 0"],
    [
      "a range without points",
      grid({ lr: { from: 0.1, to: 1, scale: "log" } }),
      "Expected a number of points for the range of --lr, as a grid has, but received none",
    ],
    [
      "momentum that none has",
      grid({ optimizer: ["adam"], momentum: [0.5, 0.9] }),
      'Expected an optimizer with momentum (sgd, lars) for a sweep of --momentum but received ["adam"]',
    ],
    [
      "a grid with a count",
      () => trialsOf({ space, search: "grid", count: 3, seed: 0 }),
      "Expected no number of trials",
    ],
    [
      "draws without a count",
      () => trialsOf({ space, search: "random", seed: 0 }),
      "Expected a number of trials of at",
    ],
    ["an unknown optimizer", () => optimizerOf("adamm"), 'Expected an optimizer for --optimizer but received "adamm"'],
  ])("%s", (_, work, message) => {
    expect(messageOf(work)).toContain(message);
  });
});

describe("trialSettings", () => {
  test("tells rate and decay, and of all else what differs", () => {
    const searched: SearchSpace = {
      ...space,
      lr: [0.1],
      weightDecay: [0],
      optimizer: ["sgd", "lars"],
      momentum: [0.9],
      schedule: [
        { kind: "cosine", per: "step" },
        { kind: "multistep", milestones: [8, 16], gamma: 0.1 },
      ],
    };
    expect(trialSettings(trialsOf({ space: searched, search: "grid", seed: 0 }).trials).slice(1, 3)).toEqual([
      { lr: 0.1, weightDecay: 0, optimizer: "sgd", schedule: "multistep, milestones 8 16, gamma 0.1" },
      { lr: 0.1, weightDecay: 0, optimizer: "lars", trust: 0.001, epsilon: 1e-8, schedule: "cosine, per step" },
    ]);
    expect(trialSettings(trialsOf({ space, search: "grid", seed: 0 }).trials)[1]).toEqual({
      lr: 0.1,
      weightDecay: 1e-4,
    });
  });
});
