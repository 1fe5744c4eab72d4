import { crc32 } from "../crc32.js";
import { encodeNpy, type NpyArray } from "./npy.js";

/**
 * NumPy's archive of arrays, `numpy.savez`: a zip of one `.npy` an array, stored as it is. The same bytes for the same
 * arrays, since entries carry no time.
 *
 * Source: APPNOTE.TXT of PKWARE; without Zip64, so up to 4 GB.
 */
export function encodeNpz(arrays: Record<string, NpyArray>): Uint8Array {
  const entries: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const [key, array] of Object.entries(arrays)) {
    const name = Buffer.from(`${key}.npy`);
    const content = encodeNpy(array);
    const about = aboutEntry(name, content);
    entries.push(bytesOf([0x04034b50, 4], ...about), name, content);
    directory.push(bytesOf([0x02014b50, 4], [20, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]), name);
    at += 30 + name.length + content.length;
  }
  const count = directory.length / 2;
  const listing = Buffer.concat(directory);
  const end = bytesOf([0x06054b50, 4], [0, 4], [count, 2], [count, 2], [listing.length, 4], [at, 4], [0, 2]);
  return Buffer.concat([...entries, listing, end]);
}

type Field = [value: number, bytes: 2 | 4];

/** What an entry and its line in the directory have in common: version 2.0, stored, the first day of MS-DOS. */
function aboutEntry(name: Uint8Array, content: Uint8Array): Field[] {
  const { length } = content;
  const made: Field[] = [[20, 2], [0, 2], [0, 2], [0, 2], [0x21, 2]]; // prettier-ignore
  return [...made, [crc32(content, 0), 4], [length, 4], [length, 4], [name.length, 2], [0, 2]];
}

/** Little-endian. */
function bytesOf(...fields: Field[]): Uint8Array {
  const bytes = Buffer.alloc(fields.reduce((sum, [, size]) => sum + size, 0));
  let at = 0;
  for (const [value, size] of fields) at = bytes.writeUIntLE(value, at, size);
  return bytes;
}
