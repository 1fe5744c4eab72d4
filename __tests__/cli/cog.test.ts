import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import { type GridOptions, gridRuns } from "../../lib/protocols/cog/grid.js";
import { finishedSeeds, runArguments } from "../../lib/protocols/cog/grid-jobs.js";
import type { LevelResult } from "../../lib/results/levels.js";
import { parseRecord } from "../../lib/results/record.js";
import { device, run, runHere, start, temporaryFolder } from "../command-line.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";
import { writeCogFeatures } from "./cog-features.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const inFolder = (...names: string[]) => path.join(folder, ...names);
const text = (...names: string[]) => readFileSync(inFolder(...names), "utf8");
const refusal = async (...argv: string[]) => {
  const { status, stderr } = await runHere("frozen-eval", argv, folder);
  expect(status).toBe(2);
  return stderr;
};

const brief = [
  ...["--search", "random", "--trials", "2", "--epochs", "3", "--penalties", "1e-4,1e-5", "--seeds", "22,37"],
  ...["--device", device],
];
const grid = (out: string) => [
  "cog",
  ...["--models", "sup_resnet50", "--levels", "l1..l2", "--shots", "all,2", "--out", out],
  ...brief,
];

beforeAll(() => {
  for (const model of ["sup/resnet50", "own/net"]) writeCogFeatures(folder, model);
});

describe("the grid", () => {
  test("killed and called again gives what one that ran through gives", async () => {
    const whole = await run("frozen-eval", [...grid("whole"), "--json", "-q"], folder);
    expect({ status: whole.status, stderr: whole.stderr }).toEqual({ status: 0, stderr: "" });

    const { child, ended } = start("frozen-eval", grid("killed"), folder);
    child.stderr!.on("data", (told: string) => {
      if (told.includes("run 3 of 4")) child.kill("SIGKILL");
    });
    expect((await ended).status).toBeNull();
    expect(existsSync(inFolder("killed", "levels.csv"))).toBe(false);
    const plan = await runHere("frozen-eval", [...grid("killed"), "--dry-run", "--json", "-q"], folder);
    const { missing, seconds, ...rest } = JSON.parse(plan.stdout) as { missing: number; seconds: number };
    expect(rest).toEqual({ runs: 4, seeds: 2 });
    expect(missing).toBeGreaterThanOrEqual(2);
    expect(missing).toBeLessThan(4);
    expect(seconds).toBeGreaterThan(0);

    // A run may be done as a command of its own, and counts as the grid's.
    const options: GridOptions = {
      models: [{ name: "sup_resnet50", title: "sup", arch: "resnet50" }],
      ...{ levels: ["l2"], shots: [2], featuresRoot: "features", out: "killed" },
      protocol: { search: "random", trials: 2, epochs: 3, penalties: [1e-4, 1e-5], seeds: [22, 37] },
    };
    const [last] = gridRuns(options);
    const there = { ...last!, features: inFolder(last!.features), out: inFolder(last!.out) };
    expect(await finishedSeeds(there, options)).toBe(0);
    const argv = (await runArguments(there, options)).map((value) => value.replace(`${folder}/`, ""));
    expect((await runHere("frozen-eval", [...argv, "--device", device, "-q"], folder)).status).toBe(0);
    expect(await finishedSeeds(there, options)).toBe(2);
    const written = text("killed", "sup", "resnet50", "cog_l2", "eval_logreg-N2", "result.json");

    const again = await runHere("frozen-eval", [...grid("killed"), "-q"], folder);
    expect(again.status).toBe(0);
    expect(text("killed", "levels.csv")).toBe(text("whole", "levels.csv"));
    expect(text("killed", "sup", "resnet50", "cog_l2", "eval_logreg-N2", "result.json")).toBe(written);

    const results = JSON.parse(whole.stdout) as LevelResult[];
    expect(results.map(({ model, level, shots }) => [model, level, shots])).toEqual(
      ["l1", "l2"].flatMap((level) => [null, 2].map((shots) => ["sup_resnet50", level, shots])),
    );
    const [first] = results;
    expect(text("whole", "levels.csv").split("\n")[1]).toBe(
      [
        "sup_resnet50,l1,all,22",
        first!.top1.values[0],
        first!.top5!.values[0],
        ...Object.values(first!.chosen[0]!),
      ].join(),
    );
    expect(text("whole", "levels.md")).toContain("**2 of each class**");
    for (const name of ["levels.svg", "shots.svg"]) expect(text("whole", name)).toContain("sup_resnet50");
    // Of finished runs another method's numbers are shown, and nothing is done again.
    const shown = await runHere("frozen-eval", [...grid("whole"), "--show", "lbfgs", "-q"], folder);
    expect(shown.status).toBe(0);
    expect(text("whole", "levels.csv").split("\n")[0]).toBe("model,level,shots,seed,top1,top5,penalty");
    expect(text("whole", "levels.md")).toContain("Top-1 in percent of logistic regression, L-BFGS: mean");
    expect(await refusal(...grid("whole"), "--methods", "sgd", "--show", "lbfgs")).toMatch(
      /^error: Expected one of --methods \(sgd\) for --show but received "lbfgs"/,
    );
    // Each run is one of eval-logreg, in CoG's layout.
    const own = inFolder("whole", "sup", "resnet50", "cog_l2", "eval_logreg-N2");
    const { stdout } = await runHere("frozen-eval", ["print-results", own, "--epochs", "3"], folder);
    expect(stdout).toContain(`test/top1: ${(100 * results[3]!.top1.mean).toFixed(1)} ± `);
  });

  test("is refused in a sentence where something is missing", async () => {
    expect(await refusal("cog", "--models", "sup_resnet50", ...brief)).toMatch(
      /^error: Expected features of sup_resnet50 on in1k in features\/sup\/resnet50\/in1k but there are none, nor in 3 other folders\nnpx frozen-eval extract-features --backbone models\/sup\/resnet50 --data in1k:DIR/,
    );
    expect(await refusal("cog", "--models", "sup_resnet55")).toMatch(/^error: Expected a name of the zoo but received "sup_resnet55"\nDid you mean/); // prettier-ignore
    expect(await refusal("cog", "--models", "resnet50")).toMatch(
      /^error: Expected a name such as sup_resnet50 for a model/,
    );
    expect(await refusal("cog", "--models", "dino_resnet50", "--levels", "l1")).toMatch(/^error: Expected features of dino_resnet50 on l1/); // prettier-ignore
    expect(await refusal("cog", "--models", "own_net", "--levels", "l3..l1")).toMatch(/^error: Expected rising levels such as l1\.\.l5/); // prettier-ignore
    expect(await refusal("cog", "--models", "own_net", "--levels", "l1", "--shots", "500", ...brief)).toMatch(/^error: Expected at least 500 training images|\nerror: Expected at least 500/m); // prettier-ignore
  });
});

describe("eval-logreg", () => {
  test("evaluates features, tells a table, and does a finished run not again", async () => {
    const argv = ["eval-logreg", "--features", "features/sup/resnet50/cog_l1", ...brief, "--out", "one"];
    const first = await runHere("frozen-eval", argv, folder);
    expect(first.status).toBe(0);
    expect(first.stdout).toMatch(/logistic regression +logistic regression, L-BFGS\nlayer +width +top-1 % +top-5 %/);
    expect(first.stdout).toContain("Chosen on held-out 20 % of train by top-1, reported on test; seeds 22, 37");
    const written = text("one", "result.json");
    expect((await runHere("frozen-eval", argv, folder)).stdout).toBe(first.stdout);
    expect(text("one", "result.json")).toBe(written);
    expect(await refusal(...argv, "--val-fraction", "0.3")).toMatch(/valFraction is 0\.2 there and 0\.3 here/);
  });

  test("goes from images of a level of one's own to the table", async () => {
    await writeSmallBackbone({ root: inFolder("models") });
    await writeSmallImages({ folder: inFolder("photos"), count: 8 });
    const concepts = readdirSync(inFolder("photos"));
    writeFileSync(inFolder("levels.csv"), ["concept,level", ...concepts.map((name) => `${name},near`)].join("\n"));
    const argv = ["eval-logreg", "--backbone", "models/small/convnet", "--data", "levels:photos,levels.csv,near"];
    const { status, stdout } = await runHere("frozen-eval", [...argv, "--layers", "features", ...brief, "--json", "-q"], folder); // prettier-ignore
    expect(status).toBe(0);
    const record = parseRecord(JSON.parse(stdout), "of the test");
    expect(record.backbone!.transform).toMatch(/^resize\((\d+),bicubic\)\|center_crop\(\1\)\|normalize/);
    expect(record.data).toMatchObject({ name: "levels_near", classes: { count: concepts.length } });
    expect(record.results[0]!.metrics.top1!.values).toHaveLength(2);
    // What was extracted stands where the grid looks for it.
    const cell = [
      "cog",
      "--models",
      "small_convnet",
      "--levels",
      "levels_near",
      "--layer",
      "features",
      "--out",
      "own",
      ...brief,
    ];
    expect((await runHere("frozen-eval", [...cell, "-q"], folder)).stdout).toContain("levels_near");
  });

  test("is refused in a sentence where something is missing", async () => {
    expect(await refusal("eval-logreg", "--features", "nowhere")).toMatch(/^error: Expected features at nowhere but there is no such folder/); // prettier-ignore
    expect(await refusal("eval-logreg", "--backbone", "b")).toMatch(/--data/);
    expect(await refusal("eval-logreg", "--features", "a", "--data", "b:c")).toMatch(/either --features or --data/);
    expect(await refusal("print-results", "features")).toMatch(
      /^error: Expected finished seeds in features but there is none/,
    );
  });
});
