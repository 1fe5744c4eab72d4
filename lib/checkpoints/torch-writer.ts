import { elements, sizeOf } from "./tensor.js";
import { zipArchive } from "../zip/writer.js";

/** A tensor that is written while it is made. */
export interface WrittenTensor {
  dtype: "float32" | "int64";
  shape: number[];
  /** Its numbers in C order, little-endian. */
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/**
 * The bytes of what `torch.save` writes of a dictionary of tensors and texts: a zip archive with a pickle that calls
 * nothing but the rebuilding of tensors, so that `torch.load(weights_only=True)` takes it.
 *
 * Source: torch/serialization.py and torch/csrc/jit/serialization (PyTorch 2), file format version 3.
 *
 * @param options.name the folder in the archive; torch takes the file's own name.
 */
export function torchArchive(options: {
  name: string;
  values: Record<string, string | WrittenTensor>;
}): AsyncGenerator<Uint8Array, void> {
  const { name, values } = options;
  const tensors = Object.values(values).filter((value) => typeof value !== "string");
  const whole = (file: string, content: Uint8Array) => ({
    name: `${name}/${file}`,
    size: content.length,
    pieces: [content],
  });
  return zipArchive([
    whole("data.pkl", dictionaryPickle(values)),
    whole("byteorder", Buffer.from("little")),
    ...tensors.map(({ dtype, shape, pieces }, key) => ({
      name: `${name}/data/${key}`,
      size: sizeOf(shape) * elements[dtype].bytes,
      pieces,
    })),
    whole("version", Buffer.from("3\n")),
  ]);
}

const storages = { float32: "FloatStorage", int64: "LongStorage" } as const;

/** Opcodes of pickle's protocol 2; see Python's `pickletools`. */
const op = {
  ...{ protocol: "\x80\x02", emptyDictionary: "}", mark: "(", items: "u", stop: ".", tuple: "t", reduce: "R" },
  ...{ persistent: "Q", false: "\x89", emptyTuple: ")", text: "X", integer: "J", long: "\x8a\x08" },
} as const;

function dictionaryPickle(values: Record<string, string | WrittenTensor>): Buffer {
  let key = 0;
  const items = Object.entries(values).flatMap(([name, value]) => [
    text(name),
    typeof value === "string" ? text(value) : tensor(value, key++),
  ]);
  return Buffer.concat([code(op.protocol + op.emptyDictionary + op.mark), ...items, code(op.items + op.stop)]);
}

/** `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`. */
function tensor({ dtype, shape }: WrittenTensor, key: number): Buffer {
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  const storage = [text("storage"), named("torch", storages[dtype]), text(String(key)), text("cpu")];
  return Buffer.concat([
    named("torch._utils", "_rebuild_tensor_v2"),
    code(op.mark),
    tuple([...storage, integer(sizeOf(shape))]),
    code(op.persistent),
    integer(0),
    tuple(shape.map(integer)),
    tuple(strides.map(integer)),
    code(op.false),
    named("collections", "OrderedDict"),
    code(op.emptyTuple + op.reduce + op.tuple + op.reduce),
  ]);
}

function tuple(parts: Buffer[]): Buffer {
  return Buffer.concat([code(op.mark), ...parts, code(op.tuple)]);
}

function named(module: string, name: string): Buffer {
  return code(`c${module}\n${name}\n`);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "utf8");
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([code(op.text), length, bytes]);
}

function integer(value: number): Buffer {
  const short = value < 2 ** 31;
  const bytes = Buffer.alloc(short ? 4 : 8);
  if (short) bytes.writeInt32LE(value);
  else bytes.writeBigInt64LE(BigInt(value));
  return Buffer.concat([code(short ? op.integer : op.long), bytes]);
}

function code(opcodes: string): Buffer {
  return Buffer.from(opcodes, "latin1");
}
