import type { SplitName } from "../../lib/datasets/dataset.js";
import { arraySource } from "../../lib/features/array-source.js";
import type { FeatureSource } from "../../lib/features/source.js";
import type { SplitOptions } from "../../lib/protocols/splits.js";
import { planSplits } from "../../lib/protocols/splits.js";

async function source(n: number): Promise<FeatureSource> {
  const labels = Int32Array.from({ length: n }, (_, i) => i % 4);
  return arraySource({ layers: { a: { shape: [1], data: new Float32Array(n) } }, targets: { kind: "single", labels } });
}

async function plan(names: SplitName[], options: Partial<SplitOptions> = {}) {
  const splits: SplitOptions["splits"] = {};
  for (const name of names) splits[name] = await source(name === "train" || name === "all" ? 100 : 20);
  const made = planSplits({ splits, valFraction: 0.1, testFraction: 0.2, splitSeed: 0, choice: true, ...options });
  const nameOf = (part?: { source: FeatureSource }) => names.find((name) => splits[name] === part?.source);
  return { ...made, names: [nameOf(made.train), nameOf(made.select), nameOf(made.report)] };
}

describe("who is trained, chosen and reported on what", () => {
  test.each<[SplitName[], SplitName[], [number, number, number]]>([
    [
      ["train", "val", "test"],
      ["train", "val", "test"],
      [100, 20, 20],
    ],
    [
      ["train", "test"],
      ["train", "train", "test"],
      [90, 10, 20],
    ],
    [
      ["train", "val"],
      ["train", "train", "val"],
      [90, 10, 20],
    ],
    [["train"], ["train", "train", "train"], [72, 8, 20]],
    [["all"], ["all", "all", "all"], [72, 8, 20]],
  ])("data with %j", async (names, wanted, sizes) => {
    const { names: found, train, select, report, selection } = await plan(names);
    expect(found).toEqual(wanted);
    expect([train.rows.length, select!.rows.length, report.rows.length]).toEqual(sizes);
    expect(selection.selectedOnReported).toBe(false);
  });

  test("parts of one source never share an image, and hold each class", async () => {
    const { train, select, report } = await plan(["all"]);
    const rows = [...train.rows, ...select!.rows, ...report.rows];
    expect(new Set(rows).size).toBe(100);
    for (const part of [train, select!, report]) expect(new Set(Array.from(part.rows, (row) => row % 4)).size).toBe(4);
  });

  test("the choice is made on the reported split only where the user asks for it, and the plan says so", async () => {
    const { selection } = await plan(["train", "val"], { selectOn: "val", reportOn: "val" });
    expect(selection).toEqual({ on: "the val split", reportedOn: "val", selectedOnReported: true });
  });

  test("nothing is held out where there is nothing to choose", async () => {
    const { train, select, selection } = await plan(["train", "test"], { choice: false });
    expect([train.rows.length, select]).toEqual([100, undefined]);
    expect(selection.on).toBeNull();
  });

  test("another seed draws other images, the same seed the same", async () => {
    const [a, b, c] = await Promise.all([plan(["all"]), plan(["all"]), plan(["all"], { splitSeed: 1 })]);
    expect([...a.report.rows]).toEqual([...b.report.rows]);
    expect([...a.report.rows]).not.toEqual([...c.report.rows]);
  });

  test("what the data lacks is named", async () => {
    await expect(plan(["train", "test"], { selectOn: "val" })).rejects.toThrow("Expected a val split to choose on");
    await expect(plan(["train", "test"], { reportOn: "val" })).rejects.toThrow("Expected a val split to report on");
    await expect(plan(["val"])).rejects.toThrow("Expected a train split");
    await expect(plan(["train", "test"], { valFraction: 0 })).rejects.toThrow(
      "Expected a number above 0 for --val-fraction",
    );
  });
});
