import { UserError } from "../errors.js";
import type { DType } from "./tensor.js";

/** What NumPy calls `<f4` or `>i8`: the kind of number, and which of its bytes comes first. */
export interface NumpyDtype {
  dtype: DType;
  bigEndian: boolean;
}

const kinds: Record<string, DType> = {
  f2: "float16",
  f4: "float32",
  f8: "float64",
  i1: "int8",
  i2: "int16",
  i4: "int32",
  i8: "int64",
  u1: "uint8",
  u2: "uint16",
  u4: "uint32",
  u8: "uint64",
  b1: "bool",
  c8: "complex64",
  c16: "complex128",
  // NumPy has no bfloat16: JAX's are two bytes without a meaning to it. So big_vision writes and reads them.
  V2: "bfloat16",
};

/**
 * @param descr byte order (`<`, `>`, `=`, `|` or none) and kind, e.g. `<f4`, `|b1`.
 * @returns undefined for what holds no numbers: texts, dates, records.
 * @throws UserError where it holds Python objects, which only running code could restore.
 */
export function numpyDtype(file: string, descr: string): NumpyDtype | undefined {
  const [, order, kind] = /^([<>=|]?)([A-Za-z]\d*)/.exec(descr) ?? [];
  if (kind?.startsWith("O")) {
    throw new UserError(`Expected an array of numbers for ${file} but received one of Python objects (dtype object)`, {
      hint: "Reading objects can run code, so it is not done: save it again with a plain dtype.",
    });
  }
  const dtype = kind !== undefined && Object.hasOwn(kinds, kind) ? kinds[kind]! : undefined;
  return dtype && { dtype, bigEndian: order === ">" };
}
