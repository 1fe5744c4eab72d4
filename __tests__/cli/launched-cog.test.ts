import { cpSync, existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { runHere, start, temporaryFolder } from "../command-line.js";
import { childrenOf, untilGone } from "../processes.js";
import { writeCogFeatures } from "./cog-features.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const inFolder = (...names: string[]) => path.join(folder, ...names);
const tables = (out: string) =>
  ["levels.csv", "levels.md", "levels.svg", "shots.svg"].map((name) => readFileSync(inFolder(out, name), "utf8"));

// WebAssembly starts faster than native TensorFlow, and much is started here.
const grid = ["cog", "--models", "sup_resnet50", "--levels", "l1..l2", "--shots", "all,2", "--device", "wasm", "--search", "random", "--trials", "2", "--epochs", "10", "--seeds", "22,37"]; // prettier-ignore
const launched = [...grid, "--out", "launched", "--launch", "local:2"];
/** With all images: jobs 1 and 3. */
const run = (level: string) => inFolder("launched", "sup", "resnet50", `cog_${level}`, "eval_logreg");
/** The first seed is done, the second not. */
const halfWay = (level: string) => existsSync(path.join(run(level), "training"));
const launchFolder = () => inFolder("launched", readdirSync(inFolder("launched")).find((name) => name.startsWith("launch-"))!); // prettier-ignore
const log = (job: number) => readFileSync(path.join(launchFolder(), "logs", `${job}.log`), "utf8");

beforeAll(() => writeCogFeatures(folder, "sup/resnet50"));

describe("the grid by jobs in processes of this machine", () => {
  test("a job of it killed, then itself, it ends in the bytes of a grid that ran through here", async () => {
    const whole = await runHere("frozen-eval", [...grid, "--out", "whole", "--json", "-q"], folder);
    expect(whole.status).toBe(0);

    const first = start("frozen-eval", launched, folder);
    const jobs = (of = "eval-logreg") => childrenOf(first.child.pid!, of);
    while (!halfWay("l1")) await sleep(5);
    process.kill(jobs("cog_l1/eval_logreg --seeds")[0]!, "SIGKILL");
    // The others go on, but do not outlive the command.
    while (!halfWay("l2")) await sleep(5);
    const left = jobs();
    expect(left.length).toBeGreaterThan(0);
    first.child.kill("SIGKILL");
    await untilGone(left);
    expect(log(3)).toContain("Stopped. The same command goes on where this one was.");
    for (const level of ["l1", "l2"]) expect(existsSync(path.join(run(level), "result.json"))).toBe(false);
    expect(existsSync(inFolder("launched", "levels.csv"))).toBe(false);

    const second = await runHere("frozen-eval", [...launched, "--json"], folder);
    expect(second).toMatchObject({ status: 0, stdout: whole.stdout });
    expect(second.stderr).toMatch(/4 jobs: 8\/8 seeds/);
    expect(tables("launched")).toEqual(tables("whole"));
  });

  test("where all is done, nothing is; a run of other settings is refused before anything is started", async () => {
    const before = [1, 2, 3, 4].map(log);
    const again = await runHere("frozen-eval", [...launched, "-q"], folder);
    expect(again).toMatchObject({ status: 0, stderr: "" });
    expect([1, 2, 3, 4].map(log)).toEqual(before);
    const other = await runHere(
      "frozen-eval",
      launched.map((text) => (text === "10" ? "20" : text)),
      folder,
    );
    expect(other.status).toBe(2);
    expect(other.stderr).toMatch(/error: Expected \S+ to hold this configuration .* epochs is 10 there and 20 here/);
    expect(readdirSync(inFolder("launched")).filter((name) => name.startsWith("launch-"))).toHaveLength(1);
  });

  test("runs whose features are others now are done again", async () => {
    const images = (level: string) => inFolder("features", "sup", "resnet50", level, "features_test", "X_Y.pth");
    const before = [1, 2, 3, 4].map(log);
    const [accuracies] = tables("launched");
    cpSync(images("cog_l1"), images("cog_l2"));
    expect((await runHere("frozen-eval", [...launched, "-q"], folder)).status).toBe(0);
    const changed = [1, 2, 3, 4].filter((job) => log(job) !== before[job - 1]);
    expect(changed).toEqual([3, 4]);
    expect(tables("launched")[0]).not.toBe(accuracies);
  });
});

test.each([
  [["--launch", "slurm", "--dry-run"], "Expected either --launch or --dry-run but received both"],
  [["--launch", "local:2", "--slurm-cpus", "1"], "Expected --slurm-cpus with --launch slurm but received it without"],
])("%j is refused", async (flags, sentence) => {
  const { status, stdout, stderr } = await runHere("frozen-eval", [...grid, ...flags], folder);
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  expect(stderr).toContain(`error: ${sentence}`);
});
