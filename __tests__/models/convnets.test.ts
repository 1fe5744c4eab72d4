import { readdirSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { readCheckpoint } from "../../lib/checkpoints/checkpoint.js";
import { CheckpointWeights } from "../../lib/convert/checkpoint-weights.js";
import { GraphBuilder } from "../../lib/convert/graph-builder.js";
import { graphModelJson } from "../../lib/convert/graph-model.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { recogniseArchitecture } from "../../models/index.js";
import { UserError } from "../../lib/errors.js";
import { describeOnBackends } from "../backends.js";
import { golden, goldenPath } from "../golden.js";

interface Values {
  shape: readonly number[];
  data: Float32Array;
}

/** A small network with random weights, and what the original program gives. */
interface Reference {
  file: string;
  arch: string;
  options?: { arch: string };
  /** N × H × W × C */
  input: () => Promise<tf.Tensor4D>;
  taps: () => Promise<Map<string, Values>>;
  /** How far a tap may be, relative to its largest value. */
  tolerance: number;
  /** Tensors that the graph does without. */
  unused?: RegExp;
}

// bench/peers/golden_convnets.py: one file holds weights, input and taps.
const ours: Reference[] = [
  made("convnextv2_timm", "convnextv2"),
  made("convnextv2_authors", "convnextv2"),
  made("convnext_conv_mlp", "convnext"),
  made("convnext_torchvision", "convnext"),
  made("convnext_open_clip_linear", "convnext"),
  made("convnext_open_clip_mlp", "convnext"),
  made("swin_timm", "swin"),
  made("swin_authors", "swin"),
  made("swin_torchvision", "swin"),
  made("mobilenetv2_timm", "mobilenetv2"),
  made("mobilenetv2_torchvision", "mobilenetv2"),
  made("mobilenetv3_timm", "mobilenetv3_large"),
  made("efficientnet_lukemelas", "efficientnet"),
  made("efficientnet_torchvision", "efficientnet"),
];

function made(name: string, arch: string): Reference {
  const file = goldenPath(`convnets/${name}.pth`);
  const tensor = async (wanted: string): Promise<Values> => {
    const entry = (await readCheckpoint({ file })).tensors.get(wanted)!;
    return { shape: entry.shape, data: (await entry.read()) as Float32Array };
  };
  return {
    file,
    arch,
    input: async () => {
      const { shape, data } = await tensor("input");
      return tf.tidy(() => tf.transpose(tf.tensor4d(data, sizes(shape)), [0, 2, 3, 1]));
    },
    taps: async () => {
      const names = [...(await readCheckpoint({ file })).tensors.keys()].filter((one) => one.startsWith("taps/"));
      return new Map(await Promise.all(names.map(async (one) => [one.slice(5), await tensor(one)] as const)));
    },
    tolerance: arch === "swin" ? 2e-4 : 1e-4,
    unused: /^(input|taps\/.*|.*\.(relative_position_index|attn_mask))$/,
  };
}

// The originals' names of their taps, as ours.
const house: Reference[] = [
  given("convnext", "convnext", (tap) => tap.replace("stage_", "stage")),
  given("mobilenet_v3", "mobilenetv3_small", (tap) =>
    tap.replace(/^features_(\d)$/, (_, i) => (i === "0" ? "stem" : i === "7" ? "head" : `block${Number(i) - 1}`)),
  ),
  // A stage is its last block.
  given("efficientnet", "efficientnet", (tap) =>
    tap.replace(/^stage_(\d)$/, (_, i) => `block${[0, 2, 3, 5][Number(i)]}`),
  ),
];

function given(name: string, arch: string, rename: (tap: string) => string): Reference {
  const folder = `checkpoints/models/${name}`;
  const array = async (file: string) => (await readNpy({ file: goldenPath(`${folder}/${file}`) })) as Values;
  return {
    file: goldenPath(`${folder}/weights.pth`),
    arch,
    input: async () => {
      const { shape, data } = await array("input_nhwc.npy");
      return tf.tensor4d(data, sizes(shape));
    },
    taps: async () => {
      const names = Object.keys(golden<{ taps: Record<string, unknown> }>(`${folder}/expected.json`).taps);
      const ours = (tap: string) => (({ fc: "logits" }) as Record<string, string>)[tap] ?? rename(tap);
      return new Map(await Promise.all(names.map(async (one) => [ours(one), await array(`taps/${one}.npy`)] as const)));
    },
    tolerance: 1e-4,
  };
}

function sizes(shape: readonly number[]): [number, number, number, number] {
  return shape as [number, number, number, number];
}

const references = [...ours, ...house];

async function build(reference: Pick<Reference, "file" | "options">, [height, width]: [number, number]) {
  const checkpoint = await readCheckpoint({ file: reference.file });
  const { architecture, prefix } = recogniseArchitecture({ checkpoint, ...reference.options });
  const graph = new GraphBuilder({ height, width });
  const weights = new CheckpointWeights(checkpoint, architecture.arch, prefix);
  architecture.build(graph, weights);
  return { graph, weights, architecture };
}

async function load(graph: GraphBuilder): Promise<tf.GraphModel> {
  const { modelTopology, weightsManifest } = graphModelJson(graph);
  const values = await Promise.all([...graph.weights.values()].map((one) => one.read()));
  return tf.loadGraphModel({
    load: async () => ({
      format: "graph-model",
      modelTopology,
      weightSpecs: weightsManifest[0]!.weights,
      weightData: values.map(
        (value) => new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice().buffer,
      ),
    }),
  });
}

describeOnBackends("a network converted from its checkpoint", () => {
  test.each(references.map((one) => [path.relative(goldenPath("."), one.file), one] as const))(
    "%s gives what the original gives, at every tap",
    async (_, reference) => {
      const images = await reference.input();
      const { graph, weights, architecture } = await build(reference, images.shape.slice(1, 3) as [number, number]);
      expect(architecture.arch).toBe(reference.arch);
      const left = weights.unused().filter(({ name }) => !name.endsWith("num_batches_tracked"));
      expect(left.filter(({ name }) => !reference.unused?.test(name))).toEqual([]);
      const model = await load(graph);
      const wanted = await reference.taps();
      const names = graph.taps.map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining([...wanted.keys()]));
      const outputs = model.execute(
        { images },
        graph.taps.map(({ tensor }) => tensor.node),
      ) as tf.Tensor[];
      const far = [];
      for (const [i, { name, tensor }] of graph.taps.entries()) {
        const [output, expected] = [outputs[i]!, wanted.get(name)];
        expect([name, output.shape]).toEqual([name, [images.shape[0], ...tensor.shape]]);
        if (!expected) continue;
        expect([name, output.shape]).toEqual([name, expected.shape]);
        const values = await output.data();
        const largest = expected.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const furthest = expected.data.reduce((most, value, j) => Math.max(most, Math.abs(value - values[j]!)), 0);
        if (!(furthest <= reference.tolerance * largest)) far.push([name, furthest / largest]);
      }
      expect(far).toEqual([]);
      tf.dispose([images, outputs]);
      model.dispose();
    },
  );
});

describe("recognition", () => {
  test("every reference is known to one family alone, and the folder has no other files", () => {
    expect(readdirSync(goldenPath("convnets")).map((file) => path.join(goldenPath("convnets"), file))).toEqual(
      ours.map(({ file }) => file).sort(),
    );
  });

  // By the name of the model there: architecture and side of the images.
  const published: Record<string, [string, number]> = {
    "timm convnextv2_atto": ["convnextv2_atto", 224],
    "timm swin_base_patch4_window12_384": ["swin_base", 384],
    "timm mobilenetv2_110d": ["mobilenetv2", 224],
    "timm mobilenetv3_small_050": ["mobilenetv3_small", 224],
    "timm efficientnet_b1": ["efficientnet_b1", 256],
    "timm tf_efficientnet_lite2": ["tf_efficientnet_lite2", 260],
    "torchvision convnext_small": ["convnext_small", 224],
    "torchvision swin_t": ["swin_tiny", 224],
    "torchvision mobilenet_v2": ["mobilenetv2", 224],
    "torchvision mobilenet_v3_large": ["mobilenetv3_large", 224],
    "torchvision efficientnet_b5": ["efficientnet_b5", 456],
  };
  const shapes = golden<Record<string, Record<string, number[]>>>("convert/convnet-shapes.json");

  test.each(Object.entries(shapes))("%s is known by its published shapes", (name, tensors) => {
    const [arch, side] = published[name]!;
    const entries = Object.entries(tensors).map(([tensor, shape]) => [tensor, unread(shape)] as const);
    const checkpoint = { file: `${name}.pth`, tensors: new Map(entries) };
    const { architecture } = recogniseArchitecture({ checkpoint });
    expect([architecture.arch, architecture.input]).toEqual([arch, { height: side, width: side }]);
    const weights = new CheckpointWeights(checkpoint, architecture.arch);
    const graph = new GraphBuilder(architecture.input);
    architecture.build(graph, weights);
    expect(
      weights.unused().filter(({ name: one }) => !/num_batches_tracked|relative_position_index|attn_mask/.test(one)),
    ).toEqual([]);
    expect(graph.taps.at(-1)!.tensor.shape).toEqual([1000]);
  });

  test("a tower of OpenCLIP is timm's network with a projection behind it", async () => {
    const { tensors } = await readCheckpoint({ file: house[0]!.file });
    const trunk = [...tensors].filter(([name]) => !name.startsWith("head.fc"));
    const checkpoint = {
      file: "open_clip.pth",
      tensors: new Map([
        ...trunk.map(([name, entry]) => [`visual.trunk.${name}`, entry] as const),
        ["visual.head.proj.weight", unread([640, 48])] as const,
        ["text_projection", unread([64, 640])] as const,
      ]),
    };
    const { architecture, prefix } = recogniseArchitecture({ checkpoint });
    expect([architecture.arch, prefix, architecture.transform]).toEqual([
      "convnext",
      "visual.",
      "resize(256,bicubic)|center_crop(256)|normalize(clip)",
    ]);
    const weights = new CheckpointWeights(checkpoint, architecture.arch, prefix);
    const graph = new GraphBuilder(architecture.input);
    architecture.build(graph, weights);
    expect(graph.taps.slice(-2).map(({ name, tensor }) => [name, tensor.shape])).toEqual([
      ["pooled", [48]],
      ["projection", [640]],
    ]);
    expect(weights.unused().map(({ name }) => name)).toEqual(["text_projection"]);
  });

  test("Swin V2 is refused by name", () => {
    const tensors = new Map(
      ["norm1.weight", "attn.logit_scale", "attn.cpb_mlp.0.weight"].map((part) => [
        `layers.0.blocks.0.${part}`,
        unread([4]),
      ]),
    );
    const recognise = () => recogniseArchitecture({ checkpoint: { file: "swinv2.pth", tensors } });
    expect(recognise).toThrow(UserError);
    expect(recognise).toThrow("received one of the second (Swin V2)");
  });
});

function unread(shape: number[]) {
  return { shape, dtype: "float32" as const, read: () => Promise.reject(new Error("only shapes")) };
}
