import { deflateRawSync } from "node:zlib";

import { crc32 } from "../../lib/crc32.js";

export interface ArchiveFile {
  name: string;
  content: Uint8Array;
  deflated?: boolean;
  /** What the archive says about its size, where that is a lie. */
  announced?: number;
}

/** A zip archive of these files, whatever they are called. */
export function zipArchive(files: ArchiveFile[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, content, deflated = false, announced = content.length } of files) {
    const data = deflated ? deflateRawSync(content) : Buffer.from(content);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(deflated ? 8 : 0, 4);
    fields.writeUInt32LE(crc32(content, 0), 10);
    fields.writeUInt32LE(data.length, 14);
    fields.writeUInt32LE(announced, 18);
    fields.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), fields, Buffer.from(name), data]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(at, 10);
    directory.push(Buffer.from("PK\x01\x02\x14\x00", "latin1"), fields, rest, Buffer.from(name));
    parts.push(local);
    at += local.length;
  }
  const listing = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(listing.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, listing, end]);
}

/** The files of a small archive of stored entries, to be changed and packed anew. */
export function unpacked(archive: Buffer): ArchiveFile[] {
  const files: ArchiveFile[] = [];
  for (let at = archive.indexOf("PK\x01\x02"); archive.toString("latin1", at, at + 4) === "PK\x01\x02";) {
    const [size, header] = [archive.readUInt32LE(at + 24), archive.readUInt32LE(at + 42)];
    const nameLength = archive.readUInt16LE(at + 28);
    const start = header + 30 + archive.readUInt16LE(header + 26) + archive.readUInt16LE(header + 28);
    files.push({
      name: archive.toString("utf8", at + 46, at + 46 + nameLength),
      content: archive.subarray(start, start + size),
    });
    at += 46 + nameLength + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
  }
  return files;
}
