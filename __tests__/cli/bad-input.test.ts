import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmdirSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";

import { convertCheckpoint } from "../../lib/convert/convert.js";
import { root } from "../golden.js";
import { type Ended, launcher, run, runHere, startProcess, temporaryFolder } from "../command-line.js";
import { complaint, writeFiles } from "../datasets/files.js";
import { filesOf } from "../features/synthetic.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const inFolder = (...names: string[]) => path.join(folder, ...names);
const backbone = ["--backbone", "models/small/convnet"];
const photos = ["--data", "folder:photos"];
const features = ["--layers", "features", "--device", "wasm"];

beforeAll(async () => {
  await writeSmallBackbone({ root: inFolder("models") });
  const classes = ["blue", "red"];
  await writeSmallImages({ folder: inFolder("photos"), count: 6, classes });
  await fs.cp(inFolder("photos"), inFolder("one-class"), { recursive: true });
  await fs.rm(inFolder("one-class", "red"), { recursive: true });
  await fs.cp(inFolder("photos"), inFolder("empty-class"), { recursive: true });
  await fs.mkdir(inFolder("empty-class", "green"));
  await fs.cp(inFolder("photos"), inFolder("flawed"), { recursive: true });
  const cut = await fs.readFile(inFolder("photos", "blue", "001.png"));
  await writeFiles(inFolder("flawed"), {
    "blue/001.png": cut.subarray(0, 900),
    "blue/002.png": "",
    "red/003.png": "a text that calls itself an image",
  });
  await writeFiles(folder, {
    "no-label.csv": "path,lable\nphotos/blue/000.png,blue\n",
    "no-file.csv": "path,label\nphotos/blue/000.png,blue\nphotos/red/000.png,red\nphotos/red/999.png,red\n",
    "images.txt": "photos/blue/000.png\nphotos/red/000.png\nphotos/red/001.png\n",
    "indices.txt": "0\n1\n-1\n",
    "broken.yaml": "epochs: 3\nlayers: [a, b\n",
    "wrong.yaml": "epochs: 3\noptimizer:\n  lr: fast\n",
    "unknown.yaml": "epochs: 3\n\noptimiser: { lr: [1] }\n",
    "bare/model.json": await fs.readFile(inFolder("models", "small", "convnet", "model.json")),
    "bare/group1-shard1of1.bin": await fs.readFile(inFolder("models", "small", "convnet", "group1-shard1of1.bin")),
  });
});

/** One sentence for the mistake, perhaps one on what to do, exit code 2, no stack, nothing on stdout. */
function expectComplaint({ status, stdout, stderr }: Ended, message: RegExp, hint?: RegExp): void {
  expect({ status, stdout, stderr }).toEqual({
    status: 2,
    stdout: "",
    stderr: expect.stringMatching(message) as string,
  });
  expect(stderr).not.toMatch(/\n +at |defect/);
  const told = stderr.slice(stderr.indexOf("error: "));
  expect(stderr.match(/^error: /gm)).toHaveLength(1);
  if (hint) expect(told).toMatch(hint);
}

// What is asked for, what is said, what is advised.
const mistakes: [what: string, argv: string[], message: RegExp, hint?: RegExp][] = [
  ["no such layer", [...backbone, ...photos, "--layers", "blok1"], /error: Expected a layer of this backbone for --layers but received "blok1"\n/, /Did you mean block1 or block0\?/],
  ["a pooling that does not fit", [...backbone, ...photos, "--layers", "block1:avg_pool(99x99,1,0)"], /error: Layer block1: .*99/],
  ["an empty class folder", [...backbone, "--data", "folder:empty-class", ...features], /error: Expected images in the class folder .*empty-class.green but there are none\n/, /Remove the folder/],
  ["one class only", [...backbone, "--data", "folder:one-class", ...features], /error: Expected at least two classes for .*one-class but received one only, "blue"\n/],
  ["no folder", [...backbone, "--data", "folder:nowhere", ...features], /error: Expected a folder of images at .*nowhere but there is no such file\n/],
  ["a file for a folder", [...backbone, "--data", "folder:images.txt", ...features], /error: Expected a folder of images at .*images\.txt but/],
  ["a CSV without a column", [...backbone, "--data", "csv:no-label.csv", ...features], /error: Expected a column label in the header of no-label\.csv but received path,lable\n/, /Did you mean lable\?/],
  ["a CSV that names a missing file", [...backbone, "--data", "csv:no-file.csv", ...features], /error: Expected the image of line 4 of no-file\.csv but there is no file .*999\.png\n/],
  ["a label out of range", [...backbone, "--data", "list:images.txt,indices.txt", ...features], /error: Expected a label in 0 … \d in entry 3 of indices\.txt but received -1\n/],
  ["a format that does not exist", [...backbone, "--data", "foldr:photos", ...features], /error: Expected format:place for the data set but received "foldr:photos"\n/, /Did you mean folder\?/],
  ["no backbone", ["--backbone", "nowhere", ...photos, ...features], /error: Expected a backbone's folder at .*nowhere but there is no such file\n/],
  ["a graph model without a manifest", ["--backbone", "bare", ...photos, ...features], /error: Expected a backbone's manifest at bare.backbone\.json but there is no such file\n/, /npx frozen-eval inspect/],
  ["YAML that does not parse", ["--config", "broken.yaml"], /error: .*broken\.yaml:3/],
  ["a wrong value in YAML", ["--config", "wrong.yaml"], /error: Expected .* for optimizer\.lr \(wrong\.yaml:3\) but received "fast"\n/],
  ["an unknown key in YAML", ["--config", "unknown.yaml"], /error: Expected the name of a setting at unknown\.yaml:3 but received "optimiser"\n/, /Did you mean optimizer\?/],
  ["an unknown key for --set", ["--set", "optimizer.lrr=1"], /error: Expected the name of a setting for --set but received "optimizer\.lrr"\n/, /optimizer\.lr/],
  ["an unknown flag", ["--layer", "features"], /error: Expected a flag of this command but received "--layer"\n/, /Did you mean --layers or --lr\?/],
  ["more look-ahead than memory", [...backbone, ...photos, ...features, "--look-ahead", "1000000000"], /error: Expected a look-ahead that fits into .* of memory but received 1000000000 batches of 196\.6 kB\n/],
  ["a transform that is none", [...backbone, ...photos, ...features, "--transform", "resise(224)"], /error: .*resise/, /resize/],
  ["a transform of another size", [...backbone, ...photos, ...features, "--transform", "resize(24x24,bilinear)|normalize(imagenet)"], /error: Expected images of 32x32, as convnet wants them, for --transform but received "resize\(24x24/],
]; // prettier-ignore

// Jest would take a fourth parameter that is not given for a callback.
test.each(mistakes)("%s", async (_, ...[argv, message, hint]) => {
  const before = whole(await filesOf(folder));
  expectComplaint(await runHere("eval-linear", argv, folder), message, hint);
  expect(whole(await filesOf(folder))).toEqual(before);
});

/** Without a store that was just begun: it holds no images, and the next run takes it up. */
function whole(files: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(files).filter(([name]) => !/^features.*(store\.json|journal\.jsonl)$/.test(name)),
  );
}

test("images that cannot be read are named and counted when all have been tried", async () => {
  const ended = await run("eval-linear", [...backbone, "--data", "folder:flawed", ...features, "--out", "run"], folder);
  expectComplaint(
    ended,
    /error: Expected 12 images that can be read but received 3 bad ones:\n {2}blue\/001\.png: .+\n {2}blue\/002\.png: .*empty.*\n {2}red\/003\.png: .+\n/,
    /--on-bad-image skip/,
  );
  expect(existsSync(inFolder("run"))).toBe(false);
});

test("a shard of the store that was changed is found by its digest", async () => {
  const asked = [...photos, ...backbone, ...features, "--heads", "fc", "--lr", "0.1", "--epochs", "1", "-q"];
  expect((await run("frozen-eval", ["extract-features", ...photos, ...backbone, ...features], folder)).status).toBe(0);
  const shard = path.join("features", "small", "convnet", "photos", "features_all", "features.identity", "00000.npy");
  const bytes = await fs.readFile(inFolder(shard));
  bytes[bytes.length - 3]! ^= 1;
  await fs.writeFile(inFolder(shard), bytes);
  const message =
    /error: Expected a shard of features as written in .*00000\.npy but the file was changed or is damaged\n/;
  expectComplaint(await run("eval-linear", [...asked, "--out", "run"], folder), message, /Delete .*00000\.npy/);
  expect(existsSync(inFolder("run", "result.json"))).toBe(false);
  // What is advised helps.
  await fs.rm(inFolder(shard));
  const repaired = await run("eval-linear", [...asked, "--out", "run"], folder);
  expect(repaired).toMatchObject({ status: 0, stderr: "" });
  expect((await fs.readFile(inFolder(shard))).equals(bytes)).toBe(false);
  await fs.rm(inFolder("run"), { recursive: true });
});

test("a device that is named must be there", async () => {
  const argv = [process.execPath, launcher("eval-linear"), ...backbone, ...photos, "--device", "cuda"];
  // A cache that holds no TensorFlow, and no GPU: whatever this machine has, it is not there.
  const environment = { FROZEN_EVAL_CACHE: inFolder("cache"), CUDA_VISIBLE_DEVICES: "-1" };
  const message = /error: Expected (an NVIDIA GPU|TensorFlow with CUDA) for --device cuda but/;
  expectComplaint(await startProcess(argv, folder, environment).ended, message, /leave --device out/);
});

/** Root may read everything, unless it gives that up. */
const asOrdinaryUser =
  process.getuid?.() === 0
    ? ["setpriv", ...["--bounding-set", "--inh-caps"].map((set) => `${set}=-dac_override,-dac_read_search`)]
    : [];
const refused = () => {
  const closed = path.join(folder, "probe");
  mkdirSync(closed, { mode: 0 });
  const [command, ...argv] = [...asOrdinaryUser, process.execPath, "-e", "fs.readdirSync(process.argv[1])", closed];
  const { stderr } = spawnSync(command, argv, { encoding: "utf8" });
  rmdirSync(closed);
  return stderr?.includes("EACCES") ?? false;
};
(refused() ? test : test.skip)("a folder that may not be read (skipped where this user may read any)", async () => {
  await writeFiles(inFolder("closed"), { "a/1.png": "", "b/1.png": "" });
  await fs.chmod(inFolder("closed", "b"), 0);
  const argv = [process.execPath, launcher("eval-linear"), ...backbone, "--data", "folder:closed", ...features];
  const ended = await startProcess([...asOrdinaryUser, ...argv], folder).ended;
  await fs.chmod(inFolder("closed", "b"), 0o700);
  expectComplaint(
    ended,
    /error: Expected to read a folder of images at .*closed.b but it may not be read by this user\n/,
  );
});

test("a corrupted checkpoint is told, and nothing is written", async () => {
  await fs.writeFile(inFolder("cut.pth"), Buffer.concat([Buffer.from("PK\u0003\u0004"), Buffer.alloc(500, 7)]));
  const converting = convertCheckpoint({ file: inFolder("cut.pth"), out: inFolder("converted"), title: "cut" });
  expect(await complaint(converting)).toContain("cut.pth");
  expect(existsSync(inFolder("converted"))).toBe(false);
});

describe("a full disk", () => {
  const asked = ["extract-features", ...backbone, ...photos, "--layers", "block0:identity", "--device", "wasm"];
  const store = path.join("small", "convnet", "photos", "features_all");

  let undisturbed: Record<string, string>;
  beforeAll(async () => {
    expect((await run("frozen-eval", [...asked, "--features-root", "roomy"], folder)).status).toBe(0);
    undisturbed = await filesOf(inFolder("roomy", store));
  });

  // The features take 393,216 bytes.
  test.each([
    ["in a shard", 200_000],
    ["just before the end", 394_500],
  ])("%s leaves nothing half-written, and the same command goes on when there is room", async (_, room) => {
    const fullDisk = path.join(root, "dist", "__tests__", "cli", "full-disk.js");
    const argv = [launcher("frozen-eval"), ...asked, "--features-root", `full-${room}`];
    const full = startProcess([process.execPath, "--require", fullDisk, ...argv], folder, { ROOM: String(room) });
    expectComplaint(
      await full.ended,
      /error: Expected room on the disk for .*features_all.* but it is full/,
      /Free some space/,
    );
    const left = existsSync(inFolder(`full-${room}`)) ? readdirSync(inFolder(`full-${room}`), { recursive: true }) : [];
    expect(left.filter((name) => /\.partial$|lock$/.test(String(name)))).toEqual([]);

    expect((await startProcess([process.execPath, ...argv], folder).ended).status).toBe(0);
    expect(await filesOf(inFolder(`full-${room}`, store))).toEqual(undisturbed);
  });
});
