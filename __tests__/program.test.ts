import path from "node:path";

import { startProcess, temporaryFolder } from "./command-line.js";
import { root } from "./golden.js";
import { writeSmallBackbone } from "./small-backbone.js";
import { writeSmallImages } from "./small-images.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const program = (...argv: string[]) =>
  startProcess([process.execPath, path.join(root, "docs", "program.mjs"), ...argv], folder).ended;

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
