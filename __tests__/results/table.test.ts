import { spread } from "../../lib/results/record.js";
import { formatTable } from "../../lib/results/table.js";
import { fileNameOf, settingText } from "../../lib/results/wording.js";
import { exampleRecord } from "./example.js";

describe("formatTable", () => {
  test("shows layers × heads on a terminal", () => {
    expect(`\n${formatTable(exampleRecord(), { kind: "text" })}`).toBe(`
efficientnet-lite0 (imagenet) on emoji

                 FC                                       BN→FC
layer     width     top-1 %     top-5 %  chosen                top-1 %     top-5 %  chosen
────────  ─────  ──────────  ──────────  ───────────────  ────────────  ──────────  ───────────────
block4      720  52.0 ± 0.8  76.0 ± 0.4  lr 0.1, wd 1e-4    55.0 ± 0.8  77.5 ± 0.4  lr 0.1, wd 1e-4
block10     768  70.0 ± 0.8  85.0 ± 0.4  lr 0.1, wd 1e-4  * 73.0 ± 0.4  86.5 ± 0.2  lr 0.1, wd 1e-4
features   1280  69.0 ± 0.8  84.5 ± 0.4  lr 0.1, wd 1e-4    70.0 ± 0.8  85.0 ± 0.4  lr 0.1, wd 1e-4
────────  ─────  ──────────  ──────────  ───────────────  ────────────  ──────────  ───────────────

Chosen on held-out val by top-1, reported on test; seeds 0, 1, 2 (± population standard deviation); 1,200 train, 300 val, 300 test images; 4 classes, largest class 31.0 %.
`);
  });

  test("shows the same in Markdown", () => {
    expect(`\n${formatTable(exampleRecord(), { kind: "markdown" })}`).toBe(`
**efficientnet-lite0 (imagenet) on emoji**

| layer    | width | FC top-1 % | FC top-5 % | FC chosen       |  BN→FC top-1 % | BN→FC top-5 % | BN→FC chosen    |
| -------- | ----: | ---------: | ---------: | --------------- | -------------: | ------------: | --------------- |
| block4   |   720 | 52.0 ± 0.8 | 76.0 ± 0.4 | lr 0.1, wd 1e-4 |     55.0 ± 0.8 |    77.5 ± 0.4 | lr 0.1, wd 1e-4 |
| block10  |   768 | 70.0 ± 0.8 | 85.0 ± 0.4 | lr 0.1, wd 1e-4 | **73.0 ± 0.4** |    86.5 ± 0.2 | lr 0.1, wd 1e-4 |
| features |  1280 | 69.0 ± 0.8 | 84.5 ± 0.4 | lr 0.1, wd 1e-4 |     70.0 ± 0.8 |    85.0 ± 0.4 | lr 0.1, wd 1e-4 |

Chosen on held-out val by top-1, reported on test; seeds 0, 1, 2 (± population standard deviation); 1,200 train, 300 val, 300 test images; 4 classes, largest class 31.0 %.
`);
  });

  test("shows one seed without a spread, a missing head as a gap, and two decimals where images are many", () => {
    const record = exampleRecord();
    record.seeds = [7];
    record.data.splits.test = 50_000;
    delete record.data.majorityRate;
    record.results = record.results.slice(0, 3).map((result) => ({
      ...result,
      metrics: { top1: spread([result.metrics.top1!.mean]) },
      selection: spread([0.5]),
    }));
    expect(`\n${formatTable(record, { kind: "text" })}`).toBe(`
efficientnet-lite0 (imagenet) on emoji

                FC                        BN→FC
layer    width  top-1 %  chosen           top-1 %  chosen
───────  ─────  ───────  ───────────────  ───────  ───────────────
block4     720    52.00  lr 0.1, wd 1e-4    55.00  lr 0.1, wd 1e-4
block10    768  * 70.00  lr 0.1, wd 1e-4
───────  ─────  ───────  ───────────────  ───────  ───────────────

Chosen on held-out val by top-1, reported on test; seed 7; 1,200 train, 300 val, 50,000 test images; 4 classes, chance 25.0 %.
`);
  });

  test("says so where settings were chosen on what is reported, and where images were skipped", () => {
    const record = exampleRecord();
    record.selection = { on: "test", metric: "top1", reportedOn: "test", selectedOnReported: true };
    record.badImages = { skipped: 1, list: [{ id: "a.png", reason: "empty" }] };
    const table = formatTable(record, { kind: "text" });
    expect(table).toContain("Chosen on test by top-1, reported on test (the same images: TOO GOOD);");
    expect(table).toContain("; 1 unreadable image skipped.");
  });

  test("tells what is to be known of single results, equal remarks once", () => {
    const record = exampleRecord();
    record.results[0]!.converged = false;
    record.results[1]!.converged = false;
    record.results[2]!.notes = ["the best lr was the largest tried."];
    expect(formatTable(record, { kind: "markdown" })).toContain(
      "\n\n- Training had not come to rest: block4 FC, block4 BN→FC\n- The best lr was the largest tried: block10 FC\n",
    );
  });

  test("keeps a column's bar from breaking Markdown", () => {
    const record = exampleRecord();
    record.results.forEach((result) => (result.layer = "a|b"));
    expect(formatTable(record, { kind: "markdown" })).toContain("| a\\|b");
  });

  test("is bold in colour, and aligned as without", () => {
    const table = formatTable(exampleRecord(), { kind: "text", color: true });
    expect(table).toContain("\u001b[1m* 73.0 ± 0.4\u001b[22m");
    expect(table.replaceAll(/\u001b\[\d+m/g, "")).toBe(formatTable(exampleRecord(), { kind: "text" }));
  });
});

test.each([
  [{ lr: 0.1, weightDecay: 1e-4 }, "lr 0.1, wd 1e-4"],
  [{ lr: 10, weightDecay: 0 }, "lr 10, wd 0"],
  [{ lr: 0.1 + 0.2, schedule: "cosine", nesterov: true }, "lr 0.3, schedule cosine, nesterov true"],
])("settingText(%j) is %s", (setting, text) => {
  expect(settingText(setting)).toBe(text);
});

test("fileNameOf gives different layers different names that any file system takes", () => {
  expect(fileNameOf({ layer: "block4", head: "fc" })).toBe("block4.fc");
  expect(fileNameOf({ layer: "res4:avg_pool(8x8,3,0)", head: "bn_fc" })).toBe("res4~avg_pool(8x8,3,0).bn_fc");
  const layers = ["a:b", "a/b", "a~b", "a+b", "a b", "a-b", "..", "x".repeat(300), "x".repeat(301)];
  const names = layers.map((layer) => fileNameOf({ layer, head: "fc" }));
  expect(new Set(names).size).toBe(layers.length);
  for (const name of names) expect(name).toMatch(/^[\w.,()=~+-]{1,170}$/);
});
