import { existsSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";

import { run, runHere, temporaryFolder } from "../command-line.js";
import { goldenPath } from "../golden.js";

jest.setTimeout(120_000);

const folder = temporaryFolder();
const asked = (...argv: string[]) => ["convert", ...argv, "--device", "wasm"];

test("a checkpoint of MoCo's becomes a backbone; what it does without is told", async () => {
  const { status, stdout, stderr } = await run(
    "frozen-eval",
    asked(goldenPath("checkpoints/files/moco_checkpoint.pth.tar")),
    folder,
  );
  expect([status, stderr]).toEqual([0, ""]);
  const dir = /^moco_\S+: (\S+)$/m.exec(stdout)![1]!;
  expect(existsSync(path.join(folder, dir, "backbone.json"))).toBe(true);
  expect(stdout).toContain("under state_dict/module.encoder_q.");
  expect(stdout).toMatch(/^res5avg +vector +128 +identity$/m);
  expect(stdout).toMatch(/queue of negatives: state_dict\/module\.queue, state_dict\/module\.queue_ptr/);
  expect(stdout).toMatch(/projector of the pretraining: .*encoder_q\.fc\.0\.weight/);
  expect(stdout).toMatch(/layers agree with the checkpoint's own tensors, .* to \d\.\de-\d+ on a random image/);
});

test("what is no checkpoint is told with exit code 2, and nothing is written", async () => {
  await fs.writeFile(path.join(folder, "page.pth"), "<!DOCTYPE html><html>404</html>");
  const { status, stderr } = await runHere("frozen-eval", asked("page.pth", "--out", "nothing"), folder);
  expect(status).toBe(2);
  expect(stderr).toMatch(/^error: Expected a checkpoint for page\.pth but it is a web page/);
  expect(existsSync(path.join(folder, "nothing"))).toBe(false);
});

test("a transform that is none is told before anything is read", async () => {
  const { status, stderr } = await runHere("frozen-eval", asked("missing.pth", "--transform", "shrink(3)"), folder);
  expect(status).toBe(2);
  expect(stderr).toContain("shrink");
});
