import { existsSync, readdirSync, statSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { random } from "../../lib/random.js";
import { cloudStore } from "../clouds.js";
import { run, start, temporaryFolder } from "../command-line.js";
import { filesOf } from "../features/synthetic.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const features = path.join(folder, "made", "clouds", "clouds");
const argv = [...["--features", features, "--device", "wasm", "--layers", "deep", "--epochs", "50"]];
const sweep = {
  grid: ["--heads", "fc,bn_fc", "--batch-size", "16,32", "--lr", "0.01,0.1", "--weight-decay", "0,0.001"],
  // So small a head pays halving only by L-BFGS, whose work is that of its trials.
  halving: [
    ...["--heads", "fc", "--optimizer", "lbfgs", "--lr", "1", "--weight-decay", "log(1e-5,1,20)"],
    ...["--search", "halving"],
  ],
};
type Search = keyof typeof sweep;

type Signal = "SIGKILL" | "SIGINT" | "SIGTERM";

const ways: [what: string, search: Search, way: string[], signals: Signal[]][] = [
  // What is written between two saved epochs is cut off when the training goes on.
  ["in this process", "grid", ["--processes", "1", "--checkpoint-every", "3"], ["SIGKILL", "SIGINT"]],
  ["in two processes", "grid", ["--processes", "2", "--checkpoint-every", "1"], ["SIGTERM", "SIGKILL"]],
  ["by halving, in two processes", "halving", ["--processes", "2", "--checkpoint-every", "1"], ["SIGKILL"]],
];

/** The folder of an undisturbed run, in one process. */
const wholeOf = (search: Search) => `whole ${search}`;

beforeAll(async () => {
  for (const [seed, split] of (["train", "test"] as const).entries()) {
    await (await cloudStore({ root: folder, split, images: 200, seed })).close();
  }
  for (const search of ["grid", "halving"] as const) {
    const undisturbed = [...argv, ...sweep[search], "--processes", "1", "--out", wholeOf(search)];
    expect(await run("eval-linear", undisturbed, folder)).toMatchObject({ status: 0 });
  }
});

describe.each(ways)("a training %s", (name, search, way, signals) => {
  test("that is stopped and run again leaves what an undisturbed one leaves", async () => {
    const again = [...argv, ...sweep[search], ...way, "--out", name];
    const chance = random(0, "stopped", name);
    const notes: string[] = [];
    const training = path.join(folder, name, "training");
    // A run that is killed while it writes leaves one.
    const partial = () =>
      existsSync(training) ? readdirSync(training).filter((file) => file.endsWith(".partial")) : [];
    for (const signal of signals) {
      const before = partial();
      const { status, stderr } = await stopAfterSome(signal, chance.integer(150), again);
      expect({ signal, status }).toEqual({ signal, status: { SIGKILL: null, SIGINT: 130, SIGTERM: 143 }[signal] });
      if (signal !== "SIGKILL") {
        expect(stderr).toMatch(/Stopped\. The same command goes on where this one was\.\n$/);
        expect(before).toEqual(expect.arrayContaining(partial()));
      }
      notes.push(stderr);
      expect(existsSync(path.join(folder, name, "result.json"))).toBe(false);
    }
    const last = await run("eval-linear", again, folder);
    expect(last).toMatchObject({ status: 0 });
    // It went on, and did not begin anew.
    expect(notes.slice(1).concat(last.stderr).join("")).toMatch(/training goes on after epoch [1-9]/);
    expect(await resultsOf(name)).toEqual(await resultsOf(wholeOf(search)));
    expect(existsSync(path.join(folder, name, "training"))).toBe(false);
  });
});

test("a folder of another configuration is not gone on with", async () => {
  const out = "changed";
  await stopAfterSome("SIGTERM", 50, [
    ...argv,
    ...sweep.grid,
    "--processes",
    "1",
    "--checkpoint-every",
    "1",
    "--out",
    out,
  ]);
  const before = await filesOf(path.join(folder, out));
  const { status, stdout, stderr } = await run(
    "eval-linear",
    [...argv, ...sweep.grid, "--processes", "1", "--out", out, "--label-smoothing", "0.1"],
    folder,
  );
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  expect(stderr).toMatch(
    /error: Expected changed to hold this configuration but it holds another: labelSmoothing is 0 there and 0\.1 here\n/,
  );
  expect(stderr.match(/^error: /gm)).toHaveLength(1);
  expect(await filesOf(path.join(folder, out))).toEqual(before);
});

/** Stops a run some milliseconds after it has saved an epoch that was not saved before. */
async function stopAfterSome(signal: Signal, wait: number, given: string[]) {
  const training = path.join(folder, given.at(-1)!, "training");
  const saved = () => (existsSync(training) ? newest(training) : 0);
  const before = saved();
  const { child, ended } = start("eval-linear", given, folder);
  let over = false;
  void ended.then(() => (over = true));
  while (!over && saved() === before) await sleep(2);
  await sleep(wait);
  child.kill(signal);
  return ended;
}

/** When the last file of a folder was written. */
function newest(training: string): number {
  const times = readdirSync(training).map((file) => {
    // It may have been renamed since.
    return statSync(path.join(training, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  });
  return Math.max(0, ...times);
}

/** Digests of all files but the record, and the record without its times. */
async function resultsOf(name: string): Promise<unknown> {
  const files = await filesOf(path.join(folder, name));
  delete files["result.json"];
  const record = JSON.parse(await fs.readFile(path.join(folder, name, "result.json"), "utf8")) as Record<
    string,
    unknown
  >;
  const { startedAt, finishedAt, timings, ...rest } = record;
  expect([startedAt, finishedAt, timings]).not.toContain(undefined);
  return { files, rest };
}
