import { parseLayers } from "../../lib/backbones/layers.js";
import type { Tap } from "../../lib/backbones/manifest.js";
import type { UserError } from "../../lib/errors.js";

const tap = (name: string, shape: number[], pooling = "avg"): Tap => ({
  name,
  node: `net/${name}`,
  kind: shape.length === 3 ? "map" : "vector",
  shape,
  pooling,
});
const taps = [
  tap("conv1", [112, 112, 64]),
  tap("res2", [56, 56, 256]),
  tap("res3", [28, 28, 512]),
  tap("res4", [14, 14, 1024]),
  tap("res5", [7, 7, 2048]),
  tap("res5avg", [2048], "identity"),
];
const namesOf = (text: Parameters<typeof parseLayers>[0]["text"]) =>
  parseLayers({ text, taps }).map(({ name }) => name);

describe("layers asked for", () => {
  test("patch_avg leaves out what stands before the patches' tokens, cls is for taps with a class token", () => {
    const tokens = (prefix: number): Tap => ({
      ...tap("block3", [21, 48], "avg"),
      kind: "tokens",
      prefix_tokens: prefix,
    });
    const textOf = (text: string, prefix: number) => parseLayers({ text, taps: [tokens(prefix)] })[0]!.pooling.text;
    expect([textOf("block3:patch_avg", 5), textOf("block3:patch_avg(1)", 5), textOf("block3:patch_avg", 1)]).toEqual([
      "patch_avg(5)",
      "patch_avg",
      "patch_avg",
    ]);
    expect(textOf("block3:cls", 5)).toBe("cls");
    expect(() => textOf("block3:cls", 0)).toThrow("Expected a tap with a class token for the pooling cls");
  });

  test.each([
    ["res4,res5,res5avg", ["res4", "res5", "res5avg"]],
    ["res5, conv1", ["res5", "conv1"]],
    ["res?", ["res2", "res3", "res4", "res5"]],
    ["res5*", ["res5", "res5avg"]],
    ["all", taps.map(({ name }) => name)],
    ["res4:avg_pool(8x8,3,0),res4", ["res4:avg_pool(8x8,3,0)", "res4"]],
    ["res4,res4:avg,res*", ["res4", "res2", "res3", "res5", "res5avg"]],
    ["res[45]", undefined],
    ["res5:max_pool(3,2,1)", ["res5:max_pool(3x3,2,1)"]],
    ['["res4", ["AvgPool2d", [[8, 8], 3, 0]]]', ["res4:avg_pool(8x8,3,0)"]],
    ['[["res5", ["AvgPool2d", [[6, 6], 1, 0]]], ["res5avg", ["Identity", []]]]', ["res5:avg_pool(6x6,1,0)", "res5avg"]],
    ['["res4", "res5"]', ["res4", "res5"]],
  ])("%s", (text, names) => {
    if (names) expect(namesOf(text)).toEqual(names);
    else expect(() => namesOf(text)).toThrow(/a layer of this backbone/);
  });

  test("a list as YAML gives it", () => {
    expect(namesOf(["conv1", ["res4", ["AvgPool2d", [[8, 8], 3, 0]]]])).toEqual(["conv1", "res4:avg_pool(8x8,3,0)"]);
  });

  test("know the shape and width of their features, as VISSL's table has them", () => {
    const [layer] = parseLayers({ text: "res4:avg_pool(8x8,3,0)", taps });
    expect(layer).toMatchObject({ shape: [1024, 3, 3], width: 9216 });
    expect(parseLayers({ text: "conv1:avg_pool(10x10,10,4)", taps })[0]).toMatchObject({ shape: [64, 12, 12] });
  });

  test.each([
    ["res9", /a layer of this backbone for --layers but received "res9"/],
    ["", /at least one layer/],
    ["blk*", /a layer of this backbone/],
    ["all:avg_pool(8x8,3,0)", /Layer res5:.*kernel of at most 7/],
    ['["res4"', /JSON such as/],
    ["[[3]]", /a name or an entry/],
  ])("%s is refused", (text, message) => expect(() => namesOf(text)).toThrow(message));

  test("names near to a wrong one are told", () => {
    let hint: string | undefined;
    try {
      namesOf("rs5avg");
    } catch (error) {
      hint = (error as UserError).hint;
    }
    expect(hint).toBe("Did you mean res5avg?");
  });
});
