import { dataStart, localHeaderLength, zipDirectory } from "../zip/directory.js";
import { damaged, fileRange, fileSize } from "./bytes.js";
import { zipEntry } from "./zip-entry.js";
import type { ZipEntry } from "./zip-entry.js";

/**
 * The entries of a zip archive, each as the run of bytes that it is; nothing is unpacked to the disk, and names are
 * only keys. What is read was checked against the archive's CRC-32.
 *
 * @throws UserError as {@link zipDirectory}, and where the archive names an entry twice or lays two entries over each
 * other.
 */
export async function zipEntries(file: string): Promise<Map<string, ZipEntry>> {
  const bytes = fileRange(file, 0, await fileSize(file));
  const { records, start: end } = await zipDirectory({ bytes, damaged: (finding) => damaged(file, finding) });
  const entries = new Map<string, ZipEntry>();
  const places: Place[] = [];
  for (const record of records) {
    const { name, headerStart, stored } = record;
    if (entries.has(name)) throw damaged(file, `its archive names ${name} twice`);
    const isInside = headerStart + localHeaderLength <= bytes.size;
    const start = isInside ? dataStart(record, await bytes.read(headerStart, localHeaderLength)) : undefined;
    if (start === undefined) throw damaged(file, `its archive's entry ${name} is not where it is said to be`);
    places.push({ name, start: headerStart, end: start + stored });
    entries.set(name, zipEntry(file, record, start));
  }
  checkPlaces(file, places, end);
  return entries;
}

interface Place {
  name: string;
  start: number;
  end: number;
}

function checkPlaces(file: string, places: Place[], end: number): void {
  const inOrder = [...places].sort((a, b) => a.start - b.start);
  for (const [i, place] of inOrder.entries()) {
    const next = inOrder[i + 1];
    if (place.end > end) throw damaged(file, `its archive's entry ${place.name} leaves the file`);
    if (next && place.end > next.start) {
      throw damaged(file, `its archive's entries ${place.name} and ${next.name} overlap`);
    }
  }
}
