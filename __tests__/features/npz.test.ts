import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { readCheckpoint } from "../../lib/checkpoints/checkpoint.js";
import { encodeNpz } from "../../lib/features/npz.js";

let folder: string;
beforeEach(() => (folder = mkdtempSync(path.join(os.tmpdir(), "npz-"))));
afterEach(() => rmSync(folder, { recursive: true }));

test("an archive is read back, array by array", async () => {
  const file = path.join(folder, "a.npz");
  const bytes = encodeNpz({
    coef: { dtype: "float32", shape: [1, 3], data: Float32Array.of(1.5, -2, 3) },
    intercept: { dtype: "float64", shape: [1], data: Float64Array.of(0.1) },
    classes: { dtype: "int64", shape: [2], data: BigInt64Array.of(-1n, 1n) },
  });
  writeFileSync(file, bytes);
  const { tensors } = await readCheckpoint({ file });
  const read = async (name: string) => {
    const entry = tensors.get(name)!;
    const { shape, dtype } = entry;
    return { shape, dtype, values: Array.from(await entry.read(), Number) };
  };
  expect([...tensors.keys()]).toEqual(["coef", "intercept", "classes"]);
  expect(await read("coef")).toEqual({ shape: [1, 3], dtype: "float32", values: [1.5, -2, 3] });
  expect(await read("intercept")).toEqual({ shape: [1], dtype: "float64", values: [0.1] });
  expect(await read("classes")).toEqual({ shape: [2], dtype: "int64", values: [-1, 1] });
});
