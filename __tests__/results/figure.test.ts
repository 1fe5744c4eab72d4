import sharp from "sharp";

import { depthFigure } from "../../lib/results/figure.js";
import { depthLayout } from "../../lib/results/figure-layout.js";
import type { ResultRecord } from "../../lib/results/record.js";
import { exampleRecord, exampleResult } from "./example.js";

/** What a reader can read, in the order of the drawing. */
function textsOf(svg: string): string[] {
  return [...svg.matchAll(/>([^<>\n]+)</g)].map(([, text]) => text!);
}

function deepRecord(layers: number, heads: string[]): ResultRecord {
  const record = exampleRecord();
  record.results = Array.from({ length: layers }, (_, i) => `blocks.${i}.mlp`).flatMap((layer, i) =>
    heads.map((head, h) =>
      exampleResult({ layer, head, shape: [64], top1: [0, 1, 2].map((seed) => 0.3 + (i + h + seed) / 200) }),
    ),
  );
  return record;
}

describe("depthFigure", () => {
  test("tells layers, heads, the best point, the baseline and where the numbers come from", async () => {
    const { svg } = await depthFigure(exampleRecord());
    expect([...new Set(textsOf(svg))]).toEqual([
      "block4",
      "block10",
      "features",
      "0",
      "10",
      "20",
      "30",
      "40",
      "50",
      "60",
      "70",
      "80",
      "top-1 accuracy (%)",
      "largest class 31.0 %",
      "block10: 73.0 %",
      "FC",
      "BN→FC",
      "efficientnet-lite0 (imagenet) on emoji",
      "linear v1 · seeds 0, 1, 2 (band: ± 1 std)",
      "1,200 train, 300 val, 300 test images; top-1 on test",
    ]);
    expect(svg).not.toContain("NaN");
  });

  test("is the same text and the same pixels each time", async () => {
    const [one, two] = [await depthFigure(exampleRecord()), await depthFigure(exampleRecord())];
    expect(two.svg).toBe(one.svg);
    expect(Buffer.compare(two.png, one.png)).toBe(0);
  });

  test("is a PNG of twice the size, white at its edges, with letters in it", async () => {
    const { svg, png } = await depthFigure(exampleRecord());
    expect(Buffer.from(png.subarray(0, 8)).toString("latin1")).toBe("\x89PNG\r\n\x1a\n");
    const [, width, height] = /<svg[^>]* width="([\d.]+)" height="([\d.]+)"/.exec(svg)!.map(Number);
    const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([Math.round(2 * width!), Math.round(2 * height!)]);
    const dark = (top: number, bottom: number) =>
      data.subarray(top * info.width * 3, bottom * info.width * 3).filter((value) => value < 100).length;
    expect(dark(0, 20)).toBe(0);
    // The title is here: nothing would be dark if the font had not been found.
    expect(dark(30, 90)).toBeGreaterThan(500);
  });

  test.each([
    [1, ["fc"]],
    [3, ["fc", "bn_fc"]],
    [60, ["fc", "bn_fc", "mlp", "svm", "knn", "logreg"]],
  ])("names all of %i layers and the heads %j", async (layers, heads) => {
    const record = deepRecord(layers, heads);
    const { svg } = await depthFigure(record);
    const texts = textsOf(svg);
    for (let i = 0; i < layers; i++) expect(texts).toContain(`blocks.${i}.mlp`);
    expect(svg.match(/aria-roledescription="line mark"/g)).toHaveLength(heads.length);
    expect(svg.match(/aria-roledescription="point"/g)!.length).toBeGreaterThanOrEqual(layers * heads.length);
  });

  test("warns where settings were chosen on what is reported", async () => {
    const record = exampleRecord();
    record.selection.selectedOnReported = true;
    expect(textsOf((await depthFigure(record)).svg)).toContain(
      "TOO GOOD: settings were chosen on the images reported here",
    );
  });
});

describe("depthLayout", () => {
  const values = [
    { low: 70, high: 71 },
    { low: 74, high: 75 },
  ];
  const rest = { layers: ["a", "b"], title: "t", warned: false };

  test("leaves the baseline out where it would press the lines together", () => {
    expect(depthLayout({ ...rest, values, baseline: 10 })).toMatchObject({ showsBaseline: false });
    expect(depthLayout({ ...rest, values, baseline: 10 }).domain[0]).toBe(68);
    expect(depthLayout({ ...rest, values: [...values, { low: 30, high: 31 }], baseline: 10 })).toMatchObject({
      showsBaseline: true,
    });
  });

  test("slants names that would touch, and makes room for them", () => {
    const short = depthLayout({ ...rest, values, baseline: 10 });
    const long = depthLayout({ ...rest, layers: ["a", "b".repeat(60)], values, baseline: 10 });
    expect(short.labelAngle).toBe(0);
    expect(long.labelAngle).toBe(-40);
    expect(long.padding.bottom).toBeGreaterThan(short.padding.bottom + 200);
  });
});
