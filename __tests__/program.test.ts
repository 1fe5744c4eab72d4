import path from "node:path";

import { startProcess, temporaryFolder } from "./command-line.js";
import { goldenPath, root } from "./golden.js";
import { writeSmallBackbone } from "./small-backbone.js";
import { writeSmallImages } from "./small-images.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const start = (name: string, ...argv: string[]) =>
  startProcess([process.execPath, path.join(root, "docs", name), ...argv], folder).ended;
const program = (...argv: string[]) => start("program.mjs", ...argv);

test("the program of the documentation evaluates a backbone and prints the table", async () => {
  const backbone = await writeSmallBackbone({ root: path.join(folder, "models") });
  await writeSmallImages({ folder: path.join(folder, "photos"), count: 10 });
  const { status, stdout, stderr } = await program(backbone, "folder:photos");
  expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringContaining("extract all: 60/60") as string });
  expect(stdout).toContain("convnet (small) on photos");
  for (const layer of ["block0", "block1", "features"]) {
    expect(stdout).toMatch(new RegExp(`^${layer} +\\d+ .*\\d+\\.\\d ± \\d+\\.\\d`, "m"));
  }
});

test("it tells a mistake as the command line does", async () => {
  const { status, stdout, stderr } = await program(path.join(folder, "nowhere"), "folder:photos");
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  expect(stderr).toMatch(/Expected a backbone's folder at .*nowhere but there is no such file\n/);
});

test("the program of the documentation trains SVMs on arrays, and tells a mistake", async () => {
  const files = ["train_features", "train_targets", "test_features", "test_targets"];
  const argv = files.map((name) => goldenPath(`svm/wide_d/${name}.npy`));
  const { status, stdout } = await start("train-svm.mjs", ...argv);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^features +200 +\* \d\d\.\d +\d\d\.\d$/m);
  expect(stdout).toMatch(/^Hardest: class 1, AP 0\.\d{3} at cost 1$/m);
  const mistaken = await start("train-svm.mjs", ...argv.slice(0, 3));
  expect(mistaken).toMatchObject({ status: 2, stdout: "" });
});
