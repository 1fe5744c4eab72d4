import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../../lib/backend/backend.js";
import type { Diagnosis } from "../../lib/backend/doctor.js";
import { loadBackbone } from "../../lib/backbones/backbone.js";
import { convertCheckpoint } from "../../lib/convert/convert.js";
import { openDataset } from "../../lib/datasets/open.js";
import { extractFeatures } from "../../lib/features/extract.js";
import type { FeatureSource } from "../../lib/features/source.js";
import { launcher, startProcess, temporaryFolder } from "../command-line.js";
import { goldenPath } from "../golden.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";
import { noSoftwareGpu, softwareGpu } from "./software-gpu.js";

// The program that takes the part of a GPU compiles each operation, perhaps on a machine that has other work.
jest.setTimeout(240_000);

/** How far features may be from those of WebAssembly, relative to the largest of their layer. */
const tolerance = 5e-5;

const folder = temporaryFolder();
const run = (argv: string[], environment: Record<string, string>) =>
  startProcess([process.execPath, ...argv], folder, environment).ended;
const doctor = (environment: Record<string, string>) =>
  run([launcher("frozen-eval"), "doctor", "--device", "webgpu", "--json"], environment);

const title = noSoftwareGpu ? `WebGPU on a software GPU (${noSoftwareGpu})` : "WebGPU on a software GPU";
(noSoftwareGpu ? describe.skip : describe)(title, () => {
  test("gives the features of WebAssembly at every tap", async () => {
    await prepareBackend({ device: "wasm" });
    const convert = async (file: string) => {
      return (await convertCheckpoint({ file: goldenPath(file), out: path.join(folder, "models"), title: "golden" }))
        .dir;
    };
    const backbones = [
      await writeSmallBackbone({ root: path.join(folder, "models") }),
      await convert("convert/resnets/cifar_a/weights.pth"),
      await convert("vits/hf_dinov2.pth"),
    ];
    const photos = path.join(folder, "photos");
    await writeSmallImages({ folder: photos, count: 1 });
    const program = path.join(__dirname, "extract-on-webgpu.js");
    const ended = await run([program, photos, path.join(folder, "webgpu"), ...backbones], softwareGpu!);
    expect(ended).toMatchObject({ stderr: "", status: 0, stdout: expect.stringContaining("SwiftShader") as string });

    const dataset = await openDataset({ spec: `folder:${photos}` });
    let layers = 0;
    for (const dir of backbones) {
      const backbone = await loadBackbone({ dir });
      const { height, width } = backbone.manifest.input;
      const transform = `resize(${height}x${width},bilinear)|normalize(imagenet)`;
      const extract = (root: string) =>
        extractFeatures({ backbone, dataset, root: path.join(folder, root), transform, workers: 1 });
      const [found, wanted] = [await extract("webgpu"), await extract("wasm")];
      expect([found.extraction.images, wanted.extraction.images]).toEqual([0, 6]);
      for (const { name } of wanted.splits.all!.layers) {
        const [ours, theirs] = [await valuesOf(found.splits.all!, name), await valuesOf(wanted.splits.all!, name)];
        const largest = Math.max(...theirs.map(Math.abs));
        expect(largest).toBeGreaterThan(0);
        const gap = Math.max(...ours.map((value, i) => Math.abs(value - theirs[i]!))) / largest;
        expect([dir, name, gap < tolerance]).toEqual([dir, name, true]);
        layers++;
      }
      await found.close();
      await wanted.close();
      backbone.dispose();
    }
    expect(layers).toBe(3 + 6 + 5);
  });

  test("the doctor computes on it, names it, and says that it is a program", async () => {
    const { status, stdout } = await doctor(softwareGpu!);
    expect(status).toBe(0);
    const diagnosis = JSON.parse(stdout) as Diagnosis;
    const name = expect.stringContaining("SwiftShader") as string;
    expect(diagnosis.backend).toMatchObject({ device: "webgpu", name: "webgpu", gpu: name });
    expect(diagnosis.webgpu).toEqual({ name, software: true });
    expect(diagnosis.matrixProduct.gigaflops).toBeGreaterThan(0);
  });

  test("where there is no GPU, --device webgpu is a mistake that says what to do", async () => {
    const { status, stdout, stderr } = await doctor({ VK_DRIVER_FILES: path.join(folder, "none.json") });
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/error: Expected a GPU for --device webgpu but WebGPU finds none\n.*vulkaninfo/);
  });
});

async function valuesOf(source: FeatureSource, layer: string): Promise<Float32Array> {
  const rows = Uint32Array.from({ length: source.size }, (_, row) => row);
  for await (const { features } of source.pass({ rows, batchSize: rows.length, layers: [layer] })) {
    const values = (await features[layer]!.data()) as Float32Array;
    tf.dispose(features);
    return values;
  }
  throw new Error("no rows");
}
