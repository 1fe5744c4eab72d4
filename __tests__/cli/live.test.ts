import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { readRecord } from "../../lib/results/record.js";
import { device, run, runHere, start, temporaryFolder } from "../command-line.js";
import { filesOf } from "../features/synthetic.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const epochs = 10;
const argv = [
  ...["--backbone", "models/small/convnet", "--data", "folder:photos", "--device", device, "--layers", "block1"],
  ...["--heads", "fc,bn_fc", "--lr", "0.3", "--weight-decay", "0", "--batch-size", "24", "--workers", "1"],
  ...["--epochs", String(epochs)],
];
const recordAt = (out: string) => readRecord(path.join(folder, out));

beforeAll(async () => {
  await writeSmallBackbone({ root: path.join(folder, "models") });
  await writeSmallImages({ folder: path.join(folder, "photos"), count: 10 });
});

test("live training, stopped and run again, gives what an undisturbed run gives", async () => {
  const live = [...argv, "--features", "live"];
  const undisturbed = await run("eval-linear", [...live, "--out", "whole"], folder);
  expect(undisturbed).toMatchObject({ status: 0 });
  const record = await recordAt("whole");
  expect(record.backbone).toMatchObject({
    transform: "resize(36,bilinear)|center_crop(32)|normalize(imagenet)",
    trainTransform: "random_resized_crop(32,bilinear)|hflip(0.5)|normalize(imagenet)",
  });
  expect(record.settings).toMatchObject({ features: "live" });
  // Six classes: chance is a sixth.
  expect(Math.max(...record.results.map(({ metrics }) => metrics.top1?.mean ?? 0))).toBeGreaterThan(0.3);

  const epochsDone = () => {
    const file = path.join(folder, "stopped", "metrics.jsonl");
    const last = existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n").at(-1) : undefined;
    return Number(/"epoch":(\d+)/.exec(last ?? "")?.[1] ?? 0);
  };
  const { child, ended } = start("eval-linear", [...live, "--out", "stopped"], folder);
  let over = false;
  void ended.then(() => (over = true));
  while (!over && epochsDone() < 4) await sleep(1);
  child.kill("SIGTERM");
  expect(await ended).toMatchObject({ status: 143 });
  const last = await run("eval-linear", [...live, "--out", "stopped"], folder);
  expect(last.status).toBe(0);
  expect(last.stderr).toMatch(/training goes on after epoch [4-9] of 10/);
  const [found, expected] = await Promise.all(["stopped", "whole"].map((out) => filesOf(path.join(folder, out))));
  expect(Object.keys(found!)).toEqual(Object.keys(expected!));
  for (const name of Object.keys(expected!)) {
    if (name !== "result.json") expect({ name, digest: found![name] }).toEqual({ name, digest: expected![name] });
  }
  expect((await recordAt("stopped")).results).toEqual(record.results);
});

test("stored views are extracted once, and train other heads than plain or live features", async () => {
  const views = [...argv, "--views", "2"];
  const first = await run("eval-linear", [...views, "--out", "views"], folder);
  expect(first).toMatchObject({ status: 0 });
  expect(first.stderr).toContain("extract all: 120/120 views");
  expect(existsSync(path.join(folder, "features", "small", "convnet", "photos", "features_all_views2"))).toBe(true);
  const plain = await run("eval-linear", [...argv, "--out", "plain"], folder);
  expect(plain.status).toBe(0);
  expect((await recordAt("plain")).backbone).not.toHaveProperty("trainTransform");
  const heads = await Promise.all(["whole", "views", "plain"].map((out) => filesOf(path.join(folder, out, "heads"))));
  expect(new Set(heads.map((files) => JSON.stringify(files))).size).toBe(3);

  const plan = await runHere("eval-linear", [...views, "--dry-run"], folder);
  expect(plan.stdout).toContain("of which 0 have to pass");
  const live = await runHere("eval-linear", [...argv, "--features", "live", "--dry-run"], folder);
  // Ten epochs of 48 training images, 80 % of 60.
  expect(live.stdout).toContain("of which 480 have to pass");
});
