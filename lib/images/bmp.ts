import type { RgbImage } from "./image.js";
import { UnreadableImage } from "./unreadable.js";

export function isBitmap(bytes: Uint8Array): boolean {
  return bytes[0] === 0x42 && bytes[1] === 0x4d;
}

/**
 * Reads a Windows bitmap: 1, 4 or 8 bits with a palette, 24 or 32 bits; uncompressed. Alpha is dropped.
 *
 * @throws UnreadableImage for the compressed and the 16-bit kinds, and where the data end early.
 */
export function readBitmap(bytes: Uint8Array): RgbImage {
  if (bytes.length < 26) throw new UnreadableImage("a truncated BMP file: its header is not whole");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pixelsAt = view.getUint32(10, true);
  const headerSize = view.getUint32(14, true);
  const old = headerSize === 12;
  if (!old && (headerSize < 40 || bytes.length < 54)) throw new UnreadableImage("a BMP file with an unknown header");
  const width = old ? view.getUint16(18, true) : view.getInt32(18, true);
  const signedHeight = old ? view.getInt16(20, true) : view.getInt32(22, true);
  const height = Math.abs(signedHeight);
  const bits = view.getUint16(old ? 24 : 28, true);
  const compression = old ? 0 : view.getUint32(30, true);
  // 3 only names the places of the colours, which for 32 bits are nearly always the usual ones.
  const usual = compression === 0 || (compression === 3 && bits === 32 && view.getUint32(54, true) === 0xff0000);
  if (!usual || ![1, 4, 8, 24, 32].includes(bits)) {
    throw new UnreadableImage(`a BMP file of a kind that is not read here (${bits} bits, compression ${compression})`);
  }
  if (width < 1 || height < 1) throw new UnreadableImage(`a BMP file of ${width}×${height} pixels`);
  const stride = Math.ceil((width * bits) / 32) * 4;
  if (bytes.length < pixelsAt + stride * height) {
    throw new UnreadableImage(`a truncated BMP file: ${bytes.length} of ${pixelsAt + stride * height} bytes`);
  }

  const paletteAt = 14 + headerSize;
  const paletteEntry = old ? 3 : 4;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, to = 0; y < height; y++) {
    const row = pixelsAt + stride * (signedHeight > 0 ? height - 1 - y : y);
    for (let x = 0; x < width; x++, to += 3) {
      const at = bits >= 24 ? row + (x * bits) / 8 : paletteAt + paletteEntry * index(row, x);
      // Blue comes first.
      data[to] = bytes[at + 2]!;
      data[to + 1] = bytes[at + 1]!;
      data[to + 2] = bytes[at]!;
    }
  }
  return { width, height, data };

  function index(row: number, x: number): number {
    const first = x * bits;
    return (bytes[row + (first >> 3)]! >> (8 - bits - (first & 7))) & ((1 << bits) - 1);
  }
}
