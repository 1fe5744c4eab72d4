import { UserError } from "../../lib/errors.js";
import { parseOverrideValue } from "../../lib/vissl/override-value.js";
import { parseOverride } from "../../lib/vissl/read-config.js";

describe("the value of an override", () => {
  test.each<[string, unknown]>([
    ["3", 3],
    ["-0.5", -0.5],
    ["1e-5", 1e-5],
    ["1_000", 1000],
    ["True", true],
    ["false", false],
    ["null", null],
    ["", ""],
    ["resnet", "resnet"],
    ["/data/with space/x.npy", "/data/with space/x.npy"],
    ["'a,b'", "a,b"],
    ['"it\'s"', "it's"],
    ["[]", []],
    ["[0.01, 0.001]", [0.01, 0.001]],
    ["[disk_folder]", ["disk_folder"]],
    ["{}", {}],
    ["{a:1,b:[2,{c:x}]}", { a: 1, b: [2, { c: "x" }] }],
    ['[["res5",["AvgPool2d",[[6,6],1,0]]]]', [["res5", ["AvgPool2d", [[6, 6], 1, 0]]]]],
    ["[[eval_mlp,{in_channels:2048,dims:[2048,10]}]]", [["eval_mlp", { in_channels: 2048, dims: [2048, 10] }]]],
  ])("%s", (text, value) => {
    expect(parseOverrideValue(text, "config.A")).toEqual(value);
  });

  test.each(["[1,2", "{a:1", "{a}", "[1]x", "'open"])("refuses %s", (text) => {
    expect(() => parseOverrideValue(text, "config.A")).toThrow("for config.A but received");
  });

  test("is one: several are a sweep of Hydra's", () => {
    expect(() => parseOverrideValue("0.1,0.2", "config.A")).toThrow(
      'Expected one value for config.A but received "0.1,0.2"',
    );
  });
});

test("an override sets a value or lays a file over", () => {
  expect(parseOverride("config.A.B=2")).toEqual({ kind: "value", path: ["config", "A", "B"], value: 2 });
  expect(parseOverride("+config.A.NEW=[x]")).toEqual({ kind: "value", path: ["config", "A", "NEW"], value: ["x"] });
  expect(parseOverride("+config/a/models=rn18")).toEqual({ kind: "file", group: "config/a/models", name: "rn18" });
  for (const wrong of ["config.A", "config=a/b", "~config.A", "config/a=b", "config..A=1"]) {
    expect(() => parseOverride(wrong)).toThrow(UserError);
  }
});
