import * as tf from "@tensorflow/tfjs";
import fc from "fast-check";

import { applyPooling } from "../../lib/backbones/apply-pooling.js";
import { parsePooling, type VisslPooling } from "../../lib/backbones/pooling.js";
import { UserError } from "../../lib/errors.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { describeOnBackends } from "../backends.js";
import { golden, goldenPath } from "../golden.js";

interface Case {
  tap: string;
  op: string;
  args: unknown[];
  input: string;
  output: string;
  pooled_chw: number[];
}

const cases = golden<Case[]>("pooling/index.json");

describeOnBackends("pooling", () => {
  test.each(cases)("equals PyTorch's $op $args of $tap", async ({ op, args, input, output, pooled_chw: shape }) => {
    const pooling = parsePooling([op, args]);
    const before = tf.memory().numTensors;
    const map = await numbers(input);
    const features = tf.tensor(map.data, map.shape);
    const pooled = applyPooling({ pooling, features });
    expect(pooled.shape).toEqual([map.shape[0], ...shape]);
    expect(pooling.outputShape(map.shape.slice(1))).toEqual(shape);
    const due = (await numbers(output)).data;
    const found = await pooled.data();
    expect(found.length).toBe(due.length);
    const largest = due.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    for (let i = 0; i < due.length; i++) expect(Math.abs(found[i]! - due[i]!)).toBeLessThanOrEqual(1e-6 * largest);
    tf.dispose([features, pooled]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test("takes tokens, vectors and whole maps", async () => {
    const tokens = tf.tensor3d([[[1, 10], [2, 20], [6, 60]]]); // prettier-ignore
    const vector = tf.tensor2d([[1, 2]]);
    const map = tf.tensor4d([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 2, 2]);
    const values = async (text: string, features: tf.Tensor) => {
      const pooled = applyPooling({ pooling: parsePooling(text), features });
      const data = [...(await pooled.data())];
      pooled.dispose();
      return { shape: pooled.shape, data };
    };
    expect(await values("avg", tokens)).toEqual({ shape: [1, 2], data: [3, 30] });
    expect(await values("max", tokens)).toEqual({ shape: [1, 2], data: [6, 60] });
    expect(await values("cls", tokens)).toEqual({ shape: [1, 2], data: [1, 10] });
    expect(await values("patch_avg", tokens)).toEqual({ shape: [1, 2], data: [4, 40] });
    expect(await values("patch_avg(2)", tokens)).toEqual({ shape: [1, 2], data: [6, 60] });
    expect(await values("identity", tokens)).toEqual({ shape: [1, 2, 3], data: [1, 2, 6, 10, 20, 60] });
    expect(await values("identity", vector)).toEqual({ shape: [1, 2], data: [1, 2] });
    expect(await values("adaptive_avg(1x1)", vector)).toEqual({ shape: [1, 2, 1, 1], data: [1, 2] });
    expect(await values("avg", map)).toEqual({ shape: [1, 2], data: [4, 5] });
    expect(await values("identity", map)).toEqual({ shape: [1, 2, 2, 2], data: [1, 3, 5, 7, 2, 4, 6, 8] });
    tf.dispose([tokens, vector, map]);
  });
});

describe("the language of poolings", () => {
  test.each([
    ["avg_pool(8x8,3,0)", "avg_pool(8x8,3,0)"],
    [" max_pool(3, 2, 1) ", "max_pool(3x3,2,1)"],
    ["avg_pool(7)", "avg_pool(7x7,7,0)"],
    ["avg_pool(5x3,4x2,2x1)", "avg_pool(5x3,4x2,2x1)"],
    ["adaptive_max(5x3)", "adaptive_max(5x3)"],
    ["patch_avg(1)", "patch_avg"],
  ])("%s is written %s", (text, canonical) => expect(parsePooling(text).text).toBe(canonical));

  test.each<[VisslPooling, string]>([
    [["AvgPool2d", [[8, 8], 3, 0]], "avg_pool(8x8,3,0)"],
    [["AdaptiveAvgPool2d", [[6, 6]]], "adaptive_avg(6x6)"],
    [["Identity", []], "identity"],
    [["Identity"], "identity"],
  ])("VISSL's %j is %s", (entry, text) => expect(parsePooling(entry).text).toBe(text));

  test("what was written is read as the same", () => {
    const side = fc.integer({ min: 2, max: 9 });
    fc.assert(
      fc.property(side, side, side, fc.constantFrom("avg_pool", "max_pool"), (rows, columns, stride, name) => {
        const { text } = parsePooling(`${name}(${rows}x${columns},${stride},1)`);
        expect(parsePooling(text).text).toBe(text);
      }),
    );
  });

  test.each([
    ["avg_pol(3)", /pooling that exists.*avg_pol/],
    ["avg_pool(3", /a pooling such as/],
    ["avg_pool(a)", /numbers such as/],
    ["avg_pool(3,0)", /stride of at least 1/],
    ["avg_pool(3,1,2)", /padding of at most half/],
    ["avg_pool(3,1,0,1)", /at most 3 arguments/],
    ["avg_pool()", /a kernel/],
    ["avg(2)", /no argument/],
    ["", /a pooling such as/],
  ])("%s is refused", (text, message) => {
    expect(() => parsePooling(text)).toThrow(UserError);
    expect(() => parsePooling(text)).toThrow(message);
  });

  test("names near to a wrong one are told", () => {
    expect(hintOf(() => parsePooling("avg_pol(3)"))).toContain("avg_pool");
    expect(hintOf(() => parsePooling(["AvgPool3d", [2]]))).toContain("AvgPool2d");
  });

  test.each([
    ["avg_pool(8x8,3,0)", [7, 7, 3], /kernel of at most 7/],
    ["avg_pool(8x8,3,0)", [197, 64], /a tap that is a map/],
    ["cls", [7, 7, 3], /a tap of tokens/],
    ["patch_avg(5)", [5, 64], /fewer than the tap's 5 tokens/],
  ])("%s does not fit %j", (text, shape, message) => {
    expect(() => parsePooling(text).outputShape(shape)).toThrow(message);
  });
});

async function numbers(name: string): Promise<{ shape: number[]; data: Float32Array }> {
  const { shape, data } = await readNpy({ file: goldenPath(`pooling/${name}`) });
  return { shape, data: data as Float32Array };
}

function hintOf(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof UserError) return error.hint;
  }
  return undefined;
}
