import { readFileSync, writeFileSync } from "node:fs";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import fc from "fast-check";

import { looksLikeOnnx, readOnnx } from "../../lib/checkpoints/onnx/model.js";
import { UserError } from "../../lib/errors.js";
import { goldenPath } from "../golden.js";
import "../properties.js";
import { onnxFile } from "./onnx-file.js";
import type { SmallModel } from "./onnx-file.js";

let root: string;
beforeAll(async () => (root = await fs.mkdtemp(path.join(os.tmpdir(), "onnx-"))));
afterAll(() => fs.rm(root, { recursive: true }));

function write(name: string, content: SmallModel | string | Uint8Array): string {
  const file = path.join(root, name);
  const isContent = typeof content === "string" || content instanceof Uint8Array;
  writeFileSync(file, isContent ? content : onnxFile(content));
  return file;
}

const relu = { op: "Relu", inputs: ["x"], outputs: ["y"] };

describe("readOnnx", () => {
  test("reads what PyTorch exported", async () => {
    const file = goldenPath("checkpoints/models/resnet_basic/model.onnx");
    expect(looksLikeOnnx(readFileSync(file).subarray(0, 512))).toBe(true);
    const { opset, producer, inputs, outputs, nodes, initializers } = await readOnnx({ file });
    expect(producer).toBe("pytorch 2.15.0");
    expect(opset).toBeGreaterThan(12);
    expect(inputs).toEqual([{ name: "input", shape: expect.arrayContaining([3, 81, 81]) as number[], type: 1 }]);
    expect(outputs).toContain("res5avg");
    expect(nodes.filter(({ op }) => op === "Conv").length).toBeGreaterThan(8);
    const conv = nodes.find(({ op }) => op === "Conv")!;
    expect(conv.attributes.get("pads")?.integers).toEqual([3, 3, 3, 3]);
    const kernel = initializers.get(conv.inputs[1]!)!;
    expect([kernel.shape, kernel.dtype]).toEqual([[6, 3, 7, 7], "float32"]);
    expect((await kernel.read()).length).toBe(6 * 3 * 49);
  });

  test("reads weights that lie in a file beside it", async () => {
    const data = Buffer.from(Float32Array.from([9, 1, 2, 3]).buffer);
    write("weights.bin", data);
    const values = { location: "weights.bin", offset: "4", length: "12" };
    const file = write("external.onnx", { nodes: [relu], weights: { w: { shape: [3], values } } });
    const { initializers } = await readOnnx({ file });
    expect(await initializers.get("w")!.read()).toEqual(Float32Array.from([1, 2, 3]));
  });

  const external = (values: Record<string, string>) => ({ nodes: [relu], weights: { w: { shape: [3], values } } });

  test.each([
    ["an empty file", "", "Expected an ONNX model for FILE but it is empty"],
    ["a text", "weights\n", "Expected an ONNX model for FILE but it begins otherwise"],
    ["a web page", "<!DOCTYPE html><html></html>", "Expected an ONNX model for FILE but it begins otherwise"],
    ["a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\n", "Expected an ONNX model for FILE"],
    ["no graph", Buffer.from([8, 8]), "Expected an ONNX model for FILE but it holds no graph"],
    ["an old opset", { nodes: [relu], opset: 8 }, "Expected opset 9 or later for FILE but received 8"],
    ["a missing file of weights", external({ location: "nowhere.bin" }), "Expected a checkpoint at DIR/nowhere.bin but there is no such file"], // prettier-ignore
    ["weights outside of the folder", external({ location: "../w.bin" }), 'Expected a name inside DIR but received "../w.bin", which leaves it'], // prettier-ignore
    ["weights at an absolute path", external({ location: "/etc/passwd" }), "Expected a name inside DIR but received"],
    ["too short a file of weights", external({ location: "short.bin" }), "Expected a whole checkpoint for DIR/short.bin but it has 4 bytes"], // prettier-ignore
    ["fewer numbers than the shape", { nodes: [relu], weights: { w: { shape: [3], values: [1] } } }, "w should hold float32 numbers of the shape [3]"], // prettier-ignore
  ] as [string, string | Buffer | SmallModel, string][])("%s is told", async (_, content, message) => {
    write("short.bin", Buffer.alloc(4));
    const file = write("bad.onnx", content);
    const error = await readOnnx({ file }).catch((one: unknown) => one);
    expect(error).toBeInstanceOf(UserError);
    expect((error as Error).message).toContain(message.replace("FILE", file).replaceAll("DIR", root));
  });

  test("a folder, and no file", async () => {
    await expect(readOnnx({ file: root })).rejects.toThrow(`Expected a file for an ONNX model but ${root} is a folder`);
    await expect(readOnnx({ file: path.join(root, "no") })).rejects.toThrow("there is no such file");
  });

  test("a file that was cut off, or changed anywhere, is read or told, never a crash", async () => {
    const whole = onnxFile({
      nodes: [{ op: "Conv", inputs: ["x", "w"], outputs: ["c"], integers: { pads: [1, 1, 1, 1], group: 1 } }, relu],
      weights: { w: { shape: [2, 3, 1, 1], values: [1, 2, 3, 4, 5, 6] } },
    });
    const file = path.join(root, "fuzz.onnx");
    const byte = fc.record({ at: fc.nat(whole.length - 1), value: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(byte, { maxLength: 4 }),
        fc.integer({ min: 1, max: whole.length }),
        async (changes, length) => {
          const bytes = Buffer.from(whole);
          for (const { at, value } of changes) bytes[at] = value;
          await fs.writeFile(file, changes.length % 2 === 0 ? bytes.subarray(0, length) : bytes);
          try {
            const { initializers } = await readOnnx({ file });
            for (const tensor of initializers.values()) await tensor.read();
          } catch (error) {
            expect(error).toBeInstanceOf(UserError);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
