import fs from "node:fs";

import * as tf from "@tensorflow/tfjs";

import { readCheckpoint } from "../../lib/checkpoints/checkpoint.js";
import type { Checkpoint } from "../../lib/checkpoints/checkpoint.js";
import { CheckpointWeights } from "../../lib/convert/checkpoint-weights.js";
import { GraphBuilder } from "../../lib/convert/graph-builder.js";
import { graphModelJson } from "../../lib/convert/graph-model.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { recogniseArchitecture } from "../../models/index.js";
import { describeOnBackends } from "../backends.js";
import { goldenPath } from "../golden.js";

/** Transformers agree with the original to this share of the largest number of a tap. */
const tolerance = 2e-4;

interface Values {
  shape: readonly number[];
  data: ArrayLike<number>;
}

function build(checkpoint: Pick<Checkpoint, "file" | "tensors">, options: { arch?: string; side?: number } = {}) {
  const { architecture, prefix } = recogniseArchitecture({ checkpoint, arch: options.arch });
  const { side } = options;
  const graph = new GraphBuilder(side === undefined ? architecture.input : { height: side, width: side });
  const weights = new CheckpointWeights(checkpoint, architecture.arch, prefix);
  architecture.build(graph, weights);
  return { architecture, prefix, graph, unused: weights.unused().map(({ name }) => name) };
}

async function run(graph: GraphBuilder, input: Values): Promise<Map<string, Values>> {
  const { modelTopology, weightsManifest } = graphModelJson(graph);
  const values = await Promise.all([...graph.weights.values()].map((one) => one.read()));
  const model = await tf.loadGraphModel({
    load: async () => ({
      format: "graph-model",
      modelTopology,
      weightSpecs: weightsManifest[0]!.weights,
      weightData: values.map(
        (value) => new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice().buffer,
      ),
    }),
  });
  const images = tf.tensor(Float32Array.from(input.data), [...input.shape]);
  const nodes = graph.taps.map(({ tensor }) => tensor.node);
  const outputs = model.execute({ images }, nodes) as tf.Tensor[];
  const taps = new Map<string, Values>();
  for (const [i, { name, tensor }] of graph.taps.entries()) {
    expect([name, outputs[i]!.shape]).toEqual([name, [input.shape[0], ...tensor.shape]]);
    taps.set(name, { shape: outputs[i]!.shape, data: await outputs[i]!.data() });
  }
  tf.dispose([images, outputs]);
  model.dispose();
  return taps;
}

function expectNear(name: string, seen: Values | undefined, wanted: Values): void {
  expect([name, seen?.shape]).toEqual([name, wanted.shape]);
  const largest = Array.from(wanted.data).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const furthest = Array.from(wanted.data).reduce((most, value, i) => Math.max(most, Math.abs(value - seen!.data[i]!)), 0);
  expect([name, furthest / largest < tolerance ? "near" : furthest / largest]).toEqual([name, "near"]);
}

const shared = (model: string, file: string) => goldenPath(`checkpoints/models/${model}/${file}`);

async function npy(file: string): Promise<Values> {
  const { shape, data } = await readNpy({ file });
  return { shape, data: data as Float32Array };
}

const models = [
  { model: "vit_cls", arch: "vit_48x2_patch16", unused: [] },
  { model: "vit_avg", arch: "vit_48x2_patch16", unused: [] },
  { model: "vit_reg_swiglu", arch: "vit_48x2_patch14", unused: [] },
  { model: "dinov2_vit", arch: "vit_48x2_patch14", unused: ["mask_token"] },
];

/** The tap of each golden array of a token or of the patches: the rows of it. */
const rows: Record<string, { tap: string; rows: (tokens: number) => [from: number, to: number] }> = {
  cls: { tap: "norm", rows: () => [0, 1] },
  patch: { tap: "norm", rows: (tokens) => [tokens - 16, tokens] },
};

function tokensOf({ shape, data }: Values, from: number, to: number): ArrayLike<number> {
  const [count, tokens, width] = shape as [number, number, number];
  const start = (image: number) => image * tokens * width;
  return Array.from({ length: count }, (_, i) => [
    ...Array.from(data).slice(start(i) + from * width, start(i) + to * width),
  ]).flat();
}

describeOnBackends("a vision transformer under its published names", () => {
  test.each(models)("$model equals the original at every tap", async ({ model, arch, unused }) => {
    const checkpoint = await readCheckpoint({ file: shared(model, "weights.pth") });
    const built = build(checkpoint);
    expect(built.architecture.arch).toBe(arch);
    expect(built.unused).toEqual(unused);
    const taps = await run(built.graph, await npy(shared(model, "input_nhwc.npy")));
    const files = fs.readdirSync(shared(model, "taps"));
    expect(files.length).toBeGreaterThan(4);
    for (const file of files) {
      const name = file.replace(".npy", "");
      const wanted = await npy(shared(model, `taps/${file}`));
      const part = rows[name];
      if (part) {
        const tokens = taps.get(part.tap)!;
        const data = tokensOf(tokens, ...part.rows(tokens.shape[1]!));
        expectNear(name, { shape: wanted.shape, data }, wanted);
      } else if (name !== "norm" || taps.has("norm")) {
        expectNear(name, taps.get(name.replace("block_", "block")), wanted);
      }
    }
  });

  test("DINOv2's position embeddings are resampled for larger images", async () => {
    const checkpoint = await readCheckpoint({ file: shared("dinov2_vit", "weights.pth") });
    const { graph } = build(checkpoint, { side: 70 });
    const taps = await run(graph, await npy(shared("dinov2_vit", "input70_nhwc.npy")));
    expectNear("cls", taps.get("pooled"), await npy(shared("dinov2_vit", "input70_cls.npy")));
    const patch = await npy(shared("dinov2_vit", "input70_patch.npy"));
    const norm = taps.get("norm")!;
    expectNear("patch", { shape: patch.shape, data: tokensOf(norm, 5, norm.shape[1]!) }, patch);
  });

  test("blocks in chunks are the same blocks", async () => {
    const checkpoint = await readCheckpoint({ file: shared("dinov2_vit", "weights.pth") });
    const tensors = new Map(
      [...checkpoint.tensors].map(([name, entry]) => [
        name.replace(/^blocks\.(\d+)\./, (_, i: string) => `blocks.${i}.${i}.`),
        entry,
      ]),
    );
    const { graph } = build({ file: "chunks.pth", tensors });
    const taps = await run(graph, await npy(shared("dinov2_vit", "input_nhwc.npy")));
    expectNear("block1", taps.get("block1"), await npy(shared("dinov2_vit", "taps/block_1.npy")));
  });

  // Made by bench/peers/golden_vits.py with timm, open_clip, transformers and segment_anything.
  test.each([
    { file: "deit_distilled", arch: "vit_24x2_patch8", prefix: 2 },
    { file: "qk_norm", arch: "vit_24x2_patch8", prefix: 1 },
    { file: "timm_clip", arch: "vit_24x2_patch8", prefix: 1 },
    { file: "eva02_packed", arch: "eva02_24x2_patch8", prefix: 1 },
    { file: "eva02_scaled", arch: "eva02_24x2_patch8", prefix: 1 },
    { file: "siglip", arch: "vit_24x2_patch8", prefix: 0 },
    { file: "big_vision", arch: "flax_vit_24x2_patch8", prefix: 0 },
    { file: "big_vision_stacked", arch: "flax_vit_24x2_patch8", prefix: 0 },
    { file: "open_clip", arch: "clip_vit_24x2_patch8", prefix: 1 },
    { file: "hf_vit", arch: "hf_vit_24x2_patch8", prefix: 1 },
    { file: "hf_dinov2", arch: "hf_dinov2_24x2_patch8", prefix: 1, unused: ["embeddings.mask_token"] },
    { file: "hf_dinov2_registers", arch: "hf_dinov2_24x2_patch8", prefix: 5, unused: ["embeddings.mask_token"] },
    { file: "hf_clip", arch: "hf_clip_vit_24x2_patch8", prefix: 1 },
    { file: "hf_siglip", arch: "hf_siglip_vit_24x2_patch8", prefix: 0 },
    { file: "sam", arch: "sam_vit_24x3_patch8", prefix: undefined },
  ])("$file equals the original at every tap", async ({ file, arch, prefix, unused = [] }) => {
    await expectEqual(file, { arch, prefix, unused });
  });
});

async function expectEqual(file: string, wanted: { arch: string; prefix?: number; unused: string[] }) {
  const golden = await readCheckpoint({ file: goldenPath(`vits/${file}.pth`) });
  const under = (folder: string) => [...golden.tensors].filter(([name]) => name.startsWith(folder));
  const built = build({ file: golden.file, tensors: new Map(under("state_dict/")) });
  expect(built.architecture.arch).toBe(wanted.arch);
  expect(built.unused.map((name) => name.slice(built.prefix.length))).toEqual(wanted.unused);
  const block = built.graph.taps.find(({ name }) => name === "block0")!;
  expect(block.prefixTokens).toBe(wanted.prefix);
  const valuesOf = async (name: string): Promise<Values> => {
    const entry = golden.tensors.get(name)!;
    return { shape: entry.shape, data: (await entry.read()) as Float32Array };
  };
  const taps = await run(built.graph, await valuesOf("input"));
  const names = under("taps/").map(([name]) => name.slice("taps/".length));
  expect(names.length).toBeGreaterThan(2);
  for (const name of names) expectNear(name, taps.get(name), await valuesOf(`taps/${name}`));
}
