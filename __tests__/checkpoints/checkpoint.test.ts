import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { readCheckpoint } from "../../lib/checkpoints/checkpoint.js";
import { UserError } from "../../lib/errors.js";
import { random } from "../../lib/random.js";
import { golden, goldenPath } from "../golden.js";
import { mutated, mutatedInside } from "./mutations.js";
import { seeds } from "./seeds.js";

interface ExpectedFile {
  what: string;
  tensors: Record<string, { shape: number[]; dtype: string; sha256_float32: string; sha256_raw?: string }>;
  others: Record<string, unknown>;
}

const at = (name: string) => goldenPath(`checkpoints/${name}`);
const listed = <T>(folder: string) => Object.entries(golden<Record<string, T>>(`checkpoints/${folder}/expected.json`));

async function readAll(file: string): Promise<Record<string, string>> {
  const { tensors } = await readCheckpoint({ file });
  const digests: [string, string][] = [];
  for (const [name, tensor] of tensors) digests.push([name, digest(Float32Array.from(await tensor.read(), Number))]);
  return Object.fromEntries(digests);
}

function digest(values: Float32Array | BigInt64Array): string {
  return createHash("sha256")
    .update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    .digest("hex");
}

async function errorOf(file: string): Promise<UserError> {
  const error: unknown = await readAll(file).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(UserError);
  return error as UserError;
}

describe("readCheckpoint", () => {
  const formats: Record<string, string> = {
    ".safetensors": "safetensors",
    ".json": "safetensors-index",
    ".npz": "npz",
    ".npy": "npy",
    ".pkl": "pickle",
  };
  const formatOf = (file: string) =>
    formats[path.extname(file)] ?? (file.includes("legacy") ? "torch-legacy" : "torch-zip");

  // Saved by PyTorch 2.15, safetensors and NumPy 2.4 (more/: bench/peers/golden_checkpoints.py); digests are of the values
  // that these programs give.
  test.each([...listed<ExpectedFile>("files"), ...listed<ExpectedFile>("more")])(
    "%s equals what was saved",
    async (file, expected) => {
      const { tensors, values, format } = await readCheckpoint({ file: at(file) });
      expect(format).toBe(formatOf(file));
      expect([...tensors.keys()].sort()).toEqual(Object.keys(expected.tensors).sort());
      for (const [name, { shape, dtype, sha256_float32, sha256_raw }] of Object.entries(expected.tensors)) {
        const tensor = tensors.get(name)!;
        expect([name, tensor.shape, tensor.dtype]).toEqual([name, shape, dtype]);
        const data = await tensor.read();
        expect([name, digest(Float32Array.from(data, Number))]).toEqual([name, sha256_float32]);
        if (sha256_raw) expect(digest(data as BigInt64Array)).toBe(sha256_raw);
      }
      const { __metadata__: metadata, ...others } = expected.others;
      for (const [name, value] of Object.entries(others)) expect([name, values.get(name)]).toEqual([name, value]);
      for (const [name, text] of Object.entries(metadata ?? {})) {
        expect(values.get(`__metadata__/${name}`)).toBe(text);
      }
    },
  );

  const odd: Record<string, () => Promise<void>> = {
    "odd/proto_keys.pth": async () => {
      const { tensors } = await readCheckpoint({ file: at("odd/proto_keys.pth") });
      expect([...tensors.keys()]).toEqual(["__proto__", "constructor", "prototype.polluted", "toString"]);
    },
    "odd/proto_nested.pth": async () => {
      await readCheckpoint({ file: at("odd/proto_nested.pth") });
      expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    },
    "odd/nested_lists.pth": async () => {
      expect((await readCheckpoint({ file: at("odd/nested_lists.pth") })).tensors.size).toBeGreaterThan(0);
    },
    "odd/self_reference.pth": async () => {
      expect((await readCheckpoint({ file: at("odd/self_reference.pth") })).tensors.size).toBeGreaterThan(0);
    },
    "odd/unknown_class.pth": async () => {
      const file = at("odd/unknown_class.pth");
      expect((await errorOf(file)).message).toBe(
        `Expected weights only for ${file} but it asks for the class yacs_like.config.CfgNode`,
      );
    },
  };

  test.each(listed<string>("odd"))("%s: %s", (file) => odd[file]!());

  test("a missing file and a folder are told", async () => {
    await expect(readCheckpoint({ file: at("none.pth") })).rejects.toThrow(/there is no such file/);
    await expect(readCheckpoint({ file: at("odd") })).rejects.toThrow(/is a folder/);
  });
});

describe("hostile checkpoints", () => {
  const says: Record<string, string> = {
    "os_system.pth": "asks for the class os.system",
    "posix_system.pth": "asks for the class posix.system",
    "builtins_eval.pth": "asks for the class builtins.eval",
    "dunder_builtin_exec.pth": "asks for the class __builtin__.exec",
    "subprocess_popen.pth": "asks for the class subprocess.Popen",
    "getattr_chain.pth": "asks for the class builtins.getattr",
    "functools_partial.pth": "asks for the class functools.partial",
    "operator_attrgetter.pth": "asks for the class operator.attrgetter",
    "runpy.pth": "asks for the class runpy.",
    "torch_load_from_bytes.pth": "asks for the class torch.storage._load_from_bytes",
    "torch_hub_load.pth": "asks for the class torch.hub.load",
    "numpy_load.pth": "asks for the class numpy.load",
    "dotted_name.pth": "asks for the class collections.OrderedDict.__init__.__globals__",
    "codecs_trick.pth": "asks for the class _codecs.",
    "inst_opcode.pth": "asks for the class os.system",
    "obj_opcode.pth": "asks for the class os.system",
    "newobj.pth": "asks for the class subprocess.Popen",
    "extension_registry.pth": "a number of Python's extension registry",
    "build_setstate.pth": "asks for the class",
    "hidden_in_dict_value.pth": "asks for the class os.system",
    "popped_result.pth": "asks for the class os.system",
    "huge_string_length.pth": "announce",
    "huge_bytes_length.pth": "announce",
    "huge_long.pth": "announce",
    "deep_nesting.pth": "nests deeper than",
    "raw_os_system.pkl": "asks for the class os.system",
    "raw_getattr_chain.pkl": "asks for the class builtins.getattr",
    "raw_builtins_eval.pkl": "asks for the class builtins.eval",
    "legacy_os_system.pth": "asks for the class os.system",
    "legacy_first_pickle.pth": "asks for the class os.system",
    "oob_size.pth": "reaches element",
    "oob_offset.pth": "reaches element",
    "negative_offset.pth": "impossible shape, offset or stride",
    "negative_stride.pth": "impossible shape, offset or stride",
    "huge_expand.pth": "repeats the few elements",
    "storage_shorter_than_declared.pth": "bytes where 16000 were announced",
    "missing_storage.pth": "is missing",
    "path_traversal_key.pth": "is missing",
    "zip_bomb_entry.pth": "is compressed",
  };

  test.each(listed("malicious").map(([file]) => file))("%s runs nothing and writes nothing", async (file) => {
    const before = readdirSync(process.cwd());
    const name = path.basename(file);
    // Its only fault is a high number, which costs nothing here.
    if (name === "huge_memo_index.pth") expect(await readAll(at(file))).toEqual({});
    else expect((await errorOf(at(file))).message).toContain(says[name]!);
    const after = readdirSync(process.cwd());
    expect(after).toEqual(before);
    expect(after.filter((entry) => entry.startsWith("PWNED"))).toEqual([]);
  });
});

describe("damaged checkpoints", () => {
  const says: Record<string, RegExp> = {
    "zip_truncated_half.pth": /has no end: it was cut/,
    "zip_truncated_directory.pth": /has no end: it was cut/,
    "zip_truncated_1byte.pth": /has no end: it was cut/,
    "zip_bitflip_storage.pth": /the checksum of .* is wrong/,
    "zip_bitflip_pickle.pth": /the checksum of .* is wrong/,
    "zip_empty_pickle.pth": /it ends at byte 0/,
    "zip_no_pickle.pth": /no data\.pkl/,
    "legacy_truncated.pth": /ends at byte/,
    "legacy_truncated_pickle.pth": /ends at byte/,
    "empty.pth": /it is empty/,
    "one_byte.pth": /no known format|text file/,
    "html_error_page.pth": /it is a web page/,
    "lfs_pointer.pth": /it is a Git LFS pointer/,
    "random.pth": /no known format/,
    "truncated.safetensors": /ends at byte \d+ of \d+/,
    "header_truncated.safetensors": /its header should end at byte 1488 of 748/,
    "header_length_huge.safetensors": /announces a header of 1125899906842624 bytes/,
    "header_not_json.safetensors": /its header is not JSON/,
    "overlap.safetensors": /b in it overlaps another array/,
    "wrong_size.safetensors": /a in it has 8 bytes where its shape takes 12/,
    "out_of_range.safetensors": /a in it ends at byte 16 of 8/,
    "unknown_dtype.safetensors": /a in it is of the unknown kind Q7/,
    "negative.safetensors": /a in it has an impossible shape/,
    "duplicate_key.safetensors": /its header names a twice/,
    "object_array.npy": /one of Python objects/,
    "short.npy": /has 8 bytes of data where 40 were announced/,
    "huge_shape.npy": /has 8 bytes of data where 4000000000000000 were announced/,
  };

  test.each(listed("corrupt").map(([file]) => file))("%s is told", async (file) => {
    const { message } = await errorOf(at(file));
    expect(message).toMatch(says[path.basename(file)]!);
    expect(message).toContain(at(file));
  });

  test.each([
    ["a tar archive", Buffer.concat([Buffer.alloc(257), Buffer.from("ustar"), Buffer.alloc(250)]), /a tar archive/],
    ["a gzip file", Buffer.from("\x1f\x8b\x08\x00", "latin1"), /compressed with gzip/],
    ["an HDF5 file", Buffer.from("\x89HDF\r\n", "latin1"), /an HDF5 file/],
    ["a text", Buffer.from("epoch 90, loss 0.3\n"), /a text file/],
  ])("%s is told", async (_, bytes, says) => {
    await inFolder(async (folder) => {
      const file = path.join(folder, "weights.pth");
      await fs.writeFile(file, bytes);
      expect((await errorOf(file)).message).toMatch(says);
    });
  });

  // Mutated at random from a seed: whatever comes out is tensors or a sentence. bench/fuzz-checkpoints.ts does more.
  test.each(Object.keys(seeds))("%s, mutated, is read or refused", async (format) => {
    const chance = random(7, "fuzz", format);
    let refused = 0;
    const before = process.memoryUsage().rss;
    await inFolder(async (folder) => {
      const file = path.join(folder, "mutated");
      for (let round = 0; round < 150; round++) {
        for (const original of seeds[format]!()) {
          const inside = round % 2 === 0 && original.toString("latin1", 0, 2) === "PK";
          await fs.writeFile(file, inside ? mutatedInside(original, chance) : mutated(original, chance));
          const result: unknown = await readAll(file).catch((reason: unknown) => reason);
          if (result instanceof Error) {
            if (!(result instanceof UserError)) throw result;
            refused++;
          }
        }
      }
    });
    expect(refused).toBeGreaterThan(50);
    expect(process.memoryUsage().rss - before).toBeLessThan(1e9);
  });

  test("the checksum of an archive finds every change of its bytes", async () => {
    const original = seeds["torch-zip"]!()[0]!;
    const chance = random(8, "fuzz");
    await inFolder(async (folder) => {
      const file = path.join(folder, "mutated");
      await fs.writeFile(file, original);
      const right = await readAll(file);
      for (let round = 0; round < 150; round++) {
        await fs.writeFile(file, mutated(original, chance));
        const result: unknown = await readAll(file).catch((reason: unknown) => reason);
        if (!(result instanceof UserError)) expect(result).toEqual(right);
      }
    });
  });
});

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "checkpoint-"));
  try {
    await run(folder);
  } finally {
    await fs.rm(folder, { recursive: true });
  }
}
