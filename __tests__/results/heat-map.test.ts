import sharp from "sharp";

import { sweepFigure, sweepSpec } from "../../lib/results/heat-map.js";
import { sweepLayout } from "../../lib/results/heat-map-layout.js";
import { type ResultRecord, spread, type Trial } from "../../lib/results/record.js";
import { exampleRecord, exampleResult } from "./example.js";

/** What a reader can read, in the order of the drawing. */
function textsOf(svg: string): string[] {
  return [...svg.matchAll(/>([^<>\n]+)</g)].map(([, text]) => text!);
}

function trial(lr: number, weightDecay: number, selection: number | null, change: Partial<Trial> = {}): Trial {
  const measured = selection === null ? null : spread([selection]);
  return { setting: { lr, weightDecay }, selection: measured, diverged: selection === null, epochsRun: 28, ...change };
}

/** A facet a layer; the second trial is chosen. */
function recordOf(layers: string[], trials: Trial[], heads = ["fc"]): ResultRecord {
  const record = exampleRecord();
  record.results = layers.flatMap((layer) =>
    heads.map((head) => ({
      ...exampleResult({ layer, head, top1: [0.7], shape: [64] }),
      trials,
      chosen: trials[1]!.setting,
      selection: trials[1]!.selection,
    })),
  );
  return record;
}

const grid = [
  trial(0.01, 0, 0.5),
  trial(0.1, 0, 0.625),
  trial(1, 0, null),
  trial(0.01, 1e-4, 0.45, { epochsRun: 6 }),
  trial(0.1, 1e-4, 0.6),
];

describe("sweepFigure", () => {
  test("tells each setting's score, what was chosen, what diverged, stopped and was not run", async () => {
    const { svg } = (await sweepFigure(recordOf(["block4"], grid)))!;
    expect(textsOf(svg)).toEqual([
      "0",
      "2.5",
      "5",
      "7.5",
      "≥ 10",
      "points below the best of the facet",
      "×",
      "50.0",
      "62.5",
      "60.0",
      "block4 · FC",
      "62.5 % at lr 0.1, wd 0",
      "0.01",
      "0.1",
      "1",
      "learning rate",
      "0",
      "1e-4",
      "wd",
      "The sweep: efficientnet-lite0 (imagenet) on emoji",
      "chosen on held-out val by top-1, reported on test",
      "ringed: chosen · small: stopped early · ×: diverged · grey: not run",
    ]);
    expect(svg).not.toMatch(/NaN|undefined/);
    expect(svg.match(/stroke="#e69f00"/g)).toHaveLength(1);
  });

  test("draws the best over the other dimensions", async () => {
    const trials = [trial(0.01, 0, 0.4), trial(0.1, 0, 0.7)].flatMap((one) => [
      { ...one, setting: { ...one.setting, momentum: 0 }, selection: spread([0.3]) },
      { ...one, setting: { ...one.setting, momentum: 0.9 } },
      { ...one, setting: { ...one.setting, momentum: 0.99 }, selection: null, diverged: true },
    ]);
    const texts = textsOf((await sweepFigure(recordOf(["a"], trials)))!.svg);
    expect(texts).toEqual(expect.arrayContaining(["40.0", "70.0"]));
    expect(texts).not.toContain("30.0");
    expect(texts).not.toContain("×");
  });

  test("draws what is no grid as points on logarithmic axes, with a place for no decay", async () => {
    const drawn = Array.from({ length: 12 }, (_, i) =>
      trial(1e-3 * 1.7 ** i, i % 3 === 0 ? 0 : 1e-5 * 2.3 ** i, 0.5 + i / 100),
    );
    const { svg } = (await sweepFigure(recordOf(["a", "b"], drawn)))!;
    const texts = textsOf(svg);
    expect(texts).toEqual(expect.arrayContaining(["0.001", "0.01", "0.1", "0", "1e-4"]));
    expect(texts).not.toContain("50.0");
    expect(svg.match(/aria-roledescription="point"/g)).toHaveLength(2 * (12 + 1));
  });

  test.each([1, 3, 24])("names all of %i layers and keeps the heads side by side", async (count) => {
    const layers = Array.from({ length: count }, (_, i) => `blocks.${i}.mlp`);
    const { svg } = (await sweepFigure(recordOf(layers, grid, ["fc", "bn_fc"])))!;
    const texts = textsOf(svg);
    for (const layer of layers) expect(texts).toEqual(expect.arrayContaining([`${layer} · FC`, `${layer} · BN→FC`]));
    expect(svg.match(/stroke="#e69f00"/g)).toHaveLength(2 * count);
  });

  test("is the same text and pixels each time, and a PNG of twice the size", async () => {
    const [one, two] = [(await sweepFigure(recordOf(["a"], grid)))!, (await sweepFigure(recordOf(["a"], grid)))!];
    expect(two.svg).toBe(one.svg);
    expect(Buffer.compare(two.png, one.png)).toBe(0);
    const [, width] = /<svg[^>]* width="([\d.]+)"/.exec(one.svg)!.map(Number);
    expect((await sharp(one.png).metadata()).width).toBe(Math.round(2 * width!));
  });

  test.each<[string, Trial[]]>([
    ["one trial", [trial(0.1, 0, 0.5), trial(0.1, 0, 0.5)]],
    ["trials without a learning rate", [0.1, 1, 10].map((cost) => ({ ...trial(1, 0, 0.5), setting: { cost } }))],
    ["nothing that was measured", [trial(0.1, 0, null), trial(1, 0, null)]],
  ])("is not drawn for %s", (_, trials) => {
    expect(sweepSpec(recordOf(["a"], trials))).toBeUndefined();
  });
});

describe("sweepLayout", () => {
  const facet = (rates: number[], decays: number[]) => ({
    title: "a",
    subtitle: "b",
    places: rates.flatMap((lr) => decays.map((weightDecay) => ({ lr, weightDecay }))),
  });
  const many = Array.from({ length: 17 }, (_, i) => 10 ** (-i / 4));

  test("has cells for a grid, points where it has holes or is too wide", () => {
    expect(sweepLayout({ facets: [facet([0.1, 1], [0, 1e-4])], heads: 1 }).cells).toBe(true);
    expect(sweepLayout({ facets: [facet(many, [0])], heads: 1 }).cells).toBe(false);
    const diagonal = { ...facet([], []), places: [1, 2, 3, 4].map((i) => ({ lr: i, weightDecay: i })) };
    expect(sweepLayout({ facets: [diagonal], heads: 1 }).cells).toBe(false);
  });

  test("has columns for whole layers", () => {
    const facets = Array.from({ length: 24 }, () => facet([0.1, 1, 2, 3, 4], [0, 1e-4]));
    for (const heads of [1, 2, 3]) expect(sweepLayout({ facets, heads }).columns % heads).toBe(0);
  });
});
