import fs from "node:fs/promises";
import path from "node:path";

import { run, runHere, temporaryFolder } from "../command-line.js";
import { extract as extractSynthetic, filesOf } from "../features/synthetic.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const store = (...argv: string[]) => runHere("frozen-eval", ["store", ...argv], folder);

describe("two parts of one listing", () => {
  // Two images more than the first part takes.
  const images = 514;
  const split = (name: string) => path.join("features", "small", "convnet", "photos", name);
  const extract = (...argv: string[]) =>
    runHere("frozen-eval", ["extract-features", "--backbone", "models/small/convnet", "--data", "folder:photos", "--device", "wasm", "-q", ...argv], folder); // prettier-ignore

  test("are extracted by themselves and merged to what one run writes, byte for byte", async () => {
    await writeSmallBackbone({ root: path.join(folder, "models") });
    await writeSmallImages({ folder: path.join(folder, "photos"), count: images / 2, classes: ["blue", "red"], size: 36 }); // prettier-ignore
    const layers = ["--layers", "block1,features"];
    const dry = await extract(...layers, "--shard", "2/2", "--dry-run", "--json");
    expect(JSON.parse(dry.stdout)).toMatchObject({ images: 2, bytes: 2 * (16 + 16) * 4 });
    for (const shard of ["2/2", "1/2"]) {
      expect(await extract(...layers, "--shard", shard)).toMatchObject({ status: 0, stderr: "" });
    }
    const again = await extract(...layers, "--shard", "1/2");
    expect(again.stdout).toMatch(/^All was there\.\n.*features_all_part1of2: 512 images\n$/);
    const empty = await extract(...layers, "--shard", "1/3");
    expect(empty).toMatchObject({ status: 0, stdout: "This part has no images.\n" });

    const parts = [1, 2].map((part) => split(`features_all_part${part}of2`));
    const merged = await store("merge", split("features_all"), ...parts);
    expect(merged.stdout).toBe(
      `${split("features_all")}: 514 images, 2 layers, of 2 parts. The parts may be deleted.\n`,
    );
    const found = await extract(...layers);
    expect(found.stdout).toMatch(/^All was there\.\n/);
    expect(await extract(...layers, "--features-root", "undivided")).toMatchObject({ status: 0 });
    const whole = path.join(folder, "undivided", "small", "convnet", "photos", "features_all");
    expect(await filesOf(path.join(folder, split("features_all")))).toEqual(await filesOf(whole));
  });

  test("that do not exist are refused", async () => {
    const { status, stderr } = await extract("--shard", "3/2");
    expect(stderr).toContain(
      'error: Expected a part and the number of parts, from 1/8 to 8/8, for --shard but received "3/2"\n',
    );
    expect(status).toBe(2);
  });
});

test("info, verify and export tell persons and programs", async () => {
  const { folder: made } = await extractSynthetic(path.join(folder, "synthetic"));
  const info = await store("info", made);
  expect(info.stdout).toContain("data       photos, split train: 203 images of 7 classes\n");
  expect(info.stdout).toContain("skipped    18 images that could not be read\n");
  expect(info.stdout).toMatch(/\nres4 +3x2x2 +185 +13 +10\.5 kB\n/);
  expect(JSON.parse((await store("info", made, "--json")).stdout)).toMatchObject({
    state: "whole",
    layers: [{ name: "res4", width: 12, rows: 185 }, { name: "res5avg" }],
  });

  const whole = await run("frozen-eval", ["store", "verify", made, "-q"], folder);
  expect(whole).toEqual({ status: 0, stderr: "", stdout: "All 28 files (19.3 kB) are as they were written.\n" });
  const exported = await store("export", made, "--to", "npy", "--out", "npy", "--layers", "res4", "-q");
  expect(exported.stdout).toBe(["npy/res4_features.npy", "npy/targets.npy", "npy/ids.txt", ""].join("\n"));

  const [flipped, cut, gone] = [1, 3, 4].map((shard) => path.join(made, "res5.global_avg", `0000${shard}.npy`));
  const bytes = await fs.readFile(flipped!);
  bytes[bytes.length - 5]! ^= 1;
  await fs.writeFile(flipped!, bytes);
  await fs.truncate(cut!, 441);
  await fs.rm(gone!);
  const damaged = await store("verify", made, "-q");
  expect(damaged.status).toBe(2);
  expect(damaged.stdout).toContain("Expected 28 files as they were written but 3 are damaged:\n");
  expect(damaged.stdout).toContain(`  ${flipped}: its sha256 is another: it was changed or is damaged\n`);
  expect(damaged.stdout).toContain(`  ${cut}: it has 441 bytes instead of 448\n`);
  expect(damaged.stdout).toContain(`  ${gone}: there is no such file\n`);
  const told = await store("verify", made, "-q", "--json");
  expect(told.status).toBe(2);
  expect(JSON.parse(told.stdout)).toMatchObject({ files: 28, damaged: [{ file: flipped }, { file: cut }, { file: gone }] }); // prettier-ignore

  const description = path.join(made, "store.json");
  await fs.writeFile(description, (await fs.readFile(description, "utf8")).replace('"size": 203', '"size": 204'));
  expect((await store("verify", made, "-q")).stdout).toContain(
    `  ${description}: it tells of 186 images and of 185 rows of res4\n`,
  );
});

test("a store that is begun is no whole one", async () => {
  const stop = () => {
    throw new Error("stopped");
  };
  const begun = path.join(folder, "begun");
  await expect(extractSynthetic(begun, { after: stop })).rejects.toThrow("stopped");
  const made = path.join(begun, "moco-v2", "resnet50", "photos", "features_train");
  expect((await store("info", made)).stdout).toMatch(
    /: its extraction is not over\n[^]*\nres4 +3x2x2 +0 +0 +0 B +begun\n/,
  );
  const { status, stderr } = await store("verify", made);
  expect(stderr).toContain("Expected a whole feature store at");
  expect(status).toBe(2);
});

test.each([
  [["info"], "Expected folders for DIR... but received nothing"],
  [["info", "a", "b"], 'Expected one store for store info but received ["a","b"]'],
  [["info", "nowhere"], "Expected a feature store at nowhere but it holds no store.json"],
  [["verify", "nowhere"], "Expected a feature store at nowhere but it holds no store.json"],
  [["verify", "a", "--to", "npy"], "Expected --to with store export but received it with store verify"],
  [["merge", "a"], 'Expected the new store and its parts for store merge but received ["a"]'],
  [["merge", "out", "nowhere"], "Expected a feature store at nowhere but it holds no store.json"],
  [["export", "a", "--out", "b"], "Expected npy, vissl, cog or safetensors for --to but received nothing"],
  [["export", "a", "--to", "cog"], "Expected a folder for --out but received nothing"],
  [["export", "a", "--to", "hdf5", "--out", "b"], 'for --to but received "hdf5"'],
])("%j is answered with a sentence", async (argv, message) => {
  const { status, stdout, stderr } = await store(...argv);
  expect(stderr).toContain(message);
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
});
