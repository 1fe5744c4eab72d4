import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { launcher, runHere, startProcess, temporaryFolder } from "../command-line.js";
import { filesOf } from "../features/synthetic.js";
import { root } from "../golden.js";
import { processWith, until } from "../processes.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeCogFeatures } from "./cog-features.js";
import { writeDigits } from "./digits.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const daemons = ["munged", "slurmctld", "slurmd"];
const paths = [...(process.env.PATH ?? "").split(path.delimiter), "/usr/sbin"];
const lacking = daemons.filter((name) => !paths.some((folder) => existsSync(path.join(folder, name))));
const slurmTest = lacking.length === 0 ? describe : describe.skip;
const reason = lacking.length === 0 ? "" : ` (skipped: there is no ${lacking.join(", ")} here)`;

slurmTest(`job arrays on a Slurm of one node${reason}`, () => {
  const folder = temporaryFolder();
  // Its own settings allow no space.
  const slurm = mkdtempSync(path.join(os.tmpdir(), "slurm-"));
  const script = path.join(root, ".ci", "slurm");
  let environment = process.env;
  const ask = (program: string, ...argv: string[]) =>
    execFileSync(program, argv, { encoding: "utf8", env: environment }).trim();

  const argv = ["extract-features", "--backbone", "models/small/convnet", "--data", "mnist:digits", "--layers", "block0,features", "--device", "wasm"]; // prettier-ignore
  const begin = (name: string, ...more: string[]) =>
    startProcess([process.execPath, launcher("frozen-eval"), ...argv, "--features-root", name, "--launch", "slurm:3", ...more], folder, environment); // prettier-ignore
  const place = (name: string) => path.join(folder, name, "small", "convnet", "digits");
  const features = (name: string) => filesOf(path.join(place(name), "features_train"));
  const launchFolder = (name: string) =>
    path.join(
      place(name),
      readdirSync(place(name)).find((one) => one.startsWith("launch-"))!,
    );
  const log = (name: string, job: number) => readFileSync(path.join(launchFolder(name), "logs", `${job}.log`), "utf8");
  /**
   * Waits until the second part has a whole shard and one to go, and freezes it there: it would be done before Slurm is
   * told anything. @returns what lets it go on.
   */
  const freezeHalfWay = async (name: string): Promise<() => void> => {
    let pid: number | undefined;
    const settings = path.join(place(name), "launch-");
    await until("the second job", () => (pid = processWith(settings, "--shard", "2/3")) !== undefined);
    const shard = path.join(place(name), "features_train_part2of3", "block0.avg", "00001.npy");
    await until("a whole shard", () => existsSync(shard));
    process.kill(pid!, "SIGSTOP");
    return () => process.kill(pid!, "SIGCONT");
  };
  /** All that this Slurm has, which is this user's alone. */
  const everything = ["--full", `--user=${os.userInfo().username}`];

  let undisturbed: Record<string, string>;
  beforeAll(async () => {
    environment = { ...process.env, SLURM_CONF: ask(script, "start", slurm) };
    await writeSmallBackbone({ root: path.join(folder, "models"), channels: 32 });
    await writeDigits(path.join(folder, "digits"), { train: 2100, test: 10 });
    expect(await runHere("frozen-eval", [...argv, "--features-root", "undisturbed"], folder)).toMatchObject({
      status: 0,
    });
    undisturbed = await features("undisturbed");
  });
  afterAll(() => {
    // What a failed test has left there.
    ask("scancel", "--signal=KILL", ...everything);
    ask(script, "stop", slurm);
    rmSync(slurm, { recursive: true, force: true });
  });

  test("an array that is cancelled half-way is told, and goes on to the bytes of an undisturbed run", async () => {
    const first = begin("cancelled", "--slurm-cpus", "1", "--slurm-time", "10:00");
    await freezeHalfWay("cancelled");
    // It wakes what it ends.
    ask("scancel", ...everything);
    const cancelled = await first.ended;
    expect(cancelled.status).toBe(2);
    expect(cancelled.stderr).toMatch(/Expected 3 jobs to finish but job \d \(digits \d\/3\) ended: CANCELLED/);

    const second = await begin("cancelled", "--slurm-cpus", "1").ended;
    expect(second).toMatchObject({ status: 0 });
    expect(second.stderr).toMatch(/submitted [123] jobs? to Slurm as array \d+/);
    expect(await features("cancelled")).toEqual(undisturbed);
    // Everything is done: Slurm is not even asked.
    const third = await begin("cancelled").ended;
    expect(third).toMatchObject({ status: 0 });
    expect(third.stderr).not.toContain("Slurm");
  });

  test("jobs go on while nobody follows them; one whose time is over stops at a whole shard, queues again and goes on", async () => {
    const first = begin("left");
    const goOn = await freezeHalfWay("left");
    first.child.kill("SIGINT");
    const left = await first.ended;
    expect(left).toMatchObject({ status: 130 });
    expect(left.stderr).toMatch(/The jobs go on\. scancel --name=frozen-eval-\w+ ends them\./);

    const tasks = ask("squeue", "--noheader", "--array", "--format=%K %A").split("\n");
    const [, job] = tasks.map((task) => task.split(" ")).find(([task]) => task === "2")!;
    ask("scancel", "--signal=USR1", "--batch", job!);
    goOn();
    // Slurm lets a task that queues again wait for two minutes.
    const state = () => ask("squeue", "--noheader", "--states=all", `--job=${job}`, "--format=%T");
    await until("a task that queues again", () => state() === "PENDING", state);
    const followed = begin("left");
    await once(followed.child.stderr!, "data");
    ask("scontrol", "update", `JobId=${job}`, "StartTime=now");
    const { status, stderr } = await followed.ended;
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(stderr).toMatch(/with Slurm already: \d jobs?/);
    expect(stderr).not.toContain("submitted");
    expect(log("left", 2)).toMatch(/Stopped\.[^]*goes on at image 1024 of 2100/);
    expect(await features("left")).toEqual(undisturbed);
  });

  test("the grid of ImageNet-CoG, cancelled half-way, goes on to the table of a grid that ran through here", async () => {
    writeCogFeatures(folder, "sup/resnet50");
    const grid = ["cog", "--models", "sup_resnet50", "--levels", "l1", "--shots", "all,2", "--device", "wasm", "--search", "random", "--trials", "2", "--epochs", "10", "--seeds", "22,37"]; // prettier-ignore
    const table = (out: string) => readFileSync(path.join(folder, out, "levels.csv"), "utf8");
    const submit = () =>
      startProcess([process.execPath, launcher("frozen-eval"), ...grid, "--out", "grid", "--launch", "slurm:1", "--slurm-cpus", "1"], folder, environment); // prettier-ignore
    expect(await runHere("frozen-eval", [...grid, "--out", "here"], folder)).toMatchObject({ status: 0 });

    const first = submit();
    const run = path.join(folder, "grid", "sup", "resnet50", "cog_l1", "eval_logreg");
    await until("a training", () => existsSync(path.join(run, "training")));
    const [array] = ask("squeue", "--noheader", "--format=%F").split("\n");
    expect(ask("scontrol", "show", "job", array!)).toContain("ArrayTaskThrottle=1");
    ask("scancel", "--full", array!);
    const cancelled = await first.ended;
    expect(cancelled.status).toBe(2);
    expect(cancelled.stderr).toMatch(/Expected 2 jobs to finish but job \d \(sup_resnet50 on l1, .*\) ended: CANCELLED/); // prettier-ignore
    expect(existsSync(path.join(folder, "grid", "levels.csv"))).toBe(false);

    const second = await submit().ended;
    expect({ status: second.status, stderr: second.stderr }).toMatchObject({ status: 0 });
    expect(second.stderr).toMatch(/submitted [12] jobs? to Slurm as array \d+/);
    expect(table("grid")).toBe(table("here"));
  });

  test("what Slurm refuses is told in its words", async () => {
    const { status, stderr } = await begin("refused", "--slurm-partition", "unheard-of").ended;
    expect(status).toBe(2);
    expect(stderr).toMatch(
      /error: Expected Slurm to take the job array .*array\.sh but sbatch said: .*invalid partition/,
    );
    expect(stderr).toContain("--slurm-partition");
  });
});
