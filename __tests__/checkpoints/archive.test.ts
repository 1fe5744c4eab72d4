import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { readCheckpoint } from "../../lib/checkpoints/checkpoint.js";
import { crc32, crc32InJavaScript } from "../../lib/crc32.js";
import { readSafetensors, writeSafetensors } from "../../lib/checkpoints/safetensors.js";
import { encodeNpy } from "../../lib/features/npy.js";
import { zipArchive } from "./zip-archive.js";
import type { ArchiveFile } from "./zip-archive.js";

let folder: string;
beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), "archive-"));
});
afterEach(() => fs.rm(folder, { recursive: true }));

async function saved(name: string, bytes: Uint8Array | string): Promise<string> {
  const file = path.join(folder, name);
  await fs.mkdir(path.dirname(file), { recursive: true });
  await fs.writeFile(file, bytes);
  return file;
}

const values = Float32Array.of(1, 2, 3, 4, 5, 6);
const array = encodeNpy({ dtype: "float32", shape: [2, 3], data: values });

describe("archives of arrays", () => {
  test("a deflated array is unpacked when it is read, each time anew", async () => {
    const file = await saved("a.npz", zipArchive([{ name: "w.npy", content: array, deflated: true }]));
    const { tensors, format } = await readCheckpoint({ file });
    expect(format).toBe("npz");
    for (let i = 0; i < 2; i++) expect(await tensors.get("w")!.read()).toEqual(values);
  });

  const refused: [string, ArchiveFile[], RegExp][] = [
    [
      "a name twice",
      [
        { name: "w.npy", content: array },
        { name: "w.npy", content: array },
      ],
      /names w\.npy twice/,
    ],
    ["a name above the folder", [{ name: "../w.npy", content: array }], /\.\.\/w\.npy climbs out/],
    ["an absolute name", [{ name: "/etc/w.npy", content: array }], /\/etc\/w\.npy climbs out/],
    ["a name of another drive", [{ name: "C:w.npy", content: array }], /C:w\.npy climbs out/],
    [
      "a zip bomb",
      [{ name: "w.npy", content: array, deflated: true, announced: 2 ** 27 }],
      /would swell from \d+ to 134217728 bytes: a zip bomb/,
    ],
    ["a size that is a lie", [{ name: "w.npy", content: array, deflated: true, announced: 100 }], /w\.npy in/],
    [
      "something else among the arrays",
      [
        { name: "w.npy", content: array },
        { name: "readme.txt", content: array },
      ],
      /received readme\.txt among them/,
    ],
    ["an array that is none", [{ name: "w.npy", content: new Uint8Array(24) }], /Expected a NumPy array for w\.npy/],
  ];

  test.each(refused)("%s is refused", async (_, files, says) => {
    const file = await saved("a.npz", zipArchive(files));
    const reading = async () => {
      const { tensors } = await readCheckpoint({ file });
      for (const tensor of tensors.values()) await tensor.read();
    };
    await expect(reading()).rejects.toThrow(says);
  });

  test("entries that lie over each other are refused", async () => {
    const archive = zipArchive([
      { name: "a.npy", content: array },
      { name: "b.npy", content: array },
    ]);
    // The second entry's place, at the end of its record in the directory, becomes that of the first.
    archive.writeUInt32LE(0, archive.lastIndexOf("PK\x01\x02") + 42);
    const file = await saved("a.npz", archive);
    await expect(readCheckpoint({ file })).rejects.toThrow(/entries a\.npy and b\.npy overlap/);
  });

  test("damage to a deflated array is told", async () => {
    const archive = zipArchive([{ name: "w.npy", content: array, deflated: true }]);
    archive[60]! ^= 0xff;
    const file = await saved("a.npz", archive);
    const reading = readCheckpoint({ file }).then(({ tensors }) => tensors.get("w")!.read());
    await expect(reading).rejects.toThrow(/Expected .* for .*w\.npy|w\.npy in|checksum of w\.npy/);
  });
});

describe("an index of safetensors files", () => {
  function shard(tensors: Record<string, number[]>): Buffer {
    const header: Record<string, unknown> = {};
    let at = 0;
    for (const [name, numbers] of Object.entries(tensors)) {
      const end = at + 4 * numbers.length;
      header[name] = { dtype: "F32", shape: [numbers.length], data_offsets: [at, end] };
      at = end;
    }
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([length, text, Buffer.from(Float32Array.from(Object.values(tensors).flat()).buffer)]);
  }

  const index = (weightMap: unknown) =>
    saved("m/model.safetensors.index.json", JSON.stringify({ metadata: {}, weight_map: weightMap }));

  test("each tensor comes from its file", async () => {
    await saved("m/one.safetensors", shard({ a: [1, 2] }));
    await saved("m/two.safetensors", shard({ b: [3] }));
    const file = await index({ a: "one.safetensors", b: "two.safetensors" });
    const { tensors, format } = await readCheckpoint({ file });
    expect(format).toBe("safetensors-index");
    expect([...(await tensors.get("a")!.read())]).toEqual([1, 2]);
    expect([...(await tensors.get("b")!.read())]).toEqual([3]);
  });

  test.each<[string, unknown, RegExp]>([
    ["a file that is not there", { a: "three.safetensors" }, /three\.safetensors but there is no such file/],
    ["a file above the folder", { a: "../out.safetensors" }, /"\.\.\/out\.safetensors", which leaves it/],
    ["an absolute name", { a: "/out.safetensors" }, /which leaves it/],
    ["a tensor that its file lacks", { z: "one.safetensors" }, /the tensor z in one\.safetensors/],
    ["a tensor in two files", { a: "one.safetensors", b: "two.safetensors" }, /a is both in/],
    ["files of PyTorch", { a: "pytorch_model-00001-of-00002.bin" }, /Expected safetensors files/],
    ["no map", [], /does not tell where the tensors are/],
  ])("%s is refused", async (_, weightMap, says) => {
    await saved("m/one.safetensors", shard({ a: [1, 2] }));
    await saved("m/two.safetensors", shard({ a: [1, 2], b: [3] }));
    await saved("out.safetensors", shard({ a: [1] }));
    await expect(readCheckpoint({ file: await index(weightMap) })).rejects.toThrow(says);
  });
});

describe("pickles that cost much", () => {
  const text = (length: number) => {
    const head = Buffer.from("X\0\0\0\0", "latin1");
    head.writeUInt32LE(length, 1);
    return Buffer.concat([head, Buffer.alloc(length, "a")]);
  };

  test("one text, given to a call again and again", async () => {
    const call = Buffer.from("h\x01h\x00R0", "latin1");
    const bytes = Buffer.concat([
      Buffer.from("\x80\x02c_codecs\nencode\nq\x010", "latin1"),
      text(1 << 20),
      Buffer.from("\x85q\x000", "latin1"),
      ...Array.from({ length: 100_000 }, () => call),
      Buffer.from("}."),
    ]);
    const file = await saved("again.pkl", bytes);
    await expect(readCheckpoint({ file })).rejects.toThrow(/copies the same over and over/);
  });

  test("lists that double themselves", async () => {
    // [x, x] of the list before, forty times: 2⁴⁰ items.
    const bytes = Buffer.concat([
      Buffer.from("\x80\x02}", "latin1"),
      ...Array.from({ length: 40 }, () => Buffer.from("2\x86", "latin1")),
      Buffer.from("."),
    ]);
    const file = await saved("doubling.pkl", bytes);
    await expect(readCheckpoint({ file })).rejects.toThrow(/holds more than \d+ objects/);
  });

  test("a class named by a list of lists", async () => {
    const nested = Buffer.alloc(20_000, "\x85", "latin1");
    const bytes = Buffer.concat([Buffer.from("\x80\x04N", "latin1"), nested, Buffer.from("N\x93.", "latin1")]);
    const file = await saved("nested.pkl", bytes);
    await expect(readCheckpoint({ file })).rejects.toThrow(/names no class/);
  });

  test("millions of operations", async () => {
    const file = await saved("many.pkl", Buffer.concat([Buffer.from("\x80\x02", "latin1"), Buffer.alloc(5e6, "N")]));
    await expect(readCheckpoint({ file })).rejects.toThrow(/more than \d+ operations/);
  });
});

test("float32 arrays that were written as safetensors are read, by both readers", async () => {
  const file = path.join(folder, "state.safetensors");
  const arrays = { weight: { shape: [2, 3], data: values }, empty: { shape: [0], data: new Float32Array(0) } };
  await writeSafetensors(file, { arrays, metadata: { epoch: "3" } });
  expect(await readSafetensors(file)).toEqual({ arrays, metadata: { epoch: "3" } });
  const checkpoint = await readCheckpoint({ file });
  expect(await checkpoint.tensors.get("weight")!.read()).toEqual(values);
  expect(checkpoint.values.get("__metadata__/epoch")).toBe("3");
});

test("complex numbers are listed and not read", async () => {
  const header = Buffer.from('{"freqs":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const file = await saved("rope.safetensors", Buffer.concat([length, header, Buffer.alloc(8)]));
  const { tensors } = await readCheckpoint({ file });
  expect(tensors.get("freqs")).toMatchObject({ dtype: "complex64", shape: [1] });
  await expect(tensors.get("freqs")!.read()).rejects.toThrow(/Expected real numbers/);
});

test.each([
  ["of Node", crc32],
  ["of ours", crc32InJavaScript],
])("the checksum %s is that of zip, in pieces too", (_, sum) => {
  // The check value of CRC-32/ISO-HDLC in the catalogue of CRC algorithms.
  expect(sum(Buffer.from("123456789"), 0)).toBe(0xcbf43926);
  expect(sum(Buffer.from("456789"), sum(Buffer.from("123"), 0))).toBe(0xcbf43926);
});
