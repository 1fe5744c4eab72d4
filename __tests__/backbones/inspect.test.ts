import { readFileSync, renameSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { formatInspection } from "../../lib/backbones/format-inspection.js";
import { inspectGraphModel, writeManifest } from "../../lib/backbones/inspect.js";
import { UserError } from "../../lib/errors.js";
import { describeOnBackends } from "../backends.js";
import { writeSmallGraph } from "./small-graph.js";

const stem = { parameters: 3 * 3 * 3 * 4, flops: 2 * 64 * 4 * 27 };
const block1 = { parameters: stem.parameters + 3 * 3 * 4 * 4, flops: stem.flops + 2 * 64 * 4 * 36 };
const block2 = { parameters: block1.parameters + 3 * 3 * 4 * 6, flops: block1.flops + 2 * 16 * 6 * 36 };

describeOnBackends("inspection", () => {
  test("proposes the end of each block and the vector before the classifier, with their costs", async () => {
    const before = tf.memory().numTensors;
    const inspection = await inspectGraphModel({ dir: writeSmallGraph() });
    expect(tf.memory().numTensors).toBe(before);
    expect(inspection.layers).toEqual([
      layer("stem", "net/stem/Relu", "map", [8, 8, 4], stem),
      layer("block_1", "net/block_1/add", "map", [8, 8, 4], block1),
      layer("block_2", "net/block_2/Relu", "map", [4, 4, 6], block2),
      layer("pooled", "net/pool/Mean", "vector", [6], block2),
    ]);
    expect(inspection.total).toEqual({ parameters: block2.parameters + 30, flops: block2.flops + 60 });
    expect(inspection.manifest.input).toEqual({ node: "image", height: 8, width: 8, batch: "any" });
    expect(inspection.proposed).toBe(true);
  });

  test("is not disturbed by loops and unknown ops behind the trunk", async () => {
    const more = [
      { name: "loop", op: "While", input: ["net/classifier/MatMul"] },
      { name: "behind", op: "Relu", input: ["loop"] },
      { name: "odd", op: "NoSuchOp", input: ["net/block_1/add"] },
      { name: "odder", op: "NoSuchOp", input: ["net/pool/Mean"] },
    ];
    const before = tf.memory().numTensors;
    const { layers } = await inspectGraphModel({ dir: writeSmallGraph({ more }) });
    expect(layers.map(({ tap }) => tap.name)).toEqual(["stem", "block_1", "block_2", "pooled"]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test("sees that a graph which promises any batch was written for one image", async () => {
    const before = tf.memory().numTensors;
    const { manifest } = await inspectGraphModel({ dir: writeSmallGraph({ singleImages: true }) });
    expect(manifest.input.batch).toBe(1);
    expect(manifest.taps.map(({ name }) => name)).toEqual(["stem", "block_1", "block_2", "pooled"]);
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe("a manifest", () => {
  test("is written once, and shown from then on", async () => {
    const dir = writeSmallGraph({ size: -1 });
    const proposed = await inspectGraphModel({ dir, title: "mine", inputSize: [16, 24] });
    expect(formatInspection(proposed)).toContain("proposed, not in");
    expect(proposed.manifest.transform).toBe("resize(16x24,bilinear)|normalize(none)");
    expect(await writeManifest({ inspection: proposed })).toBe(path.join(dir, "backbone.json"));
    const known = await inspectGraphModel({ dir });
    expect(known.manifest).toEqual(proposed.manifest);
    expect(known.layers).toEqual(proposed.layers);
    expect([known.proposed, known.warnings]).toEqual([false, []]);
    const text = formatInspection(known);
    expect(text).toMatch(/input +image, 16x24x3, any batch/);
    expect(text).toMatch(/layer +kind +shape +pooling +features +parameters +FLOPs +node/);
    expect(text).toMatch(/pooled +vector +6 +identity +6 +468 +\d+ k +net\/pool\/Mean/);
    await expect(writeManifest({ inspection: proposed })).rejects.toThrow(/somebody's work/);
  });

  test("of a model of another name lies beside it", async () => {
    const dir = writeSmallGraph();
    const file = path.join(dir, "centre.json");
    renameSync(path.join(dir, "model.json"), file);
    const written = await writeManifest({ inspection: await inspectGraphModel({ dir: file }) });
    expect(written).toBe(path.join(dir, "centre.backbone.json"));
    expect(JSON.parse(readFileSync(written, "utf8"))).toMatchObject({ arch: "centre", title: path.basename(dir) });
  });

  test("says that the transform is a guess, unless one is given", async () => {
    const dir = writeSmallGraph();
    expect((await inspectGraphModel({ dir })).warnings.join()).toMatch(/a guess/);
    const { warnings, manifest } = await inspectGraphModel({ dir, transform: "resize(8)|center_crop(8)" });
    expect([warnings, manifest.transform]).toEqual([[], "resize(8)|center_crop(8)"]);
  });

  test("a fixed size cannot be changed", async () => {
    await expect(inspectGraphModel({ dir: writeSmallGraph(), inputSize: [9, 9] })).rejects.toThrow(UserError);
  });
});

function layer(name: string, node: string, kind: string, shape: number[], cost: object): object {
  const channels = shape.at(-1)!;
  const pooling = kind === "map" ? "avg" : "identity";
  return { tap: { name, node, kind, shape, pooling }, shape: [channels], width: channels, ...cost };
}
