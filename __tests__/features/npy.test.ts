import fs from "node:fs/promises";
import { readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import fc from "fast-check";

import { fromFloat16, toFloat16 } from "../../lib/float16.js";
import { openNpy, readNpy } from "../../lib/features/npy-file.js";
import { encodeNpy, toIntegers } from "../../lib/features/npy.js";
import type { NpyDataOf, NpyDtype } from "../../lib/features/npy.js";
import { golden, goldenPath } from "../golden.js";

let folder: string;
beforeAll(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), "npy-"));
});
afterAll(() => fs.rm(folder, { recursive: true }));

// Written by NumPy (golden/npy/make.py), with the values beside it.
const written =
  golden<Record<NpyDtype | "scalar" | "empty", { shape: number[]; values: unknown[] }>>("npy/values.json");

describe("files that NumPy wrote", () => {
  test.each(Object.entries(written))("%s is read", async (name, { shape, values }) => {
    const array = await readNpy({ file: goldenPath(`npy/${name}.npy`) });
    expect(array.shape).toEqual(shape);
    const plain = Array.from(array.data as ArrayLike<number | bigint | string>, (value) =>
      typeof value === "bigint" ? Number(value) : array.dtype === "bool" ? value === 1 : value,
    );
    expect(plain).toEqual(values);
  });

  test.each(Object.keys(written))("%s is written to the same bytes", async (name) => {
    const file = goldenPath(`npy/${name}.npy`);
    const array = await readNpy({ file });
    expect(Buffer.from(encodeNpy(array))).toEqual(readFileSync(file));
  });

  test.each([2, 3])("version %d is read", async (version) => {
    const { data } = await readNpy({ file: goldenPath(`npy/version${version}.npy`) });
    expect(Array.from(data as Float32Array)).toEqual(written.float32.values);
  });

  test("byte strings are read", async () => {
    expect((await readNpy({ file: goldenPath("npy/bytes.npy") })).data).toEqual(["a.jpg", "bc"]);
  });
});

describe("what is not read", () => {
  test.each([
    ["object", "received an array of Python objects (dtype object)"],
    ["fortran", "received an array in Fortran order"],
    ["big_endian", "received dtype >f4"],
    ["record", "Expected a plain NumPy array"],
    ["values.json", "does not begin like one"],
  ])("%s is named", async (name, message) => {
    const file = goldenPath(name.includes(".") ? `npy/${name}` : `npy/${name}.npy`);
    await expect(readNpy({ file })).rejects.toThrow(message);
  });

  test("a file that is cut off anywhere", async () => {
    const whole = readFileSync(goldenPath("npy/float32.npy"));
    for (let length = 0; length < whole.length; length += 25) {
      const file = path.join(folder, "cut.npy");
      await fs.writeFile(file, whole.subarray(0, length));
      await expect(readNpy({ file })).rejects.toMatchObject({ name: "UserError" });
    }
  });

  test("a header that promises more than a disk holds", async () => {
    const file = path.join(folder, "huge.npy");
    const text = "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }\n";
    await fs.writeFile(
      file,
      Buffer.concat([Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, text.length, 0]), Buffer.from(text)]),
    );
    await expect(readNpy({ file })).rejects.toThrow("Expected a shape");
  });

  test("a missing file, a folder", async () => {
    await expect(readNpy({ file: path.join(folder, "none.npy") })).rejects.toThrow("there is no such file");
    await expect(readNpy({ file: folder })).rejects.toThrow("it is a folder");
  });

  test("labels that are no integers", () => {
    const data = Float32Array.of(1, 2, 2.5);
    expect(() => toIntegers({ shape: [3, 1], data }, "y.npy")).toThrow("received 2.5 in row 2");
    expect(() => toIntegers({ shape: [1], data: ["a"] }, "y.npy")).toThrow("received strings");
  });
});

describe("rows", () => {
  test("a range is read without the rest", async () => {
    const npy = await openNpy(goldenPath("npy/float32.npy"));
    const { data, shape } = await npy.readRows({ start: 1, count: 2 });
    expect(shape).toEqual([2, 4]);
    expect(Array.from(data as Float32Array)).toEqual(written.float32.values.slice(4));
    const into = new Float32Array(6);
    await npy.readFloats({ start: 2, count: 1, into, at: 1 });
    expect(Array.from(into)).toEqual([0, ...written.float32.values.slice(8), 0]);
    await npy.close();
  });

  test.each(["float16", "float64", "int32"] as const)("%s gives float32", async (dtype) => {
    const npy = await openNpy(goldenPath(`npy/${dtype}.npy`));
    const width = npy.shape[1] ?? 1;
    const into = new Float32Array(width);
    await npy.readFloats({ start: 1, count: 1, into, at: 0 });
    expect(into).toEqual(Float32Array.from(written[dtype].values.slice(width, 2 * width) as number[]));
    await npy.close();
  });

  test("what was encoded is read again", async () => {
    const file = path.join(folder, "any.npy");
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: "grapheme", maxLength: 9 })), async (texts) => {
        // NumPy's fixed-width strings cannot end in NUL.
        const data: NpyDataOf["string"] = texts.map((text) => text.replace(/\0+$/, ""));
        await fs.writeFile(file, encodeNpy({ dtype: "string", shape: [data.length], data }));
        expect((await readNpy({ file })).data).toEqual(data);
      }),
      { numRuns: 30 },
    );
  });
});

describe("float16", () => {
  test("every half comes back from its number", () => {
    const halves = Uint16Array.from({ length: 0x10000 }, (_, half) => half);
    const back = toFloat16(fromFloat16(halves));
    const isNaN = (half: number) => (half & 0x7fff) > 0x7c00;
    expect(halves.filter((half) => !isNaN(half) && back[half] !== half)).toHaveLength(0);
    expect(halves.filter((half) => isNaN(half) && !isNaN(back[half]!))).toHaveLength(0);
  });

  test("rounding equals NumPy's, ties and overflow included", async () => {
    const given = await readNpy({ file: goldenPath("npy/rounding_in.npy") });
    const expected = await readNpy({ file: goldenPath("npy/rounding_out.npy") });
    expect(toFloat16(given.data as Float32Array)).toEqual(expected.data);
  });
});
