import { UserError } from "../errors.js";
import { damaged } from "./bytes.js";
import type { ByteRange } from "./bytes.js";
import { numpyDtype } from "./numpy-dtype.js";
import { areCounts, denseLayout, elements, sizeOf, stridedEntry } from "./tensor.js";
import type { TensorEntry } from "./tensor.js";

const magic = "\x93NUMPY";
const mostHeaderBytes = 1 << 16;

export function isNpy(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(0, 6)).toString("latin1") === magic;
}

/**
 * A NumPy array saved as `.npy`, of any byte order, in C or Fortran order (NumPy Enhancement Proposal 1).
 *
 * @param where names it in messages.
 * @returns undefined where it holds texts or dates, which are no weights.
 * @throws UserError where it is cut, holds Python objects, or is of another format.
 */
export async function npyTensor(where: string, bytes: ByteRange): Promise<TensorEntry | undefined> {
  const head = Buffer.from(await bytes.read(0, Math.min(bytes.size, mostHeaderBytes)));
  const major = head[6] ?? 0;
  const start = major === 1 ? 10 : 12;
  if (!isNpy(head) || head.length < start || major < 1 || major > 3) {
    throw new UserError(`Expected a NumPy array for ${where} but it does not begin like one`);
  }
  const offset = start + (major === 1 ? head.readUInt16LE(8) : head.readUInt32LE(8));
  if (offset > head.length) throw damaged(where, "it ends within its header");
  const header = head.toString("latin1", start, offset);
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const fortran = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const axes = /'shape':\s*\(([\d\s,L]*)\)/.exec(header)?.[1];
  if (descr === undefined || fortran === undefined || axes === undefined) {
    throw new UserError(`Expected a plain NumPy array for ${where} but its header describes another`);
  }
  const shape = axes
    .split(",")
    .map((size) => size.trim().replace(/L$/, ""))
    .filter((size) => size !== "")
    .map(Number);
  if (!areCounts(shape)) throw damaged(where, "it has an impossible shape");
  const numbers = numpyDtype(where, descr);
  if (!numbers) return undefined;
  const layout = denseLayout({ ...numbers, shape, fortran: fortran === "True" });
  const size = sizeOf(shape) * elements[numbers.dtype].bytes;
  if (bytes.size - offset !== size) {
    throw damaged(where, `it has ${bytes.size - offset} bytes of data where ${size} were announced`);
  }
  const data: ByteRange = { size, read: (from, length) => bytes.read(offset + from, length) };
  return stridedEntry(data, layout);
}
