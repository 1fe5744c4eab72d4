import { existsSync, readdirSync, readFileSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { device, type Ended, type Program, run, start, temporaryFolder } from "../command-line.js";
import { filesOf } from "../features/synthetic.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

/** Runs a program until something has happened, and then sends it a signal. */
async function stopWhen(
  options: { program: Program; argv: string[]; cwd: string },
  signal: "SIGKILL" | "SIGTERM",
  happened: () => boolean,
): Promise<Ended> {
  const { child, ended } = start(options.program, options.argv, options.cwd);
  let over = false;
  void ended.then(() => (over = true));
  while (!over && !happened()) await sleep(1);
  child.kill(signal);
  const end = await ended;
  // It must not have been done before the signal came.
  expect(end).toMatchObject({ status: signal === "SIGKILL" ? null : 143 });
  return end;
}

describe("an extraction that is killed", () => {
  const folder = temporaryFolder();
  // A layer of half a megabyte an image, of which 64 make a shard: three shards.
  const images = 138;
  const argv = [
    "extract-features",
    "--backbone",
    "models/small/convnet",
    "--data",
    "folder:photos",
    "--device",
    device,
  ];
  const layers = ["--layers", "block0:identity", "--features-root"];

  test("goes on after the last whole shard, and leaves the bytes of an undisturbed run", async () => {
    await writeSmallBackbone({ root: path.join(folder, "models"), size: 64, channels: 32 });
    await writeSmallImages({ folder: path.join(folder, "photos"), count: images / 6, size: 96 });
    const undisturbed = await run("frozen-eval", [...argv, ...layers, "whole"], folder);
    expect(undisturbed).toMatchObject({ status: 0 });
    const store = path.join("small", "convnet", "photos", "features_all");
    const whole = await filesOf(path.join(folder, "whole", store));
    expect(Object.keys(whole).filter((name) => name.startsWith("block0"))).toHaveLength(3);

    const killed = path.join(folder, "killed", store);
    const shard = (index: number) => existsSync(path.join(killed, "block0.identity", `0000${index}.npy`));
    const begun = (index: number) =>
      existsSync(path.join(killed, "block0.identity")) &&
      readdirSync(path.join(killed, "block0.identity")).some((name) => name.startsWith(`0000${index}.npy.`));
    const moments: { happened: () => boolean; goesOnAt?: number }[] = [
      { happened: () => existsSync(path.join(killed, "store.json")) },
      { happened: () => begun(0) },
      // The kill may come before the journal says so: then the shard is made again.
      { happened: () => shard(0) },
      { happened: () => begun(1) },
      { happened: () => begun(2), goesOnAt: 64 },
    ];
    const again = { program: "frozen-eval" as const, argv: [...argv, ...layers, "killed"], cwd: folder };
    for (const { happened, goesOnAt } of moments) {
      const { stderr } = await stopWhen(again, "SIGKILL", happened);
      if (goesOnAt !== undefined) expect(stderr).toContain(`goes on at image ${goesOnAt} of ${images}`);
    }
    const last = await run("frozen-eval", again.argv, folder);
    expect(last.status).toBe(0);
    expect(last.stderr).toContain(`goes on at image 128 of ${images}`);
    expect(await filesOf(killed)).toEqual(whole);
  });
});

describe("a training that is stopped", () => {
  const folder = temporaryFolder();
  const epochs = 120;
  const argv = [
    ...["--backbone", "models/small/convnet", "--data", "folder:photos", "--device", device, "--layers", "block1"],
    ...["--heads", "fc,bn_fc", "--lr", "0.03,0.3", "--weight-decay", "0", "--seeds", "0,1"],
    ...["--epochs", String(epochs), "--batch-size", "16"],
  ];
  const epochsDone = (out: string) => {
    const file = path.join(folder, out, "metrics.jsonl");
    const last = existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n").at(-1) : undefined;
    return Number(/"epoch":(\d+)/.exec(last ?? "")?.[1] ?? 0);
  };

  test("by kill -9 and by SIGTERM, and is run again, gives what an undisturbed one gives", async () => {
    await writeSmallBackbone({ root: path.join(folder, "models") });
    await writeSmallImages({ folder: path.join(folder, "photos"), count: 12 });
    const [out, whole] = ["stopped", "whole"];
    const undisturbed = await run("eval-linear", [...argv, "--out", whole], folder);
    expect(undisturbed).toMatchObject({ status: 0 });

    const again = { program: "eval-linear" as const, argv: [...argv, "--out", out], cwd: folder };
    await stopWhen(again, "SIGKILL", () => epochsDone(out) >= 5);
    expect(existsSync(path.join(folder, out, "result.json"))).toBe(false);
    const { stderr } = await stopWhen(again, "SIGTERM", () => epochsDone(out) >= 40);
    expect(stderr).toMatch(/Stopped\. The same command goes on where this one was\.\n$/);
    expect(await fs.readdir(path.join(folder, out))).toContain("training");

    const last = await run("eval-linear", again.argv, folder);
    expect(last.status).toBe(0);
    const [, epoch] = /training goes on after epoch (\d+) of 120/.exec(last.stderr) ?? [];
    expect(Number(epoch)).toBeGreaterThanOrEqual(40);
    expect(Number(epoch)).toBeLessThan(epochs);

    const [found, expected] = await Promise.all([out, whole].map((name) => filesOf(path.join(folder, name))));
    expect(Object.keys(found!)).toEqual(Object.keys(expected!));
    // All but times is equal, to the byte.
    for (const name of Object.keys(expected!)) {
      if (name !== "result.json") expect({ name, digest: found![name] }).toEqual({ name, digest: expected![name] });
    }
    const record = (name: string) => {
      const { startedAt, finishedAt, timings, ...rest } = JSON.parse(
        readFileSync(path.join(folder, name, "result.json"), "utf8"),
      ) as Record<string, unknown>;
      expect([startedAt, finishedAt, timings]).not.toContain(undefined);
      return rest;
    };
    expect(record(out)).toEqual(record(whole));
  });
});
