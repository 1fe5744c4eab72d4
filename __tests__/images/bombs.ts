import { deflateSync } from "node:zlib";

import { crc32 } from "../../lib/crc32.js";

/** Small files of images far larger than any is read, by format: 60,000 × 60,000 pixels, or as many as the format takes. */
export function bombs(): Record<string, Buffer> {
  return { png: png(), gif: gif(), bmp: bmp(), tiff: tiff(), jpeg: jpeg(), webp: webp(), ppm: Buffer.from("P6 60000 60000 255\n") }; // prettier-ignore
}

function png(): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(60_000, 0);
  header.writeUInt32BE(60_000, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const chunk = (name: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(name), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body, 0));
    return Buffer.concat([length, body, sum]);
  };
  const rows = deflateSync(Buffer.alloc(60_001 * 300));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", rows), chunk("IEND", Buffer.alloc(0))]);
}

function gif(): Buffer {
  const header = Buffer.from("GIF89a\0\0\0\0\x80\0\0\0\0\0\xff\xff\xff", "latin1");
  header.writeUInt16LE(60_000, 6);
  header.writeUInt16LE(60_000, 8);
  const frame = Buffer.from(",\0\0\0\0\0\0\0\0\0\x02\x02L\x01\0;", "latin1");
  frame.writeUInt16LE(60_000, 5);
  frame.writeUInt16LE(60_000, 7);
  return Buffer.concat([header, frame]);
}

function bmp(): Buffer {
  const file = Buffer.alloc(58);
  file.write("BM");
  file.writeUInt32LE(54, 10);
  file.writeUInt32LE(40, 14);
  file.writeInt32LE(60_000, 18);
  file.writeInt32LE(60_000, 22);
  file.writeUInt16LE(1, 26);
  file.writeUInt16LE(24, 28);
  return file;
}

function tiff(): Buffer {
  const entries = [[256, 4, 60_000], [257, 4, 60_000], [258, 3, 8], [259, 3, 1], [262, 3, 1], [273, 4, 8], [277, 3, 1], [278, 4, 60_000], [279, 4, 16]] as const; // prettier-ignore
  const file = Buffer.alloc(8 + 2 + 12 * entries.length + 4);
  file.write("II*\0", "latin1");
  file.writeUInt32LE(8, 4);
  file.writeUInt16LE(entries.length, 8);
  entries.forEach(([tag, type, value], i) => {
    const at = 10 + 12 * i;
    file.writeUInt16LE(tag, at);
    file.writeUInt16LE(type, at + 2);
    file.writeUInt32LE(1, at + 4);
    if (type === 3) file.writeUInt16LE(value, at + 8);
    else file.writeUInt32LE(value, at + 8);
  });
  return file;
}

/** Grey, in one scan that ends at once. */
function jpeg(): Buffer {
  const segment = (marker: number, ...data: number[]) => [0xff, marker, 0, data.length + 2, ...data];
  const side = [60_000 >> 8, 60_000 & 255];
  return Buffer.from([0xff, 0xd8, ...segment(0xdb, 0, ...Array<number>(64).fill(1)), ...segment(0xc0, 8, ...side, ...side, 1, 1, 0x11, 0), ...segment(0xc4, 0, 1, ...Array<number>(15).fill(0), 0), ...segment(0xc4, 16, 1, ...Array<number>(15).fill(0), 0), ...segment(0xda, 1, 1, 0, 0, 63, 0), 0, 0xff, 0xd9]); // prettier-ignore
}

/** Lossless, 16,383 × 16,383: the most that WebP takes. */
function webp(): Buffer {
  const data = Buffer.from([0x2f, 0xfe, 0xbf, 0xff, 0x0f, 0, 0, 0, 0, 0]);
  const file = Buffer.concat([Buffer.from("RIFF\0\0\0\0WEBPVP8L\0\0\0\0", "latin1"), data]);
  file.writeUInt32LE(file.length - 8, 4);
  file.writeUInt32LE(data.length, 16);
  return file;
}
