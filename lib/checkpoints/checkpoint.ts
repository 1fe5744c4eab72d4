import { UserError } from "../errors.js";
import { damaged, openCheckpoint } from "./bytes.js";
import type { CheckpointContent, CheckpointFormat } from "./format.js";
import { Instance } from "./pickle-machine.js";
import type { TensorEntry } from "./tensor.js";
import { npy, npz } from "./npz.js";
import { plainPickle } from "./plain-pickle.js";
import { safetensors } from "./safetensors-checkpoint.js";
import { safetensorsIndex } from "./safetensors-index.js";
import { TorchConstant, TorchModule } from "./torch-pickle.js";
import { torchLegacy } from "./torch-legacy.js";
import { torchZip } from "./torch-zip.js";

/**
 * What a checkpoint file holds. Names are the keys on the way to a value, joined by `/` (`state_dict/conv1.weight`); of
 * the modules of a TorchScript archive by points, as in the state dictionary that it stands for.
 */
export interface Checkpoint {
  file: string;
  format: CheckpointFormat["name"];
  /** In the order of the file. */
  tensors: Map<string, TensorEntry>;
  /** What stands beside them: epoch, arguments, settings of the optimizer. */
  values: Map<string, PlainValue>;
}

export type PlainValue = PlainScalar | PlainScalar[];
export type PlainScalar = string | number | bigint | boolean | null;

/** The first that recognises a file reads it. */
const formats: CheckpointFormat[] = [npz, torchZip, torchLegacy, plainPickle, safetensors, safetensorsIndex, npy];

/** No checkpoint nests deeper, holds more, or has longer names; a hostile one may, by referring to itself. */
const limits = { depth: 256, objects: 400_000, items: 10_000_000, nameLength: 1024 };

/**
 * Opens a checkpoint by what is in it, whatever its name ends in. Nothing in it is executed, and the tensors' values
 * stay in the file until they are read.
 *
 * Formats: PyTorch's zip (since 1.6; TorchScript too) and legacy files, safetensors in one file or in several with an
 * index, NumPy's npz and npy, and pickles of NumPy arrays.
 *
 * @throws UserError where the file is missing, is something else (and what), is damaged, or asks for code to be run.
 */
export async function readCheckpoint({ file }: { file: string }): Promise<Checkpoint> {
  const head = await headOf(file);
  const format = formats.find((one) => one.recognises(head));
  if (!format) {
    throw new UserError(`Expected a checkpoint for ${file} but it is ${looksLike(head)}`, {
      hint: "Files of torch.save, safetensors (one, or the index of several), npz and pickled NumPy arrays can be read.",
    });
  }
  const content = await format.read(file);
  return { file, format: format.name, ...flatten(file, content) };
}

/** The first bytes of a file, at most 512, by which its format is known. */
export async function headOf(file: string): Promise<Uint8Array> {
  const handle = await openCheckpoint(file);
  try {
    if ((await handle.stat()).isDirectory()) {
      throw new UserError(`Expected a file for a checkpoint but ${file} is a folder`);
    }
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(512), 0, 512, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** Names what is often saved under a checkpoint's name. */
function looksLike(head: Uint8Array): string {
  const text = Buffer.from(head).toString("latin1");
  const begins = (start: string) => text.startsWith(start);
  if (head.length === 0) return "empty";
  if (/^\s*<(!doctype|html|\?xml)/i.test(text)) return "a web page; perhaps the download was refused";
  if (begins("version https://git-lfs")) return "a Git LFS pointer; the file itself comes with git lfs pull";
  if (text.slice(257, 262) === "ustar") return "a tar archive; unpack it first";
  if (begins("\x1f\x8b")) return "compressed with gzip; unpack it first";
  if (begins("\x89HDF")) return "an HDF5 file";
  if (begins("Rar!") || begins("7z\xbc\xaf") || begins("\xfd7zXZ")) return "compressed; unpack it first";
  if (/^[\t\n\r\x20-\x7e]+$/.test(text)) return "a text file";
  return "of no known format";
}

/** Walks the object in the file: tensors to one side, plain values to the other. */
function flatten(file: string, { root, entry }: CheckpointContent): Pick<Checkpoint, "tensors" | "values"> {
  const tensors = new Map<string, TensorEntry>();
  const values = new Map<string, PlainValue>();
  const ancestors = new Set<unknown>();
  let [objects, items] = [0, 0];

  const walk = (value: unknown, name: string, depth: number): void => {
    objects++;
    items += Array.isArray(value) ? value.length : value instanceof Set || value instanceof Map ? value.size : 0;
    if (items > limits.items) throw damaged(file, `it holds more than ${limits.items} items`);
    if (objects > limits.objects) throw damaged(file, `it holds more than ${limits.objects} objects`);
    if (depth > limits.depth) throw damaged(file, `it nests deeper than ${limits.depth} levels`);
    if (name.length > limits.nameLength) throw damaged(file, `a name in it is longer than ${limits.nameLength}`);
    const tensor = entry(value);
    if (tensor) {
      if (tensors.has(name)) throw damaged(file, `two tensors in it are called ${name}`);
      tensors.set(name, tensor);
      return;
    }
    const plain = asPlain(value);
    if (plain !== undefined) return void values.set(name, plain);
    // What contains itself is not entered again.
    if (ancestors.has(value)) return;
    ancestors.add(value);
    const joint = value instanceof TorchModule ? "." : "/";
    for (const [key, inner] of members(value)) walk(inner, name === "" ? key : `${name}${joint}${key}`, depth + 1);
    ancestors.delete(value);
  };
  walk(root, "", 0);
  return { tensors, values };
}

function* members(value: unknown): Iterable<[string, unknown]> {
  if (value instanceof Map) for (const [key, inner] of value) yield [keyText(key), inner];
  else if (value instanceof Instance) for (const [key, inner] of value.attributes) yield [keyText(key), inner];
  else if (Array.isArray(value)) for (const [index, inner] of value.entries()) yield [String(index), inner];
}

function keyText(key: unknown): string {
  if (isScalar(key)) return String(key);
  return Array.isArray(key) ? `(${key.slice(0, 8).filter(isScalar).join(", ")})` : "(object)";
}

/** A scalar or a list of scalars; undefined for what has members of its own. */
function asPlain(value: unknown): PlainValue | undefined {
  if (isScalar(value)) return value;
  if (value instanceof TorchConstant) return value.text;
  const items = value instanceof Set ? [...(value as Set<unknown>)] : value;
  return Array.isArray(items) && items.every(isScalar) ? items : undefined;
}

function isScalar(value: unknown): value is PlainScalar {
  return value === null || ["string", "number", "bigint", "boolean"].includes(typeof value);
}
