import { linearSettings } from "../../lib/settings/linear.js";
import { trainingOf } from "../../lib/settings/training.js";
import { parseSettings } from "../../lib/settings/load.js";

const parse = (settings: Record<string, unknown>) =>
  parseSettings({ definition: linearSettings, settings: { features: "f", ...settings } });

const schedule = (settings: ReturnType<typeof parse>) => trainingOf(settings).schedule;

describe("linear settings", () => {
  test("refuse a head that there is not", () => {
    expect(() => parse({ heads: ["bn_fcc"] })).toThrow('Expected a head for --heads but received "bn_fcc"');
  });

  test("take one value for a list of it", () => {
    const { optimizer, batchSize } = parse({ optimizer: { lr: 0.1, momentum: 0.8 }, batchSize: 64 });
    expect([optimizer.lr, optimizer.momentum, batchSize]).toEqual([[0.1], [0.8], [64]]);
  });

  test("take ranges, for draws and for grids", () => {
    const settings = parse({
      optimizer: { lr: ["log(1e-4,1)"], weightDecay: "linear(0,1,3)" },
      search: "random",
      trials: 5,
    });
    const { optimizer } = trainingOf(settings);
    expect(optimizer.lr).toEqual({ from: 1e-4, to: 1, scale: "log" });
    expect(optimizer.weightDecay).toEqual({ from: 0, to: 1, scale: "linear", count: 3 });
    expect(() => parse({ optimizer: { lr: ["log(0,1)"] } })).toThrow("Expected a lower end above 0");
  });

  test("ask for the number of draws, and only for draws", () => {
    expect(() => parse({ search: "random" })).toThrow("for --trials but received nothing");
    expect(() => parse({ trials: 4 })).toThrow("--search random, halving or tpe beside --trials");
  });

  // protocols.md 1.1: 28 epochs on ImageNet-1k, 14 on Places205, 84 on iNaturalist18.
  test.each([
    [28, [8, 16, 24]],
    [14, [4, 8, 12]],
    [84, [24, 48, 72]],
    [2, [1]],
    [1, []],
  ])("put the milestones of %d epochs where VISSL does", (epochs, milestones) => {
    expect(schedule(parse({ epochs }))).toEqual([{ kind: "multistep", gamma: 0.1, milestones }]);
  });

  test("give the schedule that was asked for", () => {
    expect(schedule(parse({ schedule: { kind: "cosine", per: "step" } }))).toEqual([{ kind: "cosine", per: "step" }]);
    expect(schedule(parse({ schedule: { kind: "constant" } }))).toEqual([{ kind: "constant" }]);
    expect(schedule(parse({ schedule: { milestones: [3], gamma: 0.5 } }))).toEqual([
      { kind: "multistep", milestones: [3], gamma: 0.5 },
    ]);
  });

  test("are features, or a backbone and data, and not both", () => {
    expect(() => parse({ features: undefined, backbone: "b" })).toThrow("for --data but received nothing");
    expect(() => parse({ backbone: "b" })).toThrow("Expected either --features or --backbone but received both");
    expect(parse({ features: undefined, backbone: "b", data: "folder:d" }).layers).toEqual(["all"]);
    const images = { features: undefined, backbone: "b", data: "folder:d", testFeatures: "f" };
    expect(() => parse(images)).toThrow("for --features beside --test-features but received nothing");
  });

  test("take live features and stored views of images only, and one of the two", () => {
    const images = { features: undefined, backbone: "b", data: "folder:d" };
    expect(parse({ ...images, features: "live", trainTransform: "hflip(0.5)" }).features).toBe("live");
    expect(parse({ ...images, views: 3 }).views).toBe(3);
    expect(() => parse({ features: "live", backbone: "b" })).toThrow("for --data but received nothing");
    expect(() => parse({ ...images, features: "live", views: 3 })).toThrow("either --features live or --views");
    const stored = { ...images, features: "stored", trainTransform: "hflip(0.5)" };
    expect(parse({ ...stored, views: 3 })).toMatchObject({ features: "stored", views: 3 });
    expect(parse(stored).views).toBeUndefined();
    expect(() => parse({ features: "stored", backbone: "b" })).toThrow("for --data but received nothing");
    expect(() => parse({ views: 3 })).toThrow("Expected either --features or --views but received both");
    expect(() => parse({ ...images, views: 0 })).toThrow("for views but received 0");
    expect(() => parse({ ...images, trainTransform: "hflip(0.5)" })).toThrow(
      "Expected --features live or --views beside --train-transform but received neither",
    );
  });

  test("do not take Nesterov's momentum of nothing", () => {
    expect(() => parse({ optimizer: { momentum: 0 } })).toThrow("Expected a number above 0 for --momentum");
    expect(parse({ optimizer: { momentum: 0, nesterov: false } }).optimizer.momentum).toEqual([0]);
  });
});
