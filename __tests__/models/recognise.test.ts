import { CheckpointWeights } from "../../lib/convert/checkpoint-weights.js";
import { GraphBuilder } from "../../lib/convert/graph-builder.js";
import type { DType, TensorData, TensorEntry } from "../../lib/checkpoints/tensor.js";
import { recogniseArchitecture } from "../../models/index.js";
import { golden } from "../golden.js";

// Names and shapes of the published checkpoints.
const published = golden<Record<string, Record<string, number[]>>>("convert/efficientnet-lite-shapes.json");
const lite0 = published.efficientnet_lite0!;

function entry(shape: number[], dtype: DType = "float32", values?: number[]): TensorEntry {
  const length = shape.reduce((product, size) => product * size, 1);
  const read = (): Promise<TensorData> =>
    Promise.resolve(Float32Array.from(values ?? new Array<number>(length).fill(1)));
  return { shape, dtype, read };
}

function checkpoint(shapes: Record<string, number[]>, changes: Record<string, TensorEntry | undefined> = {}) {
  const tensors = new Map(Object.entries(shapes).map(([name, shape]) => [name, entry(shape)]));
  for (const [name, change] of Object.entries(changes)) {
    if (change) tensors.set(name, change);
    else tensors.delete(name);
  }
  return { file: "weights.pth", tensors };
}

function build(source: ReturnType<typeof checkpoint>, arch?: string) {
  const { architecture, prefix } = recogniseArchitecture({ checkpoint: source, arch });
  const graph = new GraphBuilder(architecture.input);
  const weights = new CheckpointWeights(source, architecture.arch, prefix);
  architecture.build(graph, weights);
  return { graph, weights, architecture, prefix };
}

describe("recogniseArchitecture", () => {
  test.each(Object.entries(published))("%s is known by its shapes", (arch, shapes) => {
    const { architecture, weights, graph } = build(checkpoint(shapes));
    expect(architecture.arch).toBe(arch);
    const blocks = Object.keys(shapes).filter((name) => name.endsWith("_project_conv.weight")).length;
    expect(graph.taps.map(({ name }) => name)).toEqual([
      "stem",
      ...Array.from({ length: blocks }, (_, i) => `block${i}`),
      "head",
      "pooled",
      "logits",
    ]);
    // Every tensor is in the graph, but for the counters of batch norm.
    const counters = Object.keys(shapes).filter((name) => name.endsWith("num_batches_tracked"));
    expect(weights.unused()).toEqual(counters.map((name) => ({ name, reason: "counts the steps of training" })));
  });

  test("wrappers are taken off, and what is beside the network is told", () => {
    const wrapped = Object.fromEntries(Object.entries(lite0).map(([name, shape]) => [`model/module.${name}`, shape]));
    const { prefix, weights } = build(checkpoint({ ...wrapped, "optimizer/state/0/momentum_buffer": [3] }));
    expect(prefix).toBe("model/module.");
    expect(weights.unused().at(-1)).toEqual({
      name: "optimizer/state/0/momentum_buffer",
      reason: "state of the optimizer",
    });
  });

  test("a backbone without its classifier has no logits", () => {
    const { graph } = build(checkpoint(lite0, { "_fc.weight": undefined, "_fc.bias": undefined }));
    expect(graph.taps.at(-1)!.name).toBe("pooled");
  });

  const twice = (...wrappers: string[]) =>
    checkpoint(
      Object.fromEntries(Object.entries(lite0).flatMap(([name, shape]) => wrappers.map((who) => [who + name, shape]))),
    );

  test("of two networks it is the published one, or the one that is asked for", () => {
    const checkpoint = twice("student.", "teacher.backbone.");
    const { prefix, choice } = recogniseArchitecture({ checkpoint });
    expect(prefix).toBe("teacher.backbone.");
    expect(choice).toEqual({ others: ["student."], reason: "DINO, iBOT and DINOv2 evaluate the teacher" });
    for (const asked of ["student", "student."]) {
      const found = recogniseArchitecture({ checkpoint, prefix: asked });
      expect([found.prefix, found.choice]).toEqual(["student.", undefined]);
    }
    expect(recogniseArchitecture({ checkpoint, arch: "efficientnet_lite0" }).prefix).toBe("teacher.backbone.");
  });

  test("two networks that no publication tells apart, and none, are told", () => {
    expect(() => recogniseArchitecture({ checkpoint: twice("left.", "right.") })).toThrow(
      "Expected one network in weights.pth but received efficientnet_lite0 under left. and efficientnet_lite0 under right.",
    );
    expect(() => recogniseArchitecture({ checkpoint: twice("left."), prefix: "middle" })).toThrow(
      "Expected tensors under the prefix middle in weights.pth but there are none",
    );
    expect(() => recogniseArchitecture({ checkpoint: checkpoint({ "conv1.weight": [64, 3, 7, 7] }) })).toThrow(
      "Expected a known architecture in weights.pth but received 1 tensors that begin with conv1.weight",
    );
    expect(() => recogniseArchitecture({ checkpoint: checkpoint(lite0), arch: "efficientnet_lite9" })).toThrow(
      'Expected a known architecture but received "efficientnet_lite9"',
    );
  });

  test("an EfficientNet with squeeze-and-excitation is not a Lite", () => {
    const changes = { "_blocks.0._se_reduce.weight": entry([8, 32, 1, 1]) };
    expect(() => recogniseArchitecture({ checkpoint: checkpoint(lite0, changes) })).toThrow("a known architecture");
  });
});

describe("CheckpointWeights", () => {
  test("a tensor that is missing, or has another shape or type, is named", () => {
    expect(() => build(checkpoint(lite0, { "_blocks.3._bn1.bias": undefined }))).toThrow(
      "Expected the tensor _blocks.3._bn1.bias of efficientnet_lite0 in weights.pth but it is not there",
    );
    expect(() => build(checkpoint(lite0, { "_conv_head.weight": entry([1280, 384, 1, 1]) }))).toThrow(
      "Expected the shape [1280, 320, 1, 1] of efficientnet_lite0 for _conv_head.weight in weights.pth but received [1280, 384, 1, 1]",
    );
    expect(() => build(checkpoint(lite0, { "_bn0.bias": entry([32], "int64") }))).toThrow(
      "Expected floating-point numbers for _bn0.bias in weights.pth but received int64",
    );
    expect(() => build(checkpoint(lite0), "efficientnet_lite1")).toThrow(
      "Expected the shape [144, 1, 3, 3] of efficientnet_lite1 for _blocks.3._depthwise_conv.weight in weights.pth",
    );
  });

  test("numbers that are not finite, and variances below zero, are found when they are read", async () => {
    const spoilt = (name: string, value: number) =>
      build(checkpoint(lite0, { [name]: entry([32], "float32", [...new Array<number>(31).fill(1), value]) }));
    const readAll = async ({ graph }: ReturnType<typeof build>) => {
      for (const name of ["stem/conv/kernel", "stem/bias_add/bias"]) await graph.weights.get(name)!.read();
    };
    await expect(readAll(spoilt("_bn0.running_mean", NaN))).rejects.toThrow(
      "Expected finite numbers for _bn0.running_mean in weights.pth but received NaN at position 31",
    );
    await expect(readAll(spoilt("_bn0.running_var", -1))).rejects.toThrow("Expected variances for _bn0.running_var");
  });
});
