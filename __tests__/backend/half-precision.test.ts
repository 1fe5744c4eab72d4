import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../../lib/backend/backend.js";
import type { JsonNode } from "../../lib/backend/graph-def.js";
import { castToHalf, planHalf } from "../../lib/backend/half-precision.js";
import { expectHalfSupport } from "../../lib/backend/half-support.js";
import { openNativeSession } from "../../lib/backend/native-session.js";
import { digestOfGraph, openGraphFiles } from "../../lib/backbones/graph-files.js";
import { toBfloat16 } from "../../lib/bfloat16.js";
import { convertCheckpoint } from "../../lib/convert/convert.js";
import { random } from "../../lib/random.js";
import { describeOnNative } from "../backends.js";
import { goldenPath } from "../golden.js";

const float = { T: { type: "DT_FLOAT" } };

describe("half precision", () => {
  test("products and what follows them are cast, once a tensor; means and what is wanted are in single precision", () => {
    const nodes: JsonNode[] = [
      { name: "images", op: "Placeholder" },
      { name: "kernel", op: "Const" },
      { name: "conv", op: "Conv2D", input: ["images", "kernel"], attr: float },
      { name: "bias", op: "Const" },
      { name: "shifted", op: "BiasAdd", input: ["conv", "bias"], attr: float },
      { name: "axes", op: "Const" },
      { name: "mean", op: "Mean", input: ["shifted", "axes"], attr: float },
      { name: "centred", op: "Sub", input: ["shifted", "mean"], attr: float },
    ];
    const plan = planHalf(nodes, "bfloat16");
    expect([...plan.nodes]).toEqual(["conv", "shifted"]);
    expect([...plan.constants]).toEqual(["kernel", "bias"]);
    const outputs = ["centred", "shifted"];
    const cast = castToHalf({ nodes, outputs, plan, isHalf: (name) => name === "kernel" });
    expect(cast.outputs).toEqual(["centred", "shifted/as_single"]);
    expect(cast.nodes.map(({ name, op, input = [] }) => [name, op, ...input].join(" "))).toEqual([
      "images Placeholder",
      "kernel Const",
      "images/as_half Cast images",
      "conv Conv2D images/as_half kernel",
      "bias Const",
      "bias/as_half Cast bias",
      "shifted BiasAdd conv bias/as_half",
      "axes Const",
      "shifted/as_single Cast shifted",
      "mean Mean shifted/as_single axes",
      "centred Sub shifted/as_single mean",
    ]);
    expect(cast.nodes.find(({ name }) => name === "conv")!.attr!.T).toEqual({ type: "DT_BFLOAT16" });
  });

  test("bfloat16 is rounded to the nearest, ties to even", () => {
    const values = [1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -(1 + 2 ** -7 + 2 ** -20), 3.4e38, -Infinity, NaN];
    expect(Array.from(toBfloat16(Float32Array.from(values)), (bits) => bits.toString(16))).toEqual([
      "3f80",
      "3f80",
      "3f82",
      "bf81",
      "7f80",
      "ff80",
      "7fc0",
    ]);
  });
});

describeOnNative("a session in half precision", () => {
  let out: string;
  beforeAll(() => (out = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-test-"))));
  afterAll(() => rmSync(out, { recursive: true }));

  // Rounding to 8 bits of fraction changes a number by 0.2 % at most, to 11 bits by 0.03 %.
  test.each([
    ["bfloat16", 1e-4, 0.03],
    ["float16", 1e-5, 0.004],
  ] as const)("%s differs from single precision by rounding", async (half, least, most) => {
    for (const network of ["resnet_bottleneck", "vit_cls"]) {
      const file = goldenPath(`checkpoints/models/${network}/weights.pth`);
      const { dir, manifest } = await convertCheckpoint({ file, out, title: half });
      const files = await openGraphFiles(dir);
      const outputs = [...new Set(manifest.taps.map(({ node }) => node))];
      const model = { modelJson: files.modelFile, digest: await digestOfGraph(files), outputs };
      const sessions = [await openNativeSession(model), await openNativeSession({ ...model, half })];
      const { height, width } = manifest.input;
      const stream = random(1, "images");
      const input = tf.tensor(Float32Array.from({ length: height * width * 3 }, () => stream.normal()), [1, height, width, 3]); // prettier-ignore
      const [single, rounded] = sessions.map((session) => session.run(input)) as [tf.Tensor[], tf.Tensor[]];
      for (const [i, output] of outputs.entries()) {
        const loss = tf.tidy(
          () => tf.div(tf.norm(tf.sub(single[i]!, rounded[i]!)), tf.norm(single[i]!)).dataSync()[0]!,
        );
        expect({ output, loss, ok: loss > least && loss < most }).toMatchObject({ ok: true });
        expect(rounded[i]!.dtype).toBe("float32");
      }
      sessions.forEach((session) => session.dispose());
      tf.dispose([input, single, rounded]);
    }
  });

  test("is refused where the processor, or the backend, has no instructions for it", async () => {
    await expect(expectHalfSupport({ precision: "bfloat16", flags: ["avx512f", "amx_bf16"] })).resolves.toBeUndefined();
    await expect(expectHalfSupport({ precision: "float16", flags: ["avx512f", "amx_bf16"] })).rejects.toThrow(
      'Expected float32 for --compute-precision but received "float16"',
    );
    await prepareBackend({ device: "wasm" });
    await expect(expectHalfSupport({ precision: "bfloat16", flags: ["amx_bf16"] })).rejects.toThrow("this backend");
    await prepareBackend({ device: "native" });
  });
});
