import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import sharp from "sharp";

import { readNpy } from "../../lib/features/npy-file.js";
import { run, runHere, temporaryFolder } from "../command-line.js";

const folder = temporaryFolder();
const preprocess = (...argv: string[]) => run("frozen-eval", ["preprocess", ...argv], folder);

test("shows what a network sees of an image: as a picture, and as its numbers", async () => {
  // Each half of one colour, so that every number is known.
  const [width, height] = [8, 4];
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i % (width * 3) < 12 ? 0 : 255));
  await sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toFile(path.join(folder, "halves.png"));
  const transform = ["--transform", "center_crop(4)|normalize(half)"];

  const numbers = await preprocess("halves.png", ...transform, "--out", "seen.npy", "--json");
  expect(numbers).toMatchObject({ status: 0, stderr: "" });
  expect(JSON.parse(numbers.stdout)).toMatchObject({ image: "halves.png", shape: [4, 4, 3], out: "seen.npy" });
  const seen = await readNpy({ file: path.join(folder, "seen.npy") });
  expect(seen.shape).toEqual([4, 4, 3]);
  expect([...(seen.data as Float32Array).slice(0, 12)]).toEqual([-1, -1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1]);

  expect(await preprocess("halves.png", ...transform, "--out", "seen.png")).toMatchObject({ status: 0 });
  const picture = await sharp(readFileSync(path.join(folder, "seen.png")))
    .raw()
    .toBuffer({ resolveWithObject: true });
  expect(picture.info).toMatchObject({ width: 4, height: 4, channels: 3 });
  expect([...picture.data.subarray(0, 12)]).toEqual([0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255]);
});

test.each([
  [["missing.jpg", "--out", "a.png"], "missing.jpg"],
  [["empty.jpg", "--out", "a.png"], "empty.jpg"],
  [["empty.jpg", "--out", "a.gif"], 'Expected a file that ends in .png or .npy for --out but received "a.gif"'],
  [["--out", "a.png"], "Expected an image file for IMAGE but received nothing"],
  [["empty.jpg", "--out", "a.png", "--transform", "rezise(256)"], "rezise"],
])("tells in one sentence what is wrong: %j", async (argv, message) => {
  writeFileSync(path.join(folder, "empty.jpg"), "");
  const { status, stdout, stderr } = await runHere("frozen-eval", ["preprocess", ...argv], folder);
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  expect(stderr).toMatch(/^error: Expected /);
  expect(stderr.split("\n").length).toBeLessThanOrEqual(3);
  expect(stderr).toContain(message);
  expect(existsSync(path.join(folder, "a.png"))).toBe(false);
});
