import { damaged } from "./bytes.js";
import type { ByteRange } from "./bytes.js";
import { NumpyArray, numpyClasses } from "./numpy-pickle.js";
import { Instance } from "./pickle-machine.js";
import type { PickleClass, PickleDialect } from "./pickle-machine.js";
import { byName, pythonClasses } from "./python-classes.js";
import { areCounts, elements, extentOf, isCount, sizeOf, stridedEntry } from "./tensor.js";
import type { DType, StridedLayout, TensorEntry } from "./tensor.js";

/** A run of equal elements that tensors are views of; its bytes lie outside of the pickle. */
export interface TorchStorage {
  key: string;
  dtype: DType;
  /** Number of elements. */
  length: number;
}

/** A tensor as the pickle tells it: a view of a storage. */
class TorchTensor {
  constructor(
    readonly storage: TorchStorage,
    readonly layout: StridedLayout,
  ) {}
}

/** A module of a TorchScript archive: its weights and its other modules are attributes; its code is not read. */
export class TorchModule extends Instance {}

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
    classes: withModules(byName([...pythonClasses, ...numpyClasses(file), ...tensorClasses(file), ...scriptClasses])),
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

/**
 * Tensors and arrays of a pickle with their values.
 *
 * @param bytes where those of each storage are, by its key.
 */
export function torchEntries(file: string, bytes: ReadonlyMap<string, ByteRange>) {
  return (value: unknown): TensorEntry | undefined => {
    if (value instanceof NumpyArray) return value.entry(file);
    if (!(value instanceof TorchTensor)) return undefined;
    return stridedEntry(bytes.get(value.storage.key)!, value.layout);
  };
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
  new StorageType("torch.ComplexFloatStorage", "complex64"),
  new StorageType("torch.ComplexDoubleStorage", "complex128"),
  // Bytes of which the tensor tells the kind: its kind is newer than the list above.
  new StorageType("torch.UntypedStorage", "uint8"),
  new StorageType("torch.storage.UntypedStorage", "uint8"),
];

/** A tensor that repeats its elements (`expand`) may not grow beyond this many: 10¹² of them fit into 4 bytes of file. */
const mostRepeated = 2 ** 26;

function tensorClasses(file: string): PickleClass[] {
  const rebuild = ([view, offset, shape, strides]: readonly unknown[]) =>
    checkedTensor(file, view, { offset, shape, strides });
  const rebuildOf = ([view, offset, shape, strides, , , dtype]: readonly unknown[]) =>
    checkedTensor(file, view, { offset, shape, strides, dtype: dtypeOf(file, dtype) });
  const first = ([tensor]: readonly unknown[]) => {
    if (!(tensor instanceof TorchTensor)) throw damaged(file, "a parameter in it has no tensor");
    return tensor;
  };
  const rebuilders: PickleClass[] = [
    { name: "torch._utils._rebuild_tensor", call: rebuild },
    { name: "torch._utils._rebuild_tensor_v2", call: rebuild },
    { name: "torch._utils._rebuild_tensor_v3", call: rebuildOf },
    { name: "torch._utils._rebuild_parameter", call: first },
    { name: "torch._utils._rebuild_parameter_with_state", call: first },
  ];
  const classes: PickleClass[] = [
    ...rebuilders,
    {
      // A tensor that carries attributes of Python: how it is rebuilt without them, its class, the arguments.
      name: "torch._tensor._rebuild_from_type_v2",
      call: ([how, , args]) => {
        const rebuilder = rebuilders.find((one) => one === how);
        if (!rebuilder || !Array.isArray(args)) throw damaged(file, "a tensor in it is rebuilt in an unknown way");
        return rebuilder.call!(args as unknown[]);
      },
    },
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
  const dtypes = [...Object.keys(longNames), ...Object.keys(elements)];
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

const longNames: Record<string, DType> = {
  half: "float16",
  float: "float32",
  double: "float64",
  short: "int16",
  int: "int32",
  long: "int64",
};

/** Of a mention such as `torch.uint16`. */
function dtypeOf(file: string, mention: unknown): DType {
  const name = String((mention as PickleClass | null | undefined)?.name).slice("torch.".length);
  const dtype = Object.hasOwn(elements, name) ? (name as DType) : longNames[name];
  if (dtype === undefined) throw damaged(file, "a tensor in it has no dtype");
  return dtype;
}

/** What TorchScript writes around lists of one kind and values that it knows the type of. */
const scriptClasses: PickleClass[] = [
  ...["intlist", "doublelist", "boollist", "tensorlist"].map((kind) => ({
    name: `torch.jit._pickle.build_${kind}`,
    call: ([list]: readonly unknown[]) => (Array.isArray(list) ? (list as unknown[]) : []),
  })),
  { name: "torch.jit._pickle.restore_type_tag", call: ([value]) => value },
];

/** TorchScript names each class of its modules `__torch__.…`; all of them only hold attributes. */
function withModules(classes: ReadonlyMap<string, PickleClass>): PickleDialect["classes"] {
  const modules = new Map<string, PickleClass>();
  return {
    get: (name) => {
      const known = classes.get(name) ?? modules.get(name);
      if (known || !name.startsWith("__torch__.")) return known;
      const made = { name, call: () => new TorchModule(name) };
      modules.set(name, made);
      return made;
    },
  };
}

interface TensorParts {
  offset: unknown;
  shape: unknown;
  strides: unknown;
  /** That of the storage where undefined. */
  dtype?: DType;
}

function checkedTensor(file: string, view: unknown, { offset, shape, strides, dtype }: TensorParts): TorchTensor {
  if (!(view instanceof StorageView)) throw damaged(file, "a tensor in it has no storage");
  if (!isCount(offset) || !areCounts(shape) || !areCounts(strides) || shape.length !== strides.length) {
    throw damaged(file, "a tensor in it has an impossible shape, offset or stride");
  }
  const { storage, start } = view;
  const layout: StridedLayout = { dtype: dtype ?? storage.dtype, shape, strides, offset: start + offset };
  const held = Math.floor((storage.length * elements[storage.dtype].bytes) / elements[layout.dtype].bytes);
  const end = layout.offset + extentOf(layout);
  if (!Number.isSafeInteger(end) || end > held) {
    throw damaged(file, `a tensor of shape [${shape.join(", ")}] in it reaches element ${end} of a storage of ${held}`);
  }
  if (sizeOf(shape) > Math.max(held, mostRepeated)) {
    throw damaged(file, `a tensor of shape [${shape.join(", ")}] in it repeats the few elements that are there`);
  }
  return new TorchTensor(storage, layout);
}
