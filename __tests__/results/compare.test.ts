import { existsSync, readFileSync, writeFileSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";

import { UserError } from "../../lib/errors.js";
import { compareRuns } from "../../lib/results/compare.js";
import type { Comparison } from "../../lib/results/comparison.js";
import { comparisonFigure } from "../../lib/results/comparison-figure.js";
import { writeComparison } from "../../lib/results/comparison-files.js";
import { formatComparison } from "../../lib/results/comparison-table.js";
import { mergeLayers } from "../../lib/results/layer-order.js";
import type { ResultRecord } from "../../lib/results/record.js";
import { temporaryFolder } from "../command-line.js";
import { makeRun, type MadeRunOptions } from "./made-run.js";

// Ten thousand resamples a pair, perhaps on a machine that has other work.
jest.setTimeout(60_000);

const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name, "linear");
const make = (name: string, options: Partial<MadeRunOptions> = {}) =>
  makeRun({ out: at(name), name, layers: { block2: 0.5, block10: 0.7 }, ...options });
const compare = (...names: string[]) => compareRuns({ runs: names.map(at) });

async function refusal(...names: string[]): Promise<UserError> {
  const error: unknown = await compare(...names).catch((thrown: unknown) => thrown);
  if (!(error instanceof UserError)) throw new Error(`${names.join(" and ")} were compared`);
  return error;
}

describe("compareRuns", () => {
  beforeAll(async () => {
    await make("weak");
    await make("strong", { layers: { block2: 0.65, block10: 0.85 } });
    await make("middle", { layers: { block2: 0.6, features: 0.78 }, reversed: true });
  });

  test("tells every layer and head of two runs, their best where settings were chosen, and all that they share", async () => {
    const found = await compare("weak", "strong");
    expect(found).toMatchObject({ reference: "weak", images: 300, seeds: [0, 1, 2], metric: "top1", notes: [] });
    expect(found.runs.map(({ name }) => name)).toEqual(["weak", "strong"]);
    // bn_fc has the higher numbers on the reported images, but both were as good where settings were chosen.
    expect(found.runs.map(({ best }) => best)).toEqual([
      { layer: "block10", head: "fc" },
      { layer: "block10", head: "fc" },
    ]);
    const [low, high] = found.runs[0]!.entries[0]!.interval!;
    const { mean } = found.runs[0]!.entries[0]!.metrics.top1!;
    expect(low).toBeLessThan(mean);
    expect(high).toBeGreaterThan(mean);
    expect(found.layers.map(({ layer, head }) => `${layer} ${head}`)).toEqual([
      "block2 fc",
      "block2 bn_fc",
      "block10 fc",
      "block10 bn_fc",
    ]);
    const meanOf = (run: number) => found.runs[run]!.entries[2]!.metrics.top1!.mean;
    expect(found.best[0]!.difference).toBeCloseTo(meanOf(1) - meanOf(0), 12);
    expect(found.best[0]!.interval[0]).toBeGreaterThan(0);
    expect(found.best[0]!.bootstrap.p).toBeLessThan(0.01);
    expect(found.best[0]!.mcNemar.p).toBeLessThan(0.01);
    // One comparison needs no correction; four do.
    expect(found.best[0]!.bootstrap.corrected).toBe(found.best[0]!.bootstrap.p);
    for (const { bootstrap, mcNemar } of found.layers) {
      expect(bootstrap.corrected).toBeGreaterThanOrEqual(bootstrap.p);
      expect(mcNemar.corrected).toBeGreaterThanOrEqual(mcNemar.p);
    }
    for (const { onlyRun, onlyReference, seed } of found.best[0]!.mcNemar.bySeed) {
      const top1 = found.runs.map(({ entries }) => entries[2]!.metrics.top1!.values[found.seeds.indexOf(seed)]!);
      expect((onlyRun - onlyReference) / 300).toBeCloseTo(top1[1]! - top1[0]!, 12);
    }
  });

  test("sets several against the best by the selection metric, image by image in whatever order they stand", async () => {
    const found = await compare("weak", "middle", "strong");
    expect(found.reference).toBe("strong");
    expect(found.best.map(({ run, layer, referenceLayer }) => [run, layer, referenceLayer])).toEqual([
      ["weak", "block10", "block10"],
      ["middle", "features", "block10"],
    ]);
    expect(found.best[0]!.difference).toBeLessThan(0);
    expect(Math.max(...found.best.map(({ bootstrap }) => bootstrap.corrected))).toBeGreaterThanOrEqual(
      Math.max(...found.best.map(({ bootstrap }) => bootstrap.p)),
    );
    expect(found.layers.map(({ run, layer, head }) => `${run} ${layer} ${head}`)).toEqual([
      "weak block2 fc",
      "weak block2 bn_fc",
      "weak block10 fc",
      "weak block10 bn_fc",
      "middle block2 fc",
      "middle block2 bn_fc",
    ]);
  });

  test("a run against its copy: no difference at all, even if its images stand in another order", async () => {
    await fs.cp(at("weak"), at("copy"), { recursive: true });
    await make("turned", { name: "weak", reversed: true });
    for (const other of ["copy", "turned"]) {
      const { best, layers } = await compare("weak", other);
      for (const one of [...best, ...layers]) {
        expect(one).toMatchObject({ difference: 0, interval: [0, 0], bootstrap: { p: 1, corrected: 1 } });
        expect(one.mcNemar).toMatchObject({ p: 1, corrected: 1 });
        expect(one.mcNemar.bySeed.map(({ onlyRun, onlyReference }) => onlyRun + onlyReference)).toEqual([0, 0, 0]);
      }
    }
  });

  test("gives the same under one seed, and other ends under another", async () => {
    const runs = [at("weak"), at("middle")];
    const [one, same, other] = [
      await compareRuns({ runs, seed: 1 }),
      await compareRuns({ runs, seed: 1 }),
      await compareRuns({ runs, seed: 2 }),
    ];
    expect(same).toEqual(one);
    expect(other.best[0]!.difference).toBe(one.best[0]!.difference);
    expect(other.layers.map(({ interval }) => interval)).not.toEqual(one.layers.map(({ interval }) => interval));
  });

  test("takes result.json for its folder, and names runs by what tells their paths apart", async () => {
    const { runs } = await compareRuns({ runs: [path.join(at("weak"), "result.json"), at("strong")] });
    expect(runs.map(({ name }) => name)).toEqual(["weak", "strong"]);
  });

  test("sweeps may differ, and a note says so; seeds may stand in another order", async () => {
    await make("swept", {
      heads: ["fc"],
      seeds: [2, 0, 1],
      change: (record) => (record.settings.optimizer = { lr: [0.1, 0.3] }),
    });
    const { notes, best } = await compare("weak", "swept");
    expect(notes).toEqual(["The sweeps differ: optimizer.lr is [0.1] in weak and [0.1,0.3] in swept."]);
    expect(best[0]!.mcNemar.bySeed.map(({ seed }) => seed)).toEqual([0, 1, 2]);
  });

  test("where nothing was chosen, no best is told, and several stand against the first", async () => {
    for (const name of ["plain a", "plain b", "plain c"]) await make(name, { chosen: false, layers: { block2: 0.5 } });
    const found = await compare("plain b", "plain a", "plain c");
    expect(found.reference).toBe("plain b");
    expect(found.runs.map(({ best }) => best)).toEqual([null, null, null]);
    expect(found.best).toEqual([]);
    expect(found.layers).toHaveLength(4);
    expect(found.notes).toEqual([
      expect.stringContaining("could only be chosen on the reported images"),
      expect.stringContaining("stand against the first run, plain b"),
    ]);
    expect(formatComparison(found, { kind: "text" })).toContain("The same layers and heads against those of plain b");
  });

  test("warns where settings were chosen on what is reported", async () => {
    const tooGood = (record: ResultRecord) => (record.selection.selectedOnReported = true);
    for (const name of ["good a", "good b"]) await make(name, { change: tooGood, heads: ["fc"] });
    expect((await compare("good a", "good b")).notes[0]).toMatch(/^TOO GOOD/);
  });

  test("features of one's own compare by their labels, and a note says so", async () => {
    for (const [i, name] of ["own a", "own b"].entries()) {
      await make(name, {
        heads: ["fc"],
        change: (record) => {
          record.backbone = null;
          record.data.digest = `of features ${i}`;
        },
      });
    }
    expect((await compare("own a", "own b")).notes).toEqual([expect.stringMatching(/^Features of one's own/)]);
  });

  describe("refuses", () => {
    type Change = (record: ResultRecord) => void;
    /** The weak run with another record: no figure has to be drawn again. */
    const change = async (name: string, alter: Change) => {
      await fs.cp(at("weak"), at(name), { recursive: true });
      const file = path.join(at(name), "result.json");
      const record = JSON.parse(readFileSync(file, "utf8")) as ResultRecord;
      alter(record);
      writeFileSync(file, JSON.stringify(record));
    };
    test.each<[string, Change, string, string, string]>([
      ["another protocol", (r) => (r.protocol.id = "svm"), "protocol.id", '"linear"', '"svm"'],
      ["another version", (r) => (r.protocol.version = 2), "protocol.version", "1", "2"],
      ["other data", (r) => (r.data.digest = "ffff"), "data.digest", '"90ab"', '"ffff"'],
      ["other classes", (r) => (r.data.classes.names![1] = "flag"), "data.classes.names", '["animals",', '["animals",'],
      ["a number of classes", (r) => (r.data.classes.count = 5), "data.classes.count", "4", "5"],
      ["other training images", (r) => (r.data.splits.train = 1000), "data.splits.train", "1200", "1000"],
      [
        "another draw",
        (r) => (r.data.splits.how = "drawn by seed 1"),
        "data.splits.how",
        '"drawn',
        '"drawn by seed 1"',
      ],
      ["another choice", (r) => (r.selection.on = "the val split"), "selection.on", '"held-out', '"the val split"'],
      [
        "a choice on the report",
        (r) => (r.selection.selectedOnReported = true),
        "selection.selectedOnReported",
        "false",
        "true",
      ],
      ["more epochs", (r) => (r.settings.epochs = 90), "settings.epochs", "28", "90"],
      ["a setting of later times", (r) => (r.settings.mixup = 0.2), "settings.mixup", "nothing", "0.2"],
      ["live features", (r) => (r.settings.features = "live"), "settings.features", '"stored"', '"live"'],
      [
        "a published protocol",
        (r) => (r.settings.protocol = { id: "x", version: 1 }),
        "settings.protocol",
        "nothing",
        "{",
      ],
    ])("%s", async (name, alter, field, here, there) => {
      await change(name, alter);
      const { message, hint } = await refusal("weak", name);
      expect(message).toContain(`Expected the same ${field} in all runs of a comparison but received ${here}`);
      expect(message).toContain(` in ${path.join(at("weak"), "result.json")} and ${there}`);
      expect(message).toContain(` in ${path.join(at(name), "result.json")}`);
      expect(hint).toBeTruthy();
    });

    test("other seeds", async () => {
      await change("other seeds", (record) => (record.seeds = [0, 1, 5]));
      expect((await refusal("weak", "other seeds")).message).toContain("the same seeds in all runs of a comparison");
    });

    test("other data of a third run", async () => {
      await change("third", (record) => (record.data.digest = "ffff"));
      expect((await refusal("weak", "strong", "third")).message).toContain(at("third"));
    });

    test("one run twice, under whatever path", async () => {
      expect((await refusal("weak", "weak")).message).toContain("each run once");
      await fs.symlink(path.join(folder, "weak"), path.join(folder, "link"));
      expect((await refusal("weak", "link")).hint).toContain(at("weak"));
    });

    test("one run alone, and a folder without a result", async () => {
      expect((await refusal("weak")).message).toContain("Expected two runs or more");
      expect((await refusal("weak", "nowhere")).message).toContain(`Expected a result at ${at("nowhere")}`);
    });

    test("other images under the same digest", async () => {
      await make("other images", {
        changePredictions: (seeds) =>
          seeds.map((one) => ({ ...one, ids: one.ids.map((id, i) => (i === 7 ? "x" : id)) })),
      });
      const { message } = await refusal("weak", "other images");
      expect(message).toContain(`but "x" stands in ${at("other images")}`);
      expect(message).toContain(`and not in ${at("weak")}`);
    });

    test("other labels of the same images", async () => {
      await make("relabelled", {
        changePredictions: (seeds) =>
          seeds.map((one) => {
            const swap = (labels: ArrayLike<number>) => Array.from(labels, (label) => 3 - label);
            return { ...one, targets: swap(one.targets), predicted: swap(one.predicted) };
          }),
      });
      expect((await refusal("weak", "relabelled")).message).toMatch(
        /Expected the same true class of image "animals\/photo, 0.png"/,
      );
    });

    test("fewer images", async () => {
      await make("fewer", {
        images: 299,
        change: (record) => (record.data.splits.test = 300),
      });
      expect((await refusal("weak", "fewer")).message).toContain("the same number of reported images");
    });

    test("predictions of another run", async () => {
      await fs.cp(at("weak"), at("mixed"), { recursive: true });
      await fs.cp(path.join(at("strong"), "predictions"), path.join(at("mixed"), "predictions"), { recursive: true });
      const { message, hint } = await refusal("weak", "mixed");
      expect(message).toMatch(
        /Expected the top-1 of .+ for block2 fc, seed 0, which is 0\.\d+, in its predictions but received/,
      );
      expect(hint).toContain("not of the same run");
    });

    test.each<[string, (text: string) => string, RegExp]>([
      ["no header", (text) => text.slice(text.indexOf("\n") + 1), /Expected the columns seed,id,target/],
      ["an empty file", () => "", /Expected the columns seed,id,target/],
      ["half a line", (text) => text.slice(0, text.lastIndexOf(",")), /Expected seed,id,.* for line 901 of/],
      ["neither right nor wrong", (text) => text.replace(/,[01]\n$/, ",2\n"), /0 or 1 for line 901 of/],
      ["a line less", (text) => text.slice(0, text.trimEnd().lastIndexOf("\n") + 1), /Expected 300 images of seed 2/],
      [
        "a line twice",
        (text) => text + text.trimEnd().slice(text.trimEnd().lastIndexOf("\n") + 1),
        /each image once a seed/,
      ],
      ["a seed less", (text) => text.slice(0, text.indexOf("\n2,") + 1), /Expected seed 2 for the predictions/],
    ])("predictions with %s", async (name, spoil, message) => {
      await fs.cp(at("weak"), at(name), { recursive: true });
      const file = path.join(at(name), "predictions", "block2.fc.csv");
      writeFileSync(file, spoil(readFileSync(file, "utf8")));
      const refused = await refusal("weak", name);
      expect(refused.message).toMatch(message);
      expect(refused.message).toContain(file);
    });

    test("a run whose predictions are gone", async () => {
      await fs.cp(at("weak"), at("gone"), { recursive: true });
      await fs.rm(path.join(at("gone"), "predictions"), { recursive: true });
      expect((await refusal("weak", "gone")).message).toMatch(
        /Expected the predictions of a run at .+ but there is no/,
      );
    });
  });
});

describe("what is told of a comparison", () => {
  let comparison: Comparison;
  beforeAll(async () => {
    for (const name of ["one", "two"]) await make(`of ${name}`, { images: 100 });
    comparison = await compare("of one", "of two");
  });

  test("the table has every run, layer, head and test", () => {
    const text = formatComparison(comparison, { kind: "text" });
    const lines = text.split("\n");
    expect(lines[0]).toBe("2 runs on emoji (linear v1)");
    expect(
      lines.some((line) => /^of one +efficientnet-lite0 \(imagenet\) +block10 +FC +\d\d\.\d ± \d\.\d /.test(line)),
    ).toBe(true);
    expect(lines.some((line) => /^block10 +FC +\* \d\d\.\d ± \d\.\d +\* \d\d\.\d ± \d\.\d$/.test(line))).toBe(true);
    expect(lines.some((line) => /^of two +block2 +BN→FC +[+-]?\d+\.\d +[+-]\d+\.\d … [+-]\d+\.\d +/.test(line))).toBe(
      true,
    );
    expect(text).toContain("10,000 samples, seed 0");
    expect(text).not.toMatch(/NaN|undefined/);
    const markdown = formatComparison(comparison, { kind: "markdown" });
    expect(markdown).toMatch(/^\| layer +\| head +\| top-1 % of one +\|/m);
    expect(markdown).toContain("**The best of each run against the best of of one**");
  });

  test("the figure has a line a run, at the layers' names where all have one architecture", async () => {
    const { svg, png } = await comparisonFigure(comparison);
    for (const text of ["of one", "of two", "block2", "block10", "2 runs on emoji"]) expect(svg).toContain(`>${text}<`);
    expect(svg.match(/aria-roledescription="line mark"/g)).toHaveLength(2);
    expect(svg.match(/aria-roledescription="area mark"/g)).toHaveLength(2);
    expect((await comparisonFigure(comparison)).svg).toBe(svg);
    expect(Buffer.from(png).subarray(1, 4).toString()).toBe("PNG");
  });

  test("the figure goes by relative depth where architectures differ, and has room for many runs", async () => {
    const runs = Array.from({ length: 10 }, (_, i) => {
      const run = comparison.runs[i % 2]!;
      const layers = run.entries.map((entry) => ({ ...entry, layer: `${entry.layer}.of${i}` }));
      return { ...run, name: `run ${i}`, backbone: { ...run.backbone!, arch: `arch ${i}` }, entries: layers };
    });
    const { svg } = await comparisonFigure({ ...comparison, runs });
    for (let i = 0; i < 10; i++) expect(svg).toContain(`>run ${i}<`);
    expect(svg).toContain("depth: place among the layers of the run (%)");
    expect(svg.match(/aria-roledescription="line mark"/g)).toHaveLength(10);
  });

  test("runs that are told by mean AP have a table and a figure, no tests, and a note that says why", async () => {
    // As runs of several labels an image have it.
    const runs = comparison.runs.map((run) => ({
      ...run,
      entries: run.entries.map(({ metrics, ...entry }) => ({
        ...entry,
        metrics: { meanAp: metrics.top1! },
        interval: null,
      })),
    }));
    const several: Comparison = { ...comparison, metric: "meanAp", runs, best: [], layers: [] };
    const text = formatComparison(several, { kind: "text" });
    expect(text).toContain("mean AP %");
    expect(text).not.toMatch(/top-1 %|McNemar|Wilson|bootstrap/);
    expect((await comparisonFigure(several)).svg).toContain("mean AP (%)");
  });

  test("is written whole into a folder", async () => {
    const out = path.join(folder, "compared");
    await writeComparison({ out, comparison });
    expect((await fs.readdir(out)).sort()).toEqual(["compare.json", "compare.md", "compare.png", "compare.svg"]);
    expect(JSON.parse(readFileSync(path.join(out, "compare.json"), "utf8"))).toEqual(comparison);
    expect(readFileSync(path.join(out, "compare.md"), "utf8")).toBe(formatComparison(comparison, { kind: "markdown" }));
    writeFileSync(path.join(folder, "a file"), "");
    await expect(writeComparison({ out: path.join(folder, "a file"), comparison })).rejects.toBeInstanceOf(UserError);
    expect(existsSync(path.join(folder, "a file", "compare.json"))).toBe(false);
  });
});

describe("mergeLayers", () => {
  test.each([
    [
      [
        ["a", "b"],
        ["a", "b"],
      ],
      ["a", "b"],
    ],
    [
      [
        ["block10", "features"],
        ["block2", "features"],
      ],
      ["block2", "block10", "features"],
    ],
    [
      [
        ["a", "c", "d"],
        ["a", "b", "d"],
        ["d", "e"],
      ],
      ["a", "c", "b", "d", "e"],
    ],
    [
      [
        ["a", "b"],
        ["b", "a"],
      ],
      undefined,
    ],
  ])("%j → %j", (orders, merged) => expect(mergeLayers(orders)).toEqual(merged));
});
