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
const grid = ["cog", "--models", "sup_resnet50", "--levels", "l1..l2", "--shots", "all,2", "--device", "wasm", "--search", "random", "--trials", "2", "--epochs", "20", "--seeds", "22,37"]; // prettier-ignore
const launched = [...grid, "--out", "launched", "--launch", "local:2"];
const run = (level: string, name: string) => inFolder("launched", "sup", "resnet50", `cog_${level}`, name);
/** The first seed is done, the second not. */
const halfWay = (level: string, name: string) => existsSync(path.join(run(level, name), "training"));
const launchFolder = () => inFolder("launched", readdirSync(inFolder("launched")).find((name) => name.startsWith("launch-"))!); // prettier-ignore
const log = (job: number) => readFileSync(path.join(launchFolder(), "logs", `${job}.log`), "utf8");

beforeAll(() => writeCogFeatures(folder, "sup/resnet50"));

describe("the grid by jobs in processes of this machine", () => {
  test("killed, and a job of it killed, it ends in the bytes of a grid that ran through here", async () => {
    const whole = await runHere("frozen-eval", [...grid, "--out", "whole", "--json", "-q"], folder);
    expect(whole.status).toBe(0);

    // Its jobs do not outlive it.
    const first = start("frozen-eval", launched, folder);
    while (!halfWay("l1", "eval_logreg")) await sleep(5);
    const jobs = childrenOf(first.child.pid!, "eval-logreg");
    expect(jobs).toHaveLength(2);
    first.child.kill("SIGKILL");
    await untilGone(jobs);
    expect(log(1)).toContain("Stopped. The same command goes on where this one was.");
    expect(existsSync(inFolder("launched", "levels.csv"))).toBe(false);

    const second = start("frozen-eval", launched, folder);
    while (!halfWay("l2", "eval_logreg")) await sleep(5);
    const [job] = childrenOf(second.child.pid!, run("l2", "eval_logreg").slice(folder.length + 1));
    process.kill(job!, "SIGKILL");
    const failed = await second.ended;
    expect({ status: failed.status, stdout: failed.stdout }).toEqual({ status: 2, stdout: "" });
    expect(failed.stderr).toMatch(/error: Expected 4 jobs to finish but job 3 \(sup_resnet50 on l2, all images\) ended: SIGKILL/); // prettier-ignore
    expect(failed.stderr).toContain("The same command does only what is missing.");
    expect(existsSync(inFolder("launched", "levels.csv"))).toBe(false);
    const others = [1, 2, 4].map(log);

    const third = await runHere("frozen-eval", [...launched, "--json"], folder);
    expect(third).toMatchObject({ status: 0, stdout: whole.stdout });
    expect(third.stderr).toMatch(/4 jobs: 8\/8 seeds/);
    expect([1, 2, 4].map(log)).toEqual(others);
    expect(tables("launched")).toEqual(tables("whole"));
  });

  test("where all is done, nothing is; a run of other settings is refused before anything is started", async () => {
    const before = [1, 2, 3, 4].map(log);
    const again = await runHere("frozen-eval", [...launched, "-q"], folder);
    expect(again).toMatchObject({ status: 0, stderr: "" });
    expect([1, 2, 3, 4].map(log)).toEqual(before);
    const other = await runHere("frozen-eval", [...launched, "--trials", "3"], folder);
    expect(other.status).toBe(2);
    expect(other.stderr).toMatch(/error: Expected \S+ to hold this configuration .* trials is 2 there and 3 here/);
    expect(readdirSync(inFolder("launched")).filter((name) => name.startsWith("launch-"))).toHaveLength(1);
  });

  test("runs whose features are others now are done again", async () => {
    const images = (level: string) => inFolder("features", "sup", "resnet50", level, "features_test", "X_Y.pth");
    const before = tables("launched");
    cpSync(images("cog_l1"), images("cog_l2"));
    const launchedAgain = await runHere("frozen-eval", [...launched, "-q"], folder);
    expect(launchedAgain.status).toBe(0);
    expect((await runHere("frozen-eval", [...grid, "--out", "whole", "-q"], folder)).status).toBe(0);
    expect(tables("launched")).toEqual(tables("whole"));
    expect(tables("launched")).not.toEqual(before);
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
