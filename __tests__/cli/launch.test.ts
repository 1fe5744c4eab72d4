import { existsSync, readdirSync, readFileSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";

import { launcher, runHere, start, startProcess, temporaryFolder } from "../command-line.js";
import { filesOf } from "../features/synthetic.js";
import { processWith, until } from "../processes.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeDigits } from "./digits.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
// WebAssembly starts faster than native TensorFlow, and much is started here.
const argv = ["extract-features", "--backbone", "models/small/convnet", "--data", "mnist:digits", "--device", "wasm", "--layers", "block1,features"]; // prettier-ignore
const launch = (root: string, place = "local:2") => [...argv, "--features-root", root, "--launch", place];
const place = (root: string) => path.join(folder, root, "small", "convnet", "digits");
const features = async (root: string) => ({
  train: await filesOf(path.join(place(root), "features_train")),
  test: await filesOf(path.join(place(root), "features_test")),
});
/** Where the scripts and logs of a launch are. */
const launchFolder = (root: string) =>
  path.join(
    place(root),
    readdirSync(place(root)).find((name) => name.startsWith("launch-"))!,
  );
const log = (root: string, job: number) => readFileSync(path.join(launchFolder(root), "logs", `${job}.log`), "utf8");

let undisturbed: Awaited<ReturnType<typeof features>>;
beforeAll(async () => {
  await writeSmallBackbone({ root: path.join(folder, "models") });
  // Shards cover 512 images: parts of one and of two shards of train; of test only the last part has images.
  await writeDigits(path.join(folder, "digits"), { train: 1100, test: 20 });
  expect(await runHere("frozen-eval", [...argv, "--features-root", "whole"], folder)).toMatchObject({ status: 0 });
  undisturbed = await features("whole");
});

describe("jobs in processes of this machine", () => {
  test("Ctrl-C stops all of them, and another run does what is missing, to the same bytes", async () => {
    const first = start("frozen-eval", launch("local"), folder);
    const begun = () => [1, 2].every((i) => existsSync(path.join(place("local"), `features_train_part${i}of2`)));
    await until("both parts", begun);
    // It would be done before the next program has started.
    let job: number | undefined;
    await until("the second job", () => (job = processWith(launchFolder("local"), "--shard", "2/2")) !== undefined);
    process.kill(job!, "SIGSTOP");
    const second = await runHere("frozen-eval", launch("local"), folder);
    expect(second.status).toBe(2);
    expect(second.stderr).toMatch(/error: Expected to launch the jobs of .* alone but process \d+ on .* follows them now/); // prettier-ignore
    first.child.kill("SIGINT");
    process.kill(job!, "SIGCONT");
    const stopped = await first.ended;
    expect(stopped).toMatchObject({ status: 130, stdout: "" });
    expect(stopped.stderr).toContain("Stopped. The same command goes on where this one was.");
    // Nobody writes any more.
    const left = await filesOf(place("local"));
    expect(Object.keys(left).filter((name) => /partial$|lock$/.test(name))).toEqual([]);
    expect([1, 2].some((job) => log("local", job).includes("Stopped."))).toBe(true);

    // What is done is not done again: one part is finished by hand, as its script says.
    const script = path.join(launchFolder("local"), "jobs", "1.sh");
    expect(await startProcess(["sh", script], folder).ended).toMatchObject({ status: 0 });
    const before = log("local", 1);
    const third = await runHere("frozen-eval", launch("local"), folder);
    expect(third).toMatchObject({ status: 0 });
    expect(third.stderr).toMatch(/2 jobs: 1120\/1120 images/);
    expect(log("local", 1)).toBe(before);
    expect(await features("local")).toEqual(undisturbed);
    expect(readdirSync(place("local")).filter((name) => name.includes("part"))).toEqual([]);
  });

  test("where all is done, nothing is", async () => {
    const before = await filesOf(place("local"));
    const again = await runHere("frozen-eval", [...launch("local"), "--json", "--quiet"], folder);
    expect(again).toMatchObject({ status: 0, stderr: "" });
    const { stores } = JSON.parse(again.stdout) as { stores: { folder: string; size: number }[] };
    expect(stores.map(({ folder, size }) => [path.basename(folder), size])).toEqual([["features_train", 1100], ["features_test", 20]]); // prettier-ignore
    expect(await filesOf(place("local"))).toEqual(before);
  });

  test("what a store lacks of the layers is added to it, to the same bytes", async () => {
    const train = argv.map((word) => (word.startsWith("block1") ? "features" : word));
    const begun = await runHere("frozen-eval", [...train, "--splits", "train", "--features-root", "some"], folder);
    expect(begun).toMatchObject({ status: 0 });
    expect(await runHere("frozen-eval", launch("some"), folder)).toMatchObject({ status: 0 });
    expect(await features("some")).toEqual(undisturbed);
    // A shard is lost: only its layer is extracted again, and only of its split.
    const [shard] = Object.keys(undisturbed.test).filter((name) => /block1.*npy$/.test(name));
    await fs.rm(path.join(place("some"), "features_test", shard!));
    expect(await runHere("frozen-eval", launch("some"), folder)).toMatchObject({ status: 0 });
    expect(await features("some")).toEqual(undisturbed);
    const settings = readFileSync(path.join(launchFolder("some"), "settings.yaml"), "utf8");
    expect(settings).toMatch(/layers: \[block1\]\n[^]*splits: \[test\]\n/);
    expect(readdirSync(place("some")).filter((name) => /part|added/.test(name))).toEqual([]);
  });

  test("a job that fails is told with the end of its log, and the others go on", async () => {
    // A file where the second part's folder would be.
    const hindrance = path.join(place("failing"), "features_train_part2of2");
    await fs.mkdir(place("failing"), { recursive: true });
    await fs.writeFile(hindrance, "");
    const { status, stdout, stderr } = await runHere("frozen-eval", [...launch("failing"), "--quiet"], folder);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toMatch(/^error: Expected 2 jobs to finish but job 2 \(digits 2\/2\) ended: exit code 2; \S+.*logs\/2.log ends:\n/); // prettier-ignore
    expect(stderr).toContain("Expected a folder above");
    expect(stderr).toContain("The same command does only what is missing.");
    await fs.rm(hindrance);
    const again = await runHere("frozen-eval", launch("failing", "local:1"), folder);
    expect(again).toMatchObject({ status: 0 });
    expect(again.stderr).toContain("goes on with the 2 parts in which it was begun");
    expect(await features("failing")).toEqual(undisturbed);
  });
});

test.each([
  [["--launch", "local"], 'Expected local:N, slurm or slurm:N for --launch but received "local"'],
  [["--launch", "local:0"], 'Expected local:N, slurm or slurm:N for --launch but received "local:0"'],
  [["--launch", "local:2", "--shard", "1/2"], "Expected either --shard or --launch but received both"],
  [["--launch", "local:2", "--slurm-time", "1"], "Expected --slurm-time with --launch slurm but received it without"],
  [["--launch", "slurm", "--slurm-partition", "a b"], 'Expected the name of a partition for --slurm-partition but received "a b"'], // prettier-ignore
])("%j is refused", async (flags, sentence) => {
  const { status, stdout, stderr } = await runHere("frozen-eval", [...argv, ...flags], folder);
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  expect(stderr).toContain(`error: ${sentence}`);
});

test("without Slurm, one sentence says so", async () => {
  const command = [process.execPath, launcher("frozen-eval"), ...argv, "--features-root", "none", "--launch", "slurm"];
  const { status, stderr } = await startProcess(command, folder, { PATH: folder }).ended;
  expect(status).toBe(2);
  expect(stderr).toContain("Expected Slurm's program squeue for --launch slurm but it is not on this machine\n");
});
