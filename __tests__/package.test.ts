import { readdirSync, readFileSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";

import { readRecord } from "../lib/results/record.js";
import { type Ended, startProcess, temporaryFolder } from "./command-line.js";
import { root } from "./golden.js";
import { noRegistry } from "./registry.js";
import { writeSmallBackbone } from "./small-backbone.js";
import { writeSmallImages } from "./small-images.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
/** An empty folder of someone who installs the package. */
const home = path.join(folder, "home");
const inHome = (command: string[]) => startProcess(command, home, { npm_config_update_notifier: "false" }).ended;
const done = async (ended: Promise<Ended>): Promise<string> => {
  const { status, stdout, stderr } = await ended;
  expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
};
let tarball: string;
let packed: string[];

beforeAll(async () => {
  await fs.mkdir(home);
  const pack = ["npm", "pack", "--ignore-scripts", "--json", "--pack-destination", folder];
  const [report] = JSON.parse(await done(startProcess(pack, root).ended)) as [
    { filename: string; files: { path: string }[] },
  ];
  tarball = path.join(folder, report.filename);
  packed = report.files.map((file) => file.path);
});

test("the package holds the program, and nothing of its making", () => {
  for (const file of ["README.md", "LICENSE", "dist/lib/index.js", "dist/lib/index.d.ts", "dist/lib/images/pipeline-worker.js", "dist/models/index.js", "models/zoo/moco.yaml", "cli/bin/launch.cjs", ...configurations()]) {
    expect(packed).toContain(file);
  } // prettier-ignore
  const foreign = packed.filter((file) => /__tests__|golden|^quickstart|^features|^runs|^bench|\.ts$/.test(file) && !file.endsWith(".d.ts")); // prettier-ignore
  expect(foreign).toEqual([]);
});

function configurations(): string[] {
  const names = readdirSync(path.join(root, "configs"), { recursive: true, encoding: "utf8" });
  return names
    .filter((name) => name.endsWith(".yaml"))
    .map((name) => path.posix.join("configs", ...name.split(path.sep)));
}

const reason = noRegistry();
(reason ? describe.skip : describe)(`installed into an empty folder${reason ? ` (${reason})` : ""}`, () => {
  beforeAll(async () => {
    await fs.writeFile(path.join(home, "package.json"), '{ "private": true }\n');
    const quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--loglevel", "error"];
    await done(inHome(["npm", "install", ...quiet, tarball]));
  }, 300_000);

  test("is required, imported, and knows its version", async () => {
    const names = "loadBackbone, openDataset, extractFeatures, evalLinear";
    const told = `console.log([${names}].map((one) => typeof one).join())`;
    const required = `const { ${names} } = require("frozen-eval"); ${told}`;
    expect(await done(inHome([process.execPath, "-e", required]))).toBe("function,function,function,function\n");
    const imported = ["--input-type=module", "-e", `import { ${names} } from "frozen-eval"; ${told}`];
    expect(await done(inHome([process.execPath, ...imported]))).toBe("function,function,function,function\n");
    const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as { version: string };
    expect(await done(inHome(["npx", "frozen-eval", "--version"]))).toBe(`${version}\n`);
  });

  test("evaluates a backbone by its commands", async () => {
    await writeSmallBackbone({ root: path.join(home, "models") });
    await writeSmallImages({ folder: path.join(home, "photos"), count: 6 });
    expect(await done(inHome(["npx", "eval-linear", "--help"]))).toContain(
      "Usage: npx eval-linear [OVERRIDE...] [options]",
    );
    const asked = ["--backbone", "models/small/convnet", "--data", "folder:photos", "--device", "wasm", "--out", "run"];
    const short = [
      "--epochs",
      "2",
      "--lr",
      "0.1",
      "--weight-decay",
      "0",
      "--config",
      "vissl/linear",
      "--milestones",
      "1",
    ];
    expect(await done(inHome(["npx", "eval-linear", ...asked, ...short]))).toContain("convnet (small) on photos");
    const { results, settings } = await readRecord(path.join(home, "run"));
    expect(results).toHaveLength(6);
    expect(settings.protocol).toEqual({ id: "vissl-linear", version: 1 });
  });

  test("has no WebGPU, and says how to get it", async () => {
    const { status, stderr } = await inHome(["npx", "frozen-eval", "doctor", "--device", "webgpu"]);
    expect(status).toBe(2);
    expect(stderr).toMatch(
      /error: Expected the packages webgpu and .* for --device webgpu but they are not installed\nRun: npm install webgpu /,
    );
  });

  test("is typed", async () => {
    await fs.writeFile(
      path.join(home, "consumer.mts"),
      `import { evalLinear, extractFeatures, loadBackbone, openDataset, type ResultRecord } from "frozen-eval";

export async function best(dir: string, spec: string): Promise<number> {
  const backbone = await loadBackbone({ dir });
  const dataset = await openDataset({ spec });
  const features = await extractFeatures({ backbone, dataset, layers: ["block*", ["res4", ["AvgPool2d", [[8, 8], 3, 0]]]] });
  const record: ResultRecord = await evalLinear({ features, heads: ["fc"], seeds: [0, 1] });
  // @ts-expect-error: there is no such input, and types are not any.
  await evalLinear({ features, heads: [{ input: "l3" }] });
  return Math.max(...record.results.map(({ metrics }) => metrics.top1!.mean));
}
`,
    );
    const compilerOptions = { noEmit: true, strict: true, skipLibCheck: true, target: "es2022", module: "node16" };
    const configuration = { compilerOptions: { ...compilerOptions, types: [] }, files: ["consumer.mts"] };
    await fs.writeFile(path.join(home, "tsconfig.json"), JSON.stringify(configuration));
    const compiler = path.join(root, "node_modules", "typescript", "bin", "tsc");
    expect(await inHome([process.execPath, compiler])).toEqual({
      status: 0,
      stdout: "",
      stderr: "",
    });
  });
});
