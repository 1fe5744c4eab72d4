import { damaged } from "./bytes.js";
import type { ByteRange } from "./bytes.js";
import { numpyDtype } from "./numpy-dtype.js";
import type { NumpyDtype } from "./numpy-dtype.js";
import { StatefulObject } from "./pickle-machine.js";
import type { PickleClass } from "./pickle-machine.js";
import { areCounts, denseLayout, elements, sizeOf, stridedEntry } from "./tensor.js";
import type { TensorEntry } from "./tensor.js";

/** `numpy.dtype("f4")`; its state tells the order of the bytes. */
class PickledDtype extends StatefulObject {
  constructor(private descr: string) {
    super();
  }

  /** `(version, order, …)`. */
  setState(state: unknown): boolean {
    const order: unknown = Array.isArray(state) ? state[1] : undefined;
    if (typeof order !== "string" || !/^[<>=|]$/.test(order)) return false;
    this.descr = order + this.descr.replace(/^[<>=|]/, "");
    return true;
  }

  numbers(file: string): NumpyDtype | undefined {
    return numpyDtype(file, this.descr);
  }

  /** Of texts: how many code points each has room for (`U28`), and the order of their bytes. */
  texts(): { length: number; bigEndian: boolean } | undefined {
    const [, order, length] = /^([<>=|]?)U(\d+)$/.exec(this.descr) ?? [];
    return length === undefined ? undefined : { length: Number(length), bigEndian: order === ">" };
  }
}

/** An array within a pickle, whose bytes lie in the pickle itself. */
export class NumpyArray extends StatefulObject {
  private shape: unknown;
  private dtype: unknown;
  private fortran = false;
  private data: unknown;

  /** `(version, shape, dtype, whether in Fortran order, bytes)`. */
  setState(state: unknown): boolean {
    if (!Array.isArray(state) || state.length !== 5) return false;
    [, this.shape, this.dtype] = state as unknown[];
    this.fortran = state[3] === true;
    this.data = state[4];
    return true;
  }

  /** Undefined where it holds no numbers. */
  entry(file: string): TensorEntry | undefined {
    const { shape, dtype } = this;
    if (!(dtype instanceof PickledDtype) || !areCounts(shape)) {
      throw damaged(file, "a NumPy array in it has an impossible shape or no dtype");
    }
    const numbers = dtype.numbers(file);
    if (!numbers) return undefined;
    const layout = denseLayout({ ...numbers, shape, fortran: this.fortran });
    const bytes = sizeOf(shape) * elements[numbers.dtype].bytes;
    const data = asBytes(this.data);
    if (data?.length !== bytes) {
      throw damaged(file, `a NumPy array in it has ${data?.length ?? "no"} bytes where ${bytes} were announced`);
    }
    return stridedEntry(rangeOf(data), layout);
  }

  /** Of one axis: texts of fixed length, or objects that are all texts; undefined where it holds something else. */
  texts(): string[] | undefined {
    const { shape, dtype, data } = this;
    if (!(dtype instanceof PickledDtype) || !areCounts(shape) || shape.length !== 1) return undefined;
    if (Array.isArray(data)) return data.every((item) => typeof item === "string") ? data : undefined;
    const texts = dtype.texts();
    const bytes = asBytes(data);
    const count = shape[0]!;
    if (!texts || bytes?.length !== 4 * count * texts.length) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Array.from({ length: count }, (_, i) => {
      const points = Array.from({ length: texts.length }, (_, j) =>
        view.getUint32(4 * (i * texts.length + j), !texts.bigEndian),
      );
      while (points.at(-1) === 0) points.pop();
      return points.every((point) => point <= 0x10ffff) ? String.fromCodePoint(...points) : "";
    });
  }
}

/** How NumPy pickles arrays, their dtypes and single numbers, from 1.x (`numpy.core`) to 2.x (`numpy._core`). */
export function numpyClasses(file: string): PickleClass[] {
  const array = () => new NumpyArray();
  const fromBuffer = ([data, dtype, shape, order]: readonly unknown[]) => {
    const made = new NumpyArray();
    made.setState([1, shape, dtype, order === "F", data]);
    return made;
  };
  return [
    {
      name: "numpy.dtype",
      call: ([descr]) => {
        if (typeof descr !== "string") throw damaged(file, "a NumPy array in it has no dtype");
        return new PickledDtype(descr);
      },
    },
    { name: "numpy.ndarray" },
    ...["numpy.core", "numpy._core"].flatMap((module) => [
      { name: `${module}.multiarray._reconstruct`, call: array },
      { name: `${module}.multiarray.scalar`, call: (args: readonly unknown[]) => scalar(file, args) },
      { name: `${module}.numeric._frombuffer`, call: fromBuffer },
    ]),
  ];
}

/** A number as JavaScript has it; null for what is none. */
function scalar(file: string, [dtype, data]: readonly unknown[]): unknown {
  const numbers = dtype instanceof PickledDtype ? dtype.numbers(file) : undefined;
  const bytes = asBytes(data);
  if (!numbers || numbers.dtype.startsWith("complex")) return null;
  const element = elements[numbers.dtype];
  if (bytes?.length !== element.bytes) throw damaged(file, "a NumPy number in it has no value");
  const value = element.decode(numbers.bigEndian ? bytes.slice().reverse() : bytes)[0]!;
  return numbers.dtype === "bool" ? value === 1 : typeof value === "bigint" ? asNumber(value) : value;
}

/** Python 2 wrote bytes as text. */
function asBytes(data: unknown): Uint8Array | undefined {
  if (typeof data === "string") return new Uint8Array(Buffer.from(data, "latin1"));
  return data instanceof Uint8Array ? data : undefined;
}

function rangeOf(bytes: Uint8Array): ByteRange {
  return {
    size: bytes.length,
    read: async (start, length) => bytes.slice(start, start + length),
  };
}

function asNumber(value: bigint): number | bigint {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}
