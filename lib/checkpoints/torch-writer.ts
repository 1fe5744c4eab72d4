import { zipArchive } from "../zip/writer.js";
import { called, code, dictionary, integer, named, op, pickleOf, text, tuple } from "./pickle-writer.js";
import { elements, sizeOf } from "./tensor.js";

/** A tensor that is written while it is made. */
export interface WrittenTensor {
  dtype: "float32" | "int64";
  shape: number[];
  /** Its numbers in C order, little-endian. */
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/**
 * The bytes of what `torch.save` writes of a tensor, or of a dictionary of tensors and texts: a zip archive with a
 * pickle that calls nothing but the rebuilding of tensors, so that `torch.load(weights_only=True)` takes it.
 *
 * Source: torch/serialization.py and torch/csrc/jit/serialization (PyTorch 2), file format version 3.
 *
 * @param options.name the folder in the archive; torch takes the file's own name.
 */
export function torchArchive(options: {
  name: string;
  values: WrittenTensor | Record<string, string | WrittenTensor>;
}): AsyncGenerator<Uint8Array, void> {
  const { name, values } = options;
  const tensors = isTensor(values) ? [values] : Object.values(values).filter((value) => typeof value !== "string");
  const whole = (file: string, content: Uint8Array) => ({
    name: `${name}/${file}`,
    size: content.length,
    pieces: [content],
  });
  return zipArchive([
    whole("data.pkl", pickleOf(isTensor(values) ? rebuilt(values, 0) : members(values))),
    whole("byteorder", Buffer.from("little")),
    ...tensors.map(({ dtype, shape, pieces }, key) => ({
      name: `${name}/data/${key}`,
      size: sizeOf(shape) * elements[dtype].bytes,
      pieces,
    })),
    whole("version", Buffer.from("3\n")),
  ]);
}

function isTensor(values: WrittenTensor | Record<string, string | WrittenTensor>): values is WrittenTensor {
  return Array.isArray(values.shape);
}

const storages = { float32: "FloatStorage", int64: "LongStorage" } as const;

function members(values: Record<string, string | WrittenTensor>): Buffer {
  let key = 0;
  return dictionary(
    Object.entries(values).map(([name, value]) => [
      name,
      typeof value === "string" ? text(value) : rebuilt(value, key++),
    ]),
  );
}

/** `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`. */
function rebuilt({ dtype, shape }: WrittenTensor, key: number): Buffer {
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  const storage = [text("storage"), named("torch", storages[dtype]), text(String(key)), text("cpu")];
  return called(named("torch._utils", "_rebuild_tensor_v2"), [
    Buffer.concat([tuple([...storage, integer(sizeOf(shape))]), code(op.persistent)]),
    integer(0),
    tuple(shape.map(integer)),
    tuple(strides.map(integer)),
    code(op.false),
    called(named("collections", "OrderedDict"), []),
  ]);
}
