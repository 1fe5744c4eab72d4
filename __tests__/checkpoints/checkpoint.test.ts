import { createHash } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { readCheckpoint } from "../../lib/checkpoints/checkpoint.js";
import { UserError } from "../../lib/errors.js";
import { random } from "../../lib/random.js";
import { golden, goldenPath } from "../golden.js";

interface ExpectedFile {
  what: string;
  tensors: Record<string, { shape: number[]; dtype: string; sha256_float32: string; sha256_raw?: string }>;
  others: Record<string, unknown>;
}

const at = (name: string) => goldenPath(`checkpoints/${name}`);
const present = <T>(name: string) =>
  Object.entries(golden<Record<string, T>>(`checkpoints/${name}/expected.json`)).filter(([file]) =>
    existsSync(at(file)),
  );

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

describe("readCheckpoint", () => {
  // Saved by PyTorch 2.15; digests are of the values that PyTorch gives.
  test.each(present<ExpectedFile>("files"))("%s equals what PyTorch reads", async (file, expected) => {
    const { tensors, values, format } = await readCheckpoint({ file: at(file) });
    expect(format).toBe(file.includes("legacy") ? "torch-legacy" : "torch-zip");
    expect([...tensors.keys()].sort()).toEqual(Object.keys(expected.tensors).sort());
    for (const [name, { shape, dtype, sha256_float32, sha256_raw }] of Object.entries(expected.tensors)) {
      const tensor = tensors.get(name)!;
      expect([name, tensor.shape, tensor.dtype]).toEqual([name, shape, dtype]);
      const data = await tensor.read();
      expect([name, digest(Float32Array.from(data, Number))]).toEqual([name, sha256_float32]);
      if (sha256_raw) expect(digest(data as BigInt64Array)).toBe(sha256_raw);
    }
    for (const [name, value] of Object.entries(expected.others))
      expect([name, values.get(name)]).toEqual([name, value]);
  });

  test("keys that are special in JavaScript are keys", async () => {
    const { tensors } = await readCheckpoint({ file: at("odd/proto_keys.pth") });
    expect([...tensors.keys()]).toEqual(["__proto__", "constructor", "prototype.polluted", "toString"]);
    await readCheckpoint({ file: at("odd/proto_nested.pth") });
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test("nested lists and a dictionary that contains itself are read once", async () => {
    expect((await readCheckpoint({ file: at("odd/nested_lists.pth") })).tensors.size).toBeGreaterThan(0);
    expect((await readCheckpoint({ file: at("odd/self_reference.pth") })).tensors.size).toBeGreaterThan(0);
  });

  test("a class that is not known is refused by its name", async () => {
    const file = at("odd/unknown_class.pth");
    await expect(readCheckpoint({ file })).rejects.toThrow(
      `Expected weights only for ${file} but it asks for the class yacs_like.config.CfgNode`,
    );
  });

  test("a missing file and a folder are told", async () => {
    await expect(readCheckpoint({ file: at("none.pth") })).rejects.toThrow(/there is no such file/);
    await expect(readCheckpoint({ file: at("odd") })).rejects.toThrow(/is a folder/);
  });
});

describe("hostile checkpoints", () => {
  const harmless = ["malicious/huge_memo_index.pth"];
  const asksFor: Record<string, string> = {
    "malicious/os_system.pth": "os.system",
    "malicious/popped_result.pth": "os.system",
    "malicious/inst_opcode.pth": "os.system",
    "malicious/legacy_os_system.pth": "os.system",
    "malicious/legacy_first_pickle.pth": "os.system",
    "malicious/raw_builtins_eval.pkl": "builtins.eval",
    "malicious/newobj.pth": "subprocess.Popen",
    "malicious/dotted_name.pth": "collections.OrderedDict.__init__.__globals__",
  };

  test.each(present("malicious").map(([file]) => file))("%s is refused and runs nothing", async (file) => {
    const before = readdirSync(process.cwd());
    if (harmless.includes(file)) expect(await readAll(at(file))).toEqual({});
    else {
      const error: unknown = await readAll(at(file)).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(UserError);
      expect((error as UserError).message).toContain(asksFor[file] ?? "");
    }
    expect(readdirSync(process.cwd())).toEqual(before);
  });
});

describe("damaged checkpoints", () => {
  const says: Record<string, RegExp> = {
    "corrupt/empty.pth": /it is empty/,
    "corrupt/html_error_page.pth": /it is a web page/,
    "corrupt/lfs_pointer.pth": /it is a Git LFS pointer/,
    "corrupt/random.pth": /no known format/,
    "corrupt/zip_bitflip_storage.pth": /the checksum of .* is wrong/,
    "corrupt/zip_no_pickle.pth": /no data\.pkl/,
    "corrupt/legacy_truncated.pth": /ends at byte/,
  };

  test.each(present("corrupt").map(([file]) => file))("%s is told", async (file) => {
    const error: unknown = await readAll(at(file)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toMatch(says[file] ?? /./);
    expect((error as UserError).message).toContain(at(file));
  });

  // Mutated at random from a seed: whatever comes out is the right tensors or a sentence.
  test.each([
    ["files/zip_protocol4.pth", true],
    ["files/legacy_mixed.pth", false],
  ])("%s, mutated, is read rightly or refused", async (name, checksummed) => {
    const original = await fs.readFile(at(name));
    const right = await readAll(at(name));
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), "fuzz-"));
    const chance = random(7, "fuzz", name);
    let refused = 0;
    try {
      const file = path.join(folder, "mutated.pth");
      for (let round = 0; round < 800; round++) {
        await fs.writeFile(file, mutated(original, chance));
        const result: unknown = await readAll(file).catch((reason: unknown) => reason);
        if (result instanceof Error) {
          if (!(result instanceof UserError)) throw result;
          refused++;
        } else if (checksummed) expect(result).toEqual(right);
      }
    } finally {
      await fs.rm(folder, { recursive: true });
    }
    expect(refused).toBeGreaterThan(200);
    expect(process.memoryUsage().rss).toBeLessThan(1.5e9);
  });
});

/** One to four bytes changed, or a piece cut off, taken out or repeated. */
function mutated(original: Buffer, chance: ReturnType<typeof random>): Buffer {
  const at = chance.integer(original.length);
  const to = at + chance.integer(Math.min(64, original.length - at));
  switch (chance.integer(6)) {
    case 0:
      return original.subarray(0, at);
    case 1:
      return Buffer.concat([original.subarray(0, at), original.subarray(to)]);
    case 2:
      return Buffer.concat([original.subarray(0, to), original.subarray(at)]);
    default: {
      const copy = Buffer.from(original);
      for (let i = chance.integer(4); i >= 0; i--) copy[chance.integer(copy.length)] = chance.integer(256);
      return copy;
    }
  }
}
