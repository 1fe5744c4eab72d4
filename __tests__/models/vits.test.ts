import fs from "node:fs";

import * as tf from "@tensorflow/tfjs";

import { readCheckpoint } from "../../lib/checkpoints/checkpoint.js";
import type { Checkpoint } from "../../lib/checkpoints/checkpoint.js";
import type { TensorEntry } from "../../lib/checkpoints/tensor.js";
import { CheckpointWeights } from "../../lib/convert/checkpoint-weights.js";
import { GraphBuilder } from "../../lib/convert/graph-builder.js";
import { graphModelJson } from "../../lib/convert/graph-model.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { clipVit } from "../../models/clip-vit.js";
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
  const furthest = Array.from(wanted.data).reduce(
    (most, value, i) => Math.max(most, Math.abs(value - seen!.data[i]!)),
    0,
  );
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

  test("the quick GELU is asked for by name, or told by half precision", async () => {
    const golden = await goldenOf("open_clip_quickgelu");
    const { tensors } = golden.checkpoint;
    const shapes = new Map([...tensors].map(([name, entry]) => [name.replace("state_dict/visual.", ""), entry]));
    const arch = "clip_vit_12x2_patch8_quickgelu";
    const named = clipVit.recognise(shapes, arch)!;
    const graph = new GraphBuilder(named.input);
    named.build(graph, new CheckpointWeights(golden.checkpoint, arch, "state_dict/visual."));
    await golden.expectEqual(graph);
    expect(clipVit.recognise(shapes)!.arch).toBe("clip_vit_12x2_patch8");
    const half = new Map([...shapes].map(([name, entry]) => [name, { ...entry, dtype: "float16" as const }]));
    expect(clipVit.recognise(half)!.arch).toBe(arch);
  });

  // Made by bench/peers/golden_vits.py with timm, open_clip, transformers and segment_anything.
  test.each([
    { file: "deit_distilled", arch: "vit_12x2_patch8", prefix: 2 },
    { file: "qk_norm", arch: "vit_12x2_patch8", prefix: 1 },
    { file: "timm_clip", arch: "vit_12x2_patch8", prefix: 1 },
    { file: "eva02_packed", arch: "eva02_24x2_patch8", prefix: 1 },
    { file: "eva02_scaled", arch: "eva02_24x2_patch8", prefix: 1 },
    { file: "siglip", arch: "vit_12x2_patch8", prefix: 0 },
    { file: "big_vision", arch: "flax_vit_12x2_patch8", prefix: 0 },
    { file: "big_vision_stacked", arch: "flax_vit_12x2_patch8", prefix: 0 },
    { file: "open_clip", arch: "clip_vit_12x2_patch8", prefix: 1 },
    { file: "hf_vit", arch: "hf_vit_12x2_patch8", prefix: 1 },
    { file: "hf_dinov2", arch: "hf_dinov2_12x2_patch8", prefix: 1, unused: ["embeddings.mask_token"] },
    { file: "hf_dinov2_registers", arch: "hf_dinov2_12x2_patch8", prefix: 5, unused: ["embeddings.mask_token"] },
    { file: "hf_clip", arch: "hf_clip_vit_12x2_patch8", prefix: 1 },
    { file: "hf_siglip", arch: "hf_siglip_vit_12x2_patch8", prefix: 0 },
    { file: "sam", arch: "sam_vit_12x3_patch8", prefix: undefined },
  ])("$file equals the original at every tap", async ({ file, arch, prefix, unused = [] }) => {
    await expectEqual(file, { arch, prefix, unused });
  });
});

async function expectEqual(file: string, wanted: { arch: string; prefix?: number; unused: string[] }) {
  const golden = await goldenOf(file);
  const built = build(golden.checkpoint);
  expect(built.architecture.arch).toBe(wanted.arch);
  expect(built.unused.map((name) => name.slice(built.prefix.length))).toEqual(wanted.unused);
  const block = built.graph.taps.find(({ name }) => name === "block0")!;
  expect(block.prefixTokens).toBe(wanted.prefix);
  await golden.expectEqual(built.graph);
}

/** A checkpoint with the input and the taps of the original beside it. */
async function goldenOf(file: string) {
  const { tensors } = await readCheckpoint({ file: goldenPath(`vits/${file}.pth`) });
  const under = (folder: string) => [...tensors].filter(([name]) => name.startsWith(folder));
  const valuesOf = async (name: string): Promise<Values> => {
    const entry = tensors.get(name)!;
    return { shape: entry.shape, data: (await entry.read()) as Float32Array };
  };
  return {
    checkpoint: { file: `${file}.pth`, tensors: new Map(under("state_dict/")) },
    expectEqual: async (graph: GraphBuilder) => {
      const taps = await run(graph, await valuesOf("input"));
      const names = under("taps/").map(([name]) => name.slice("taps/".length));
      expect(names.length).toBeGreaterThan(2);
      for (const name of names) expectNear(name, taps.get(name), await valuesOf(`taps/${name}`));
    },
  };
}

describe("recognition of vision transformers", () => {
  const entry = (shape: number[]): TensorEntry => ({
    shape,
    dtype: "float32",
    read: () => Promise.resolve(new Float32Array(shape.reduce((product, size) => product * size, 1))),
  });

  /** Names and shapes alone. */
  function network(options: { width: number; depth: number; patch: number; positions: number; prefix?: string }) {
    const { width, depth, patch, positions, prefix = "" } = options;
    const shapes: Record<string, number[]> = {
      cls_token: [1, 1, width],
      pos_embed: [1, positions, width],
      "patch_embed.proj.weight": [width, 3, patch, patch],
      "patch_embed.proj.bias": [width],
      "norm.weight": [width],
      "norm.bias": [width],
    };
    for (let i = 0; i < depth; i++) {
      const linears = { "attn.qkv": [3 * width, width], "attn.proj": [width, width], "mlp.fc1": [4 * width, width], "mlp.fc2": [width, 4 * width] }; // prettier-ignore
      for (const [name, shape] of Object.entries(linears)) {
        shapes[`blocks.${i}.${name}.weight`] = shape;
        shapes[`blocks.${i}.${name}.bias`] = shape.slice(0, 1);
      }
      for (const norm of ["norm1", "norm2"])
        for (const part of ["weight", "bias"]) shapes[`blocks.${i}.${norm}.${part}`] = [width];
    }
    return new Map(Object.entries(shapes).map(([name, shape]) => [prefix + name, entry(shape)]));
  }

  const base = { width: 768, depth: 12, patch: 16, positions: 197 };

  test.each([
    [base, "vit_base_patch16", 224],
    [{ width: 1024, depth: 24, patch: 14, positions: 1 + 37 * 37 }, "vit_large_patch14", 518],
    [{ width: 192, depth: 12, patch: 16, positions: 1 + 24 * 24 }, "vit_tiny_patch16", 384],
    [{ width: 1280, depth: 32, patch: 14, positions: 257 }, "vit_huge_patch14", 224],
  ])("%j is %s for images of %i", (size, arch, side) => {
    const checkpoint = { file: "weights.pth", tensors: network({ ...size, prefix: "module." }) };
    const { architecture, prefix, unused } = build(checkpoint);
    expect([architecture.arch, architecture.input, prefix, unused]).toEqual([arch, { height: side, width: side }, "module.", []]); // prettier-ignore
  });

  test("MoCo v3's small network has 12 heads: told by its projector, or asked for", () => {
    const small = { width: 384, depth: 12, patch: 16, positions: 197 };
    const tensors = network(small);
    const recognised = (arch?: string) => recogniseArchitecture({ checkpoint: { file: "weights.pth", tensors }, arch });
    expect(recognised().architecture.arch).toBe("vit_small_patch16");
    expect(recognised("vit_small_patch16_heads12").architecture.arch).toBe("vit_small_patch16_heads12");
    tensors.set("head.0.weight", entry([4096, 384])).set("head.1.running_mean", entry([4096]));
    expect(recognised().architecture.arch).toBe("vit_small_patch16_heads12");
  });

  test("tensors of another shape than asked for, a missing block and a wrong image size are told", () => {
    const file = "weights.pth";
    expect(() => build({ file, tensors: network(base) }, { arch: "vit_large_patch16" })).toThrow(
      "Expected the shape [1, any, 1024] of vit_large_patch16 for cls_token in weights.pth but received [1, 1, 768]",
    );
    const short = network(base);
    short.delete("blocks.3.attn.proj.weight");
    expect(() => build({ file, tensors: short })).toThrow(
      "Expected the tensor blocks.3.attn.proj.weight of vit_base_patch16 in weights.pth but it is not there",
    );
    expect(() => build({ file, tensors: network(base) }, { side: 230 })).toThrow(
      "Expected multiples of the patch of 16 for the image size of vit_base_patch16 but received 230 x 230",
    );
  });

  test("a block that holds more, and positions that are no square, are another network's", () => {
    const other = network(base).set("blocks.0.attn.relative_position_bias_table", entry([732, 12]));
    for (const tensors of [other, network({ ...base, positions: 200 })])
      expect(() => build({ file: "weights.pth", tensors })).toThrow("Expected a known architecture in weights.pth");
  });
});
