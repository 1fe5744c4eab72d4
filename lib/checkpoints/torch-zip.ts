import { show, UserError } from "../errors.js";
import { ByteReader } from "./byte-reader.js";
import { damaged } from "./bytes.js";
import type { ByteRange } from "./bytes.js";
import type { CheckpointFormat } from "./format.js";
import { readPickle } from "./pickle.js";
import { elements } from "./tensor.js";
import { torchDialect, torchEntries } from "./torch-pickle.js";
import type { TorchStorage } from "./torch-pickle.js";
import { zipEntries } from "./zip.js";

/** A pickle holds names and shapes, not weights; one that is larger is no checkpoint of a backbone. */
const mostPickleBytes = 2 ** 28;

/**
 * PyTorch's format since 1.6: a zip archive with `NAME/data.pkl` and one entry `NAME/data/KEY` a storage. TorchScript
 * archives hold code besides, which is left.
 */
export const torchZip: CheckpointFormat = {
  name: "torch-zip",
  recognises: (head) => head[0] === 0x50 && head[1] === 0x4b,
  read: async (file) => {
    const entries = await zipEntries(file);
    const folder = archiveFolder(file, entries);
    // Code of TorchScript, which is not read, is compressed.
    const compressed = [...entries].find(([name, entry]) => entry.compressed && name.startsWith(`${folder}data`));
    if (compressed) {
      throw new UserError(`Expected stored entries in ${file} but ${compressed[0]} is compressed`, {
        hint: "PyTorch never compresses weights; open it in Python and save it again with torch.save.",
      });
    }
    const byteOrder = await text(entries.get(`${folder}byteorder`));
    if (byteOrder !== undefined && byteOrder !== "little") {
      throw new UserError(`Expected little-endian tensors in ${file} but received ${show(byteOrder)}`);
    }
    const pickle = entries.get(`${folder}data.pkl`)!;
    if (pickle.size > mostPickleBytes) throw damaged(file, `its pickle is ${pickle.size} bytes long`);
    const storages = new Map<string, TorchStorage>();
    const reader = ByteReader.ofBytes(file, await pickle.read(0, pickle.size));
    const root = readPickle(reader, torchDialect(file, storages));
    const bytes = new Map(
      [...storages.values()].map((storage) => [
        storage.key,
        storageBytes(file, storage, entries.get(`${folder}data/${storage.key}`)),
      ]),
    );
    return { root, entry: torchEntries(file, bytes) };
  },
};

function archiveFolder(file: string, entries: ReadonlyMap<string, ByteRange>): string {
  const names = [...entries.keys()];
  const pickles = names.filter((name) => /^([^/]+\/)?data\.pkl$/.test(name));
  const folder = pickles[0]?.slice(0, -"data.pkl".length);
  if (folder === undefined || pickles.length > 1) {
    throw new UserError(
      `Expected a PyTorch checkpoint for ${file} but it is a zip archive with ${pickles.length || "no"} data.pkl in it`,
      { hint: `It holds ${names.slice(0, 5).join(", ") || "nothing"}${names.length > 5 ? ", …" : ""}.` },
    );
  }
  return folder;
}

function storageBytes(file: string, storage: TorchStorage, entry: ByteRange | undefined): ByteRange {
  if (!entry) throw damaged(file, `the storage ${storage.key} is missing`);
  const size = storage.length * elements[storage.dtype].bytes;
  if (entry.size < size) {
    throw damaged(file, `the storage ${storage.key} has ${entry.size} bytes where ${size} were announced`);
  }
  return entry;
}

async function text(entry: ByteRange | undefined): Promise<string | undefined> {
  return (
    entry &&
    Buffer.from(await entry.read(0, Math.min(entry.size, 64)))
      .toString("latin1")
      .trim()
  );
}
