import { ByteReader } from "./byte-reader.js";
import { damaged, fileRange, openCheckpoint } from "./bytes.js";
import type { ByteRange } from "./bytes.js";
import type { CheckpointFormat } from "./format.js";
import { readPickle } from "./pickle.js";
import { byName, pythonClasses } from "./python-classes.js";
import { elements } from "./tensor.js";
import { torchDialect, torchEntries } from "./torch-pickle.js";
import type { TorchStorage } from "./torch-pickle.js";

/** The integer that torch.save put first until version 1.6, and how a pickle of protocol 2 or later writes it. */
const magic = 0x1950a86a20f9469cfc6cn;
const magicBytes = Buffer.from("8a0a6cfc9c46f9206aa85019", "hex");
const protocol = 1001;

/**
 * PyTorch's format before 1.6, and of `_use_new_zipfile_serialization=False`: five pickles one after another (magic
 * number, protocol, machine, the object, keys of the storages), then each storage: its length in 8 bytes, its elements.
 */
export const torchLegacy: CheckpointFormat = {
  name: "torch-legacy",
  recognises: (head) => head[0] === 0x80 && Buffer.from(head.subarray(0, 24)).includes(magicBytes),
  read: async (file) => {
    const handle = await openCheckpoint(file);
    try {
      const { size } = await handle.stat();
      const reader = ByteReader.ofFile(file, handle.fd, size);
      if (readPickle(reader, plain) !== magic) throw damaged(file, "it does not begin with PyTorch's number");
      const version = readPickle(reader, plain);
      if (version !== protocol) throw damaged(file, `its protocol is not ${protocol}`);
      readPickle(reader, plain);
      const storages = new Map<string, TorchStorage>();
      const root = readPickle(reader, torchDialect(file, storages));
      const bytes = locate(file, reader, readPickle(reader, plain), storages);
      return { root, entry: torchEntries(file, bytes) };
    } finally {
      await handle.close();
    }
  },
};

const plain = { classes: byName(pythonClasses) };

/** Where each storage's elements are. */
function locate(
  file: string,
  reader: ByteReader,
  keys: unknown,
  storages: ReadonlyMap<string, TorchStorage>,
): Map<string, ByteRange> {
  if (!Array.isArray(keys)) throw damaged(file, "the list of its storages is missing");
  const places = new Map<string, ByteRange>();
  for (const key of keys as unknown[]) {
    const storage = typeof key === "string" ? storages.get(key) : undefined;
    if (!storage || places.has(storage.key)) throw damaged(file, "its list of storages does not fit its tensors");
    const length = reader.view(8).getBigInt64(0, true);
    if (length !== BigInt(storage.length)) {
      throw damaged(file, `the storage ${storage.key} has ${length} elements where ${storage.length} were announced`);
    }
    const size = storage.length * elements[storage.dtype].bytes;
    places.set(storage.key, fileRange(file, reader.position, size));
    reader.skip(size);
  }
  for (const key of storages.keys()) {
    if (!places.has(key)) throw damaged(file, `the storage ${key} is missing`);
  }
  return places;
}
