import { linearSettings, scheduleOf } from "../../lib/settings/linear.js";
import { parseSettings } from "../../lib/settings/load.js";

const parse = (settings: Record<string, unknown>) =>
  parseSettings({ definition: linearSettings, settings: { features: "f", ...settings } });

describe("linear settings", () => {
  test("understand VISSL's names of the heads", () => {
    expect(parse({ heads: ["mlp", "eval_mlp"] }).heads).toEqual(["fc", "bn_fc"]);
    expect(() => parse({ heads: ["eval_mpl"] })).toThrow('Expected fc or bn_fc for heads[0] but received "eval_mpl"');
  });

  // protocols.md 1.1: 28 epochs on ImageNet-1k, 14 on Places205, 84 on iNaturalist18.
  test.each([
    [28, [8, 16, 24]],
    [14, [4, 8, 12]],
    [84, [24, 48, 72]],
    [2, [1, 2]],
    [1, [1]],
  ])("put the milestones of %d epochs where VISSL does", (epochs, milestones) => {
    expect(scheduleOf(parse({ epochs }))).toEqual({ kind: "multistep", gamma: 0.1, milestones });
  });

  test("give the schedule that was asked for", () => {
    expect(scheduleOf(parse({ schedule: { kind: "cosine", per: "step" } }))).toEqual({ kind: "cosine", per: "step" });
    expect(scheduleOf(parse({ schedule: { kind: "constant" } }))).toEqual({ kind: "constant" });
    expect(scheduleOf(parse({ schedule: { milestones: [3], gamma: 0.5 } }))).toEqual({
      kind: "multistep",
      milestones: [3],
      gamma: 0.5,
    });
  });

  test("are features, or a backbone and data, and not both", () => {
    expect(() => parse({ features: undefined, backbone: "b" })).toThrow("for --data but received nothing");
    expect(() => parse({ backbone: "b" })).toThrow("Expected either --features or --backbone but received both");
    expect(parse({ features: undefined, backbone: "b", data: "folder:d" }).layers).toEqual(["all"]);
  });

  test("take live features and stored views of images only, and one of the two", () => {
    const images = { features: undefined, backbone: "b", data: "folder:d" };
    expect(parse({ ...images, features: "live", trainTransform: "hflip(0.5)" }).features).toBe("live");
    expect(parse({ ...images, views: 3 }).views).toBe(3);
    expect(() => parse({ features: "live", backbone: "b" })).toThrow("for --data but received nothing");
    expect(() => parse({ ...images, features: "live", views: 3 })).toThrow("either --features live or --views");
    expect(() => parse({ views: 3 })).toThrow("Expected either --features or --views but received both");
    expect(() => parse({ ...images, views: 0 })).toThrow("for views but received 0");
    expect(() => parse({ ...images, trainTransform: "hflip(0.5)" })).toThrow(
      "Expected --features live or --views beside --train-transform but received neither",
    );
  });

  test("do not take Nesterov's momentum of nothing", () => {
    expect(() => parse({ optimizer: { momentum: 0 } })).toThrow("Expected a number above 0 for --momentum");
    expect(parse({ optimizer: { momentum: 0, nesterov: false } }).optimizer.momentum).toBe(0);
  });
});
