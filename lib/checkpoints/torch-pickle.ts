import { damaged } from "./bytes.js";
import type { ByteRange } from "./bytes.js";
import type { PickleClass, PickleDialect } from "./pickle-machine.js";
import { byName, pythonClasses } from "./python-classes.js";
import { elements, extentOf, readStrided, sizeOf } from "./tensor.js";
import type { DType, StridedLayout, TensorEntry } from "./tensor.js";

/** A run of equal elements that tensors are views of; its bytes lie outside of the pickle. */
export interface TorchStorage {
  key: string;
  dtype: DType;
  /** Number of elements. */
  length: number;
}

/** A tensor as the pickle tells it: a view of a storage. */
export class TorchTensor {
  constructor(
    readonly storage: TorchStorage,
    readonly layout: StridedLayout,
  ) {}
}

/** What a mention of `torch.float32`, `torch.device("cpu")` and the like becomes. */
export class TorchConstant {
  constructor(readonly text: string) {}
}

/**
 * How torch.save writes tensors into a pickle: both containers, zip and legacy, use it.
 *
 * @param storages is filled with the storages that the pickle refers to, by key.
 */
export function torchDialect(file: string, storages: Map<string, TorchStorage>): PickleDialect {
  return {
    classes: byName([...pythonClasses, ...tensorClasses(file)]),
    persistent: (id) => {
      const { storage, start } = storageOf(file, id);
      const known = storages.get(storage.key);
      if (known && (known.dtype !== storage.dtype || known.length !== storage.length)) {
        throw damaged(file, `it describes the storage ${storage.key} in two ways`);
      }
      const whole = known ?? storage;
      storages.set(whole.key, whole);
      return new StorageView(whole, start);
    },
  };
}

/** The tensor with its values, once it is known where the bytes of its storage are. */
export function tensorEntry(tensor: TorchTensor, bytes: ByteRange): TensorEntry {
  const { shape, dtype } = tensor.layout;
  return { shape: [...shape], dtype, read: () => readStrided(bytes, tensor.layout) };
}

/** A storage, or from an element on: files of 2016 hold views of storages. */
class StorageView {
  constructor(
    readonly storage: TorchStorage,
    readonly start: number,
  ) {}
}

class StorageType {
  constructor(
    readonly name: string,
    readonly dtype: DType,
  ) {}
}

const storageTypes = [
  new StorageType("torch.FloatStorage", "float32"),
  new StorageType("torch.DoubleStorage", "float64"),
  new StorageType("torch.HalfStorage", "float16"),
  new StorageType("torch.BFloat16Storage", "bfloat16"),
  new StorageType("torch.LongStorage", "int64"),
  new StorageType("torch.IntStorage", "int32"),
  new StorageType("torch.ShortStorage", "int16"),
  new StorageType("torch.CharStorage", "int8"),
  new StorageType("torch.ByteStorage", "uint8"),
  new StorageType("torch.BoolStorage", "bool"),
];

/** A tensor that repeats its elements (`expand`) may not grow beyond this many: 10¹² of them fit into 4 bytes of file. */
const mostRepeated = 2 ** 26;

function tensorClasses(file: string): PickleClass[] {
  const rebuild = ([view, offset, shape, strides]: readonly unknown[]) =>
    checkedTensor(file, view, offset, shape, strides);
  const first = ([tensor]: readonly unknown[]) => {
    if (!(tensor instanceof TorchTensor)) throw damaged(file, "a parameter in it has no tensor");
    return tensor;
  };
  const classes: PickleClass[] = [
    { name: "torch._utils._rebuild_tensor", call: rebuild },
    { name: "torch._utils._rebuild_tensor_v2", call: rebuild },
    { name: "torch._utils._rebuild_parameter", call: first },
    { name: "torch._utils._rebuild_parameter_with_state", call: first },
    {
      name: "torch.Size",
      call: ([sizes]) => (Array.isArray(sizes) ? [...(sizes as unknown[])] : []),
    },
    {
      name: "torch.device",
      call: (parts) => new TorchConstant(parts.filter((part) => ["string", "number"].includes(typeof part)).join(":")),
    },
    { name: "torch.Tensor" },
    { name: "torch.nn.parameter.Parameter" },
  ];
  const dtypes = ["half", "float", "double", "short", "int", "long", ...Object.keys(elements)];
  return [...classes, ...storageTypes, ...dtypes.map((name) => ({ name: `torch.${name}` }))];
}

/** `("storage", type, key, device, length[, view])`. */
function storageOf(file: string, id: unknown): { storage: TorchStorage; start: number } {
  const [kind, type, key, , length, view] = Array.isArray(id) ? (id as unknown[]) : [];
  if (kind !== "storage" || !(type instanceof StorageType) || typeof key !== "string" || !isCount(length)) {
    throw damaged(file, "it describes a storage in an unknown way");
  }
  const start = Array.isArray(view) ? (view as unknown[])[1] : 0;
  if (!isCount(start)) throw damaged(file, `it describes a view of the storage ${key} in an unknown way`);
  return { storage: { key, dtype: type.dtype, length }, start };
}

function checkedTensor(file: string, view: unknown, offset: unknown, shape: unknown, strides: unknown): TorchTensor {
  if (!(view instanceof StorageView)) throw damaged(file, "a tensor in it has no storage");
  if (!isCount(offset) || !areCounts(shape) || !areCounts(strides) || shape.length !== strides.length) {
    throw damaged(file, "a tensor in it has an impossible shape, offset or stride");
  }
  const { storage, start } = view;
  const layout: StridedLayout = { dtype: storage.dtype, shape, strides, offset: start + offset };
  const end = layout.offset + extentOf(layout);
  if (!Number.isSafeInteger(end) || end > storage.length) {
    throw damaged(
      file,
      `a tensor of shape [${shape.join(", ")}] in it reaches element ${end} of a storage of ${storage.length}`,
    );
  }
  if (sizeOf(shape) > Math.max(storage.length, mostRepeated)) {
    throw damaged(file, `a tensor of shape [${shape.join(", ")}] in it repeats the few elements that are there`);
  }
  return new TorchTensor(storage, layout);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function areCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= 64 && (value as unknown[]).every(isCount);
}
